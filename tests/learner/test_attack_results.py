"""What an attack's run directory tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import UserError
from common.runs import RunDirectory
from learner.attack_results import (
    CurvePoint,
    curve,
    is_finished,
    newest_policy,
    steps_to_reach,
    victim_hash,
)


def a_run(path: Path, wins: list[int], episodes: int = 40) -> RunDirectory:
    run = RunDirectory(path)
    run.create()
    rows = [
        {
            "iteration": i + 1,
            "policy": "adversary-0",
            "policy_steps": 1000 * (i + 1),
            "episodes": episodes,
            "ties": 1,
            "against": {"victim": {"episodes": episodes, "wins": won, "ties": 1}},
        }
        for i, won in enumerate(wins)
    ]
    others = [{**row, "policy": "adversary-1"} for row in rows]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in [*others, *rows]))
    return run


def test_a_win_rate_counts_once_enough_episodes_stand_behind_it(tmp_path: Path) -> None:
    points = curve(a_run(tmp_path, [40, 0, 20, 40, 40]))
    assert points[0] == CurvePoint(1, 1000, 40, 40, 1, None)
    # 120 episodes are the fewest iterations that have 100 together.
    assert [p.recent for p in points] == [None, None, 60 / 120, 60 / 120, 100 / 120]
    assert steps_to_reach(points, 0.5) == 3000
    assert steps_to_reach(points, 0.8) == 5000
    assert steps_to_reach(points, 0.9) is None


def test_large_iterations_stand_for_themselves(tmp_path: Path) -> None:
    points = curve(a_run(tmp_path, [10, 150], episodes=200))
    assert [p.recent for p in points] == [0.05, 0.75]


def test_half_a_line_after_a_crash_is_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path, [1, 2])
    with run.metrics.open("a") as file:
        file.write('{"iteration": 3, "pol')
    assert len(curve(run)) == 2
    with run.metrics.open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"metrics.jsonl holds a line that is no JSON"):
        curve(run)


def test_events_tell_the_victim_and_the_end(tmp_path: Path) -> None:
    run = a_run(tmp_path, [])
    with pytest.raises(UserError, match="does not tell which victim"):
        victim_hash(run)
    burst = {"event": "burst_start", "policies": {"victim": {"version": 0, "hash": "ab"}}}
    run.events.write_text(json.dumps({"event": "start"}) + "\n" + json.dumps(burst) + "\n")
    assert victim_hash(run) == "ab"
    assert not is_finished(run)
    with run.events.open("a") as file:
        file.write('{"event": "end"}\n')
    assert is_finished(run)


def test_a_run_without_an_adversary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no policy adversary-0"):
        newest_policy(a_run(tmp_path, []))
