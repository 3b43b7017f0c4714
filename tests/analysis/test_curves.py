import json
from pathlib import Path

import pytest

from analysis.curves import load_run
from common.errors import UserError
from tests.analysis.builders import write_run


def test_bursts_policies_and_rates(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "pbt2-001", rounds=4))
    assert run.name == "pbt2-001"
    assert run.policies == ("adversary-0", "victim")
    assert list(run.bursts["role"]) == ["adversary", "victim"] * 4
    assert list(run.bursts["iterations"]) == [1, 1, 2, 2, 2, 2, 3, 3]
    assert list(run.bursts["start_steps"][1:]) == list(run.bursts["end_steps"][:-1])
    assert run.bursts["start_steps"][0] == 0
    assert (run.of("victim")["ppo.value_loss"] > 0).all()
    last = run.against[run.against["policy"] == "victim"].iloc[-1]
    assert (last["opponent"], last["wins"], last["episodes"]) == ("normal", 40, 50)
    assert last["low"] < last["win_rate"] < last["high"]


def test_several_adversaries(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "pbt5-001", rounds=2, adversaries=5))
    assert len(run.policies) == 6
    # Five batches in an adversary iteration, one in the victim's.
    assert list(run.bursts["end_steps"].diff().dropna() / 16_384) == [1, 10, 2]


def test_when_each_version_came_to_be(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "pbt2-001", rounds=4))
    assert run.version_at("victim", 0) == (0, 0)
    assert run.version_at("normal", 0) == (0, 0)
    assert run.version_at("adversary-0", 1) == (1, 16_384)
    assert run.version_at("victim", 1) == (2, 2 * 16_384)
    assert run.version_at("adversary-0", 2) == (3, 3 * 16_384)
    assert run.version_at("victim", 99) is None


def test_a_half_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rounds=2)
    whole = load_run(folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 7, "pol')
    assert len(load_run(folder).metrics) == len(whole.metrics)


def test_a_burst_that_still_goes_on_ends_at_its_last_iteration(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rounds=4)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    run = load_run(folder)
    assert run.bursts["iterations"].iloc[-1] == 2
    assert run.bursts["end_steps"].iloc[-1] == json.loads(lines[-2])["steps"]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run: it has no metrics\.jsonl"):
        load_run(tmp_path)
    folder = write_run(tmp_path / "run", rounds=1)
    with pytest.raises(UserError, match="trained no 'goalie'; it trained adversary-0, victim"):
        load_run(folder).of("goalie")
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="no finished iteration yet"):
        load_run(folder)
    (folder / "metrics.jsonl").write_text('nonsense\n{"iteration": 1}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 1: not JSON"):
        load_run(folder)
    (folder / "metrics.jsonl").write_text('{"iteration": 1, "steps": 2}\n')
    with pytest.raises(UserError, match="line 1: missing: policy, version, against"):
        load_run(folder)
