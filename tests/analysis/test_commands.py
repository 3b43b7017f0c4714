from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.game import Box
from common.policy import Policy, PolicySpec
from sparring import main
from tests.analysis.builders import table_of, write_run

WINS = [[90, 20, 55], [50, 50, 50], [10, 80, 45]]

BLOCKED = """
import sys
sys.modules[sys.argv[1]] = None
from sparring import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    table_of(WINS).to_csv(path, index=False)
    return path


def test_report_writes_a_page(tmp_path: Path, table: Path) -> None:
    run = write_run(tmp_path / "run")
    assert main(["report", str(run), str(table), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "index.html").is_file()


def test_report_judges_whom_it_is_told(tmp_path: Path, table: Path) -> None:
    asked = ["--victim", "b1", "--before", "b0", "--normal", "a1", "--met", "a0", "a2"]
    assert main(["report", str(table), "-o", str(tmp_path / "out"), *asked]) == 0
    assert "b1 is judged beside b0" in (tmp_path / "out" / "index.html").read_text()


def broken(kind: str, folder: Path) -> list[str]:
    """Arguments of a report that cannot be made."""
    frame = table_of(WINS)
    match kind:
        case "empty":
            frame = frame.iloc[:0]
        case "one":
            frame = frame.iloc[:1]
        case "mixed":
            frame.loc[3, "game"] = "SumoAnts"
        case "nan":
            frame.loc[2, "win_rate0"] = np.nan
        case "missing":
            frame = frame.drop(index=4)
    frame.to_csv(folder / "table.csv", index=False)
    asked = {"victim": ["--victim", "b1"], "unknown": ["--victim", "b9", "--before", "b0"]}
    (folder / "neither").mkdir()
    source = folder / "neither" if kind == "neither" else folder / "table.csv"
    return [str(source), *asked.get(kind, [])]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "the table is empty"),
        ("one", "one policy only on each side"),
        ("mixed", "game is Pushing and SumoAnts"),
        ("nan", "win_rate0 of a0 against b2 (row 2) is nan, should be a number"),
        ("missing", "1 of 9 match-ups were not played"),
        ("neither", "neither a run"),
        ("victim", "needs --victim and --before"),
        ("unknown", "no policy 'b9'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["report", *broken(kind, tmp_path), "-o", str(tmp_path / "out")])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_analyse_prints_the_ordering(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(table)]) == 0
    out = capsys.readouterr().out
    assert "policies of the blocker" in out
    assert "cycle: " in out
    assert "are cyclic" in out


def test_analyse_prints_names_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (["[red]a", "[/]"], ["b", ":smile:"])
    table_of([[60, 40], [30, 80]], names=names).to_csv(tmp_path / "table.csv", index=False)
    assert main(["analyse", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(name in out for side in names for name in side)


def test_analyse_prints_json(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [side["side"] for side in found["sides"]] == ["blocker", "runner"]
    assert len(found["cycles"]) >= 1


@pytest.mark.parametrize(
    ("command", "library"),
    [
        ("report", "pandas"),
        ("report", "matplotlib"),
        ("report", "jinja2"),
        ("analyse", "sklearn"),
        ("density", "sklearn"),
        ("density", "matplotlib"),
    ],
)
def test_a_missing_extra_is_named(command: str, library: str, table: Path, tmp_path: Path) -> None:
    options = {
        "report": [str(table), "-o", str(tmp_path / "out")],
        "analyse": [str(table)],
        "density": ["--victim", "random", "--normal", "random", "-o", str(tmp_path / "out")],
    }
    arguments = [sys.executable, "-c", BLOCKED, library, command, *options[command]]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line == f"error: this needs {library}: pip install 'sparring[analysis]'"


def save_policy(path: Path, seed: int) -> str:
    """A blocker or runner of YouShallNotPassHumans with random weights."""
    rng = np.random.default_rng(seed)
    spec = PolicySpec("mlp", 380, Box(17, -0.4, 0.4), (8,), clip=5.0)
    arrays = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }
    arrays["filter/std"] = np.ones(380, np.float32)
    path.write_bytes(Policy(path.stem, 0, spec, arrays).to_bytes())
    return str(path)


def test_density_judges_the_episodes_of_every_opponent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim, normal, other = (
        save_policy(tmp_path / f"{name}.safetensors", seed)
        for seed, name in enumerate(("victim", "normal", "other"))
    )
    arguments = ["--game", "YouShallNotPassHumans", "--side", "runner", "--episodes", "10"]
    arguments += ["--victim", victim, "--normal", normal, "--other", other, "random"]
    code = main(["density", *arguments, "-o", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    frame = pd.read_csv(tmp_path / "out" / "density.csv")
    assert list(frame["label"]) == [normal, other, "random"]
    # Of the normal opponent's episodes 5 fit the model and 2 choose it.
    assert list(frame["episodes"]) == [3, 10, 10]
    there = {file.name for file in (tmp_path / "out").iterdir()}
    tables = {"density.csv", "episodes.csv", "map.csv", "observations.npz"}
    assert there == tables | {
        f"{figure}.{kind}" for figure in ("density", "activations") for kind in ("png", "svg")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--victim", "random", "--normal", "random"], "random does not tell its game"),
        (
            ["--game", "MatchingPennies", "--victim", "zero", "--normal", "random"],
            "zero does not tell its side",
        ),
        (
            ["--game", "MatchingPennies", "--side", "up", "--victim", "zero", "--normal", "zero"],
            "--side up: ",
        ),
        (
            ["--victim", "zoo:sumo/ants/agent-v1", "--normal", "zero", "--other", "zero"],
            "the opponent zero is named twice",
        ),
        (["--victim", "zoo:sumo/ants/agent-v1", "--normal", "zero"], "does not tell its side"),
        (
            ["--game", "MatchingPennies", "--side", "even", "--victim", "zero", "--normal", "zero"],
            "policy zero has no hidden layers",
        ),
    ],
)
def test_mistakes_with_density(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["density", *arguments, "-o", str(tmp_path / "out")])
    line = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert line.startswith("error: ")
    assert message in line
