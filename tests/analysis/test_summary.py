import json

import numpy as np

from analysis.summary import summarise
from tests.analysis.builders import tournament_of


def test_the_ordering_has_the_strongest_first_on_both_sides() -> None:
    summary = summarise(tournament_of([[90, 60], [40, 20], [95, 70]]))
    assert list(summary.ordering(0)["policy"]) == ["a2", "a0", "a1"]
    ordering = summary.ordering(1)
    assert list(ordering["policy"]) == ["b1", "b0"]
    np.testing.assert_allclose(ordering["score"], [0.5, 0.25])


def test_one_policy_on_a_side_has_no_cyclic_part() -> None:
    summary = summarise(tournament_of([[90, 60]]))
    assert isinstance(summary.decomposition, str)
    assert "fewer than two" in summary.decomposition or "two" in summary.decomposition
    assert summary.to_json()["cyclic_share"] is None


def test_certain_cycles_are_those_that_hold() -> None:
    clear = summarise(tournament_of([[90, 10], [10, 90]]))
    assert len(clear.certain_cycles) == 1
    assert not summarise(tournament_of([[52, 49], [49, 52]])).certain_cycles


def test_the_summary_is_json() -> None:
    found = summarise(tournament_of([[50, 50], [50, 50]], ties=[[0, 0], [0, 0]])).to_json()
    assert json.loads(json.dumps(found, allow_nan=False))["game"] == "Pushing"
