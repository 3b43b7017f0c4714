import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.nash import equilibrium, nash
from tests.analysis.builders import tournament_of


def test_rock_paper_scissors() -> None:
    x, y, value = equilibrium(np.array([[0.5, 0, 1], [1, 0.5, 0], [0, 1, 0.5]]))
    np.testing.assert_allclose(x, 1 / 3)
    np.testing.assert_allclose(y, 1 / 3)
    assert value == pytest.approx(0.5)


def test_a_game_with_a_known_solution() -> None:
    # Rows mix 2 : 3 (0.8 x + 0.2 (1-x) = 0.3 x + 0.6 (1-x)), columns 1 : 2, value 4/9.
    x, y, value = equilibrium(np.array([[0.8, 0.3], [0.2, 0.6]]))
    np.testing.assert_allclose(x, [4 / 9, 5 / 9])
    np.testing.assert_allclose(y, [1 / 3, 2 / 3])
    assert value == pytest.approx(0.8 * 4 / 9 + 0.2 * 5 / 9)


def test_a_dominant_policy_has_all_the_weight() -> None:
    result = nash(tournament_of([[70, 60], [20, 50], [30, 10]]), draws=50)
    blocker, runner = result.mixtures
    np.testing.assert_allclose(blocker["weight"], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(runner["weight"], [0, 1], atol=1e-9)
    assert result.value.value == pytest.approx(0.6)
    assert result.value.low < 0.6 < result.value.high
    np.testing.assert_allclose(blocker["exploitability"], [0, 0.4, 0.5])
    assert list(blocker["worst_opponent"]) == ["b1", "b0", "b1"]
    np.testing.assert_allclose(runner["exploitability"], [0.1, 0], atol=1e-12)
    assert list(runner["worst_opponent"]) == ["a0", "a0"]
    # Blockers in equal parts score 0.4 against each runner; runners lose 0.65 to a0.
    assert result.uniform_exploitability[0] == pytest.approx(0.2)
    assert result.uniform_exploitability[1] == pytest.approx(0.05)


def test_every_pure_policy_is_exploitable_in_rock_paper_scissors() -> None:
    result = nash(tournament_of([[50, 0, 100], [100, 50, 0], [0, 100, 50]]), draws=50)
    for mixture in result.mixtures:
        np.testing.assert_allclose(mixture["weight"], 1 / 3)
        np.testing.assert_allclose(mixture["exploitability"], 0.5)
        assert (mixture["weight_low"] < 1 / 3).all()
        assert (mixture["weight_high"] > 1 / 3).all()


def test_ties_count_half() -> None:
    assert nash(tournament_of([[0, 0]], ties=[[100, 100]]), draws=10).value.value == 0.5


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_nobody_gains_by_leaving_the_equilibrium(m: int, n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random((m, n))
    x, y, value = equilibrium(scores)
    assert (x @ scores).min() == pytest.approx(value, abs=1e-7)
    assert (scores @ y).max() == pytest.approx(value, abs=1e-7)
    assert x.sum() == pytest.approx(1)
    assert y.sum() == pytest.approx(1)


def test_a_matrix_with_holes_has_no_equilibrium() -> None:
    with pytest.raises(ValueError, match="not finite"):
        equilibrium(np.array([[0.5, np.nan]]))
