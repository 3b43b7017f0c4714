from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.curves import RunCurves, load_run
from analysis.forgetting import Forgetting, forgetting
from analysis.tables import Tournament
from common.errors import UserError
from tests.analysis.builders import tournament_of, write_run

# Versions at the ends of the bursts of rounds 1, 2, 3 and 4 (1, 2, 2, 3 iterations).
ENDS = (1, 3, 5, 8)


@pytest.fixture
def run(tmp_path: Path) -> RunCurves:
    return load_run(write_run(tmp_path / "pbt2-001", rounds=4))


def played(victim_wins: list[list[int]]) -> Tournament:
    """Wins of the victims of the four rounds (columns) against the adversaries (rows)."""
    adversaries = [f"run:pbt2-001/adversary-0@{version}" for version in ENDS]
    victims = [f"run:pbt2-001/victim@{version}" for version in ENDS]
    return tournament_of(100 - np.array(victim_wins), names=(adversaries, victims))


REMEMBERS = [[60, 80, 85, 90], [9, 60, 80, 85], [9, 9, 60, 80], [9, 9, 9, 60]]
FORGETS = [[60, 90, 50, 20], [9, 60, 80, 85], [9, 9, 60, 80], [9, 9, 9, 60]]


def of(past: Forgetting, victim: int, adversary: int) -> dict[str, Any]:
    frame = past.match_ups
    rows = frame[
        (frame["victim"] == f"run:pbt2-001/victim@{victim}")
        & (frame["adversary"] == f"run:pbt2-001/adversary-0@{adversary}")
    ]
    return {str(key): value for key, value in rows.iloc[0].items()}


def test_each_checkpoint_meets_the_adversaries_of_its_past(run: RunCurves) -> None:
    past = forgetting(played(REMEMBERS), "runner", [run])
    assert len(past.match_ups) == 4 + 3 + 2 + 1
    assert (past.match_ups["adversary_steps"] <= past.match_ups["victim_steps"]).all()
    assert list(past.checkpoints["adversaries"]) == [1, 2, 3, 4]
    assert list(past.checkpoints["victim_steps"]) == sorted(past.checkpoints["victim_steps"])


def test_a_victim_that_only_improves_forgets_nothing(run: RunCurves) -> None:
    past = forgetting(played(REMEMBERS), "runner", [run])
    assert (past.match_ups["drop"] == 0).all()
    assert (past.checkpoints["forgotten"] == 0).all()
    assert past.checkpoints["worst"].iloc[-1] == 0.6


def test_a_drop_is_measured_from_the_best_checkpoint_before(run: RunCurves) -> None:
    past = forgetting(played(FORGETS), "runner", [run])
    row = of(past, victim=8, adversary=1)
    assert row["best"] == "run:pbt2-001/victim@3"
    assert row["drop"] == pytest.approx(0.7)
    assert 0.5 < row["drop_low"] < 0.7 < row["drop_high"]
    last = past.checkpoints.iloc[-1]
    assert last["worst_adversary"] == "run:pbt2-001/adversary-0@1"
    assert last["largest_drop"] == pytest.approx(0.7)
    assert last["forgotten"] == 1


def test_luck_is_not_forgetting(run: RunCurves) -> None:
    wins = np.full((4, 4), 75)
    wins[0] = [75, 80, 74, 73]
    past = forgetting(played(wins.tolist()), "runner", [run])
    assert past.checkpoints["largest_drop"].max() > 0
    assert (past.checkpoints["forgotten"] == 0).all()


def test_policies_of_no_known_run_are_left_out(run: RunCurves) -> None:
    names = (
        ["run:pbt2-001/adversary-0@1", "zoo:a/b-v1"],
        ["run:pbt2-001/victim@3", "run:other-001/victim@3"],
    )
    past = forgetting(tournament_of([[10, 10], [10, 10]], names=names), "runner", [run])
    assert len(past.match_ups) == 1


def test_nothing_to_compare(run: RunCurves) -> None:
    with pytest.raises(UserError, match=r"no runner checkpoint was played against an earlier"):
        forgetting(tournament_of([[10, 10]]), "runner", [run])
