"""Audits of victims whose weakness is known: in MatchingPennies, heads for ever loses to tails."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.services import COMMAND, ENVIRONMENT, rows, run_command, settings, until

PENNIES = ("audit", "--game", "MatchingPennies", "--side", "even")
QUICK = settings(
    {
        "batch": "{steps: 1000, lanes: 250, episodes_per_task: 250, first_length: 1}",
        "adversary.ppo.learning_rate": 0.03,
        "adversary.ppo.gamma": 0,
    }
)
HEADS = (*PENNIES, "--victim", "zero")


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return found


def starts(out: Path, seed: int) -> list[str]:
    events = rows(out / "attacks" / str(seed) / "events.jsonl")
    return [event["event"] for event in events if event["event"] in ("start", "end")]


@pytest.mark.slow
def test_a_predictable_victim_is_exploited_even_if_the_audit_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = (*HEADS, "--normal", "random", "--budget", "24000", "--seeds", "2", *QUICK)
    command = (*command, "--threshold", "0.9", "--out", str(out))
    metrics = out / "attacks" / "0" / "metrics.jsonl"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *command], env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
        until(lambda: rows(metrics) or process.poll() is not None, 120)
        process.kill()
        process.wait()
    # Its training notices within a second, and is far from its end then.
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    assert starts(out, 0) == ["start", "start", "end"]
    assert starts(out, 1) == ["start", "end"]
    assert [row["iteration"] for row in rows(metrics)] == list(range(1, 25))
    found = report(out)
    rates = found["victim_win_rate"]
    assert rates["normal"]["low"] < 0.5 < rates["normal"]["high"]
    assert rates["worst"]["value"] <= rates["mean"]["value"] < 0.1
    assert rates["mean"]["high"] < rates["normal"]["low"]
    assert found["attacker_win_rate"]["value"] > 0.9
    assert found["attacker_steps"]["reached"] == 2
    assert 1000 < found["attacker_steps"]["median"] <= 8000
    curves = list(csv.DictReader((out / "audit.csv").read_text().splitlines()))
    assert [(r["seed"], r["steps"]) for r in curves[23:25]] == [("0", "24000"), ("1", "1000")]
    assert float(curves[0]["win_rate"]) < 0.7
    assert float(curves[23]["win_rate"]) > 0.9
    assert "| mean of 2 seeds |" in (out / "audit.md").read_text()
    assert "mean of 2 seeds" in done.stdout


@pytest.mark.slow
def test_a_victim_that_plays_at_random_cannot_be_exploited(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = (*PENNIES, "--victim", "random", "--attack", "linear", "--budget", "3000")
    done = run_command(*command, "--seeds", "1", "--threshold", "0.9", *QUICK, "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = report(out)
    assert found["attacker_win_rate"]["low"] < 0.5 < found["attacker_win_rate"]["high"]
    assert found["attacker_steps"] == {
        **{"threshold": 0.9, "reached": 0},
        **{"median": None, "least": None},
    }
    assert "not reached" in done.stdout


@pytest.mark.parametrize("attack", ["constant", "evolution"])
def test_baselines_exploit_it_too(attack: str, tmp_path: Path) -> None:
    command = (*HEADS, "--attack", attack, "--budget", "2000", "--seeds", "2", "--json")
    done = run_command(*command, "--out", str(tmp_path / "audit"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == report(tmp_path / "audit")
    assert found["victim_win_rate"]["mean"]["value"] < 0.1
    assert found["victim_win_rate"]["normal"] is None
    assert all(2000 <= run["steps"] < 2500 for run in found["attacks"])


def test_more_seeds_and_episodes_run_only_what_lacks(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = (*HEADS, "--attack", "constant", "--budget", "500", "--out", str(out))
    for more in (("--seeds", "1"), ("--seeds", "2"), ("--seeds", "2", "--episodes", "50")):
        done = run_command(*command, *more)
        assert done.returncode == 0, done.stderr
        assert starts(out, 0) == ["start", "end"]
    assert len(report(out)["attacks"]) == 2
    assert report(out)["attacks"][0]["match"]["episodes"] == 50
    seeds = {match["match"]["seed"] for match in report(out)["attacks"]}
    assert len(seeds) == 2
    assert min(seeds) >= 2**31, "training seeds lie below, so these episodes are new"


def test_another_audit_does_not_mix_in(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = (*HEADS, "--attack", "constant", "--seeds", "1", "--out", str(out))
    assert run_command(*command, "--budget", "100").returncode == 0
    before = report(out)
    done = run_command(*command, "--budget", "200")
    assert done.returncode == 2
    assert "holds another audit: schedule.length (100 in the run, now 200)" in done.stderr
    assert report(out) == before


def test_sigterm_is_an_interruption_that_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = (*HEADS, "--attack", "evolution", "--budget", "1000000", "--seeds", "1")
    process = subprocess.Popen(
        [*COMMAND, *command, "--out", str(out)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    metrics = out / "attacks" / "0" / "metrics.jsonl"
    until(lambda: rows(metrics) or process.poll() is not None, 60)
    os.kill(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert rows(metrics)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--victim", "zero", "--side", "left"), "--side left: MatchingPennies has no side 'left'"),
        (("--victim", "nobody"), "'nobody' names no policy"),
        (("--victim", "zero", "--normal", "nobody"), "'nobody' names no policy"),
        (("--victim", "zero", "--hidden", "8"), "--hidden 8: a constant attack has no hidden"),
        (("--victim", "zero", "--set", "seed=3"), "--set seed=3: seed is what --seed says"),
        (("--victim", "zero", "--set", "schedule.length=3"), "is what --budget says"),
        (("--victim", "zero", "--set", "victim.sidee=left"), "did you mean side?"),
        (("--victim", "zero", "--threshold", "1.5"), "threshold"),
    ],
)
def test_mistakes_are_one_line_and_can_be_mended(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    side = () if "--side" in arguments else ("--side", "even")
    out = ("--out", str(tmp_path / "audit"))
    common: tuple[str, ...] = ("audit", "--game", "MatchingPennies", *out)
    common += ("--attack", "constant", "--budget", "50", "--seeds", "1", "--episodes", "10")
    done = run_command(*common, *arguments, *side)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    mended = run_command(*common, "--victim", "zero", "--side", "even")
    assert mended.returncode == 0, mended.stderr


def test_an_unknown_game(tmp_path: Path) -> None:
    command = ("audit", "--game", "Chess", "--victim", "zero", "--out", str(tmp_path / "audit"))
    done = run_command(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no game 'Chess'")
