import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.transitivity import Scale, decompose
from common.errors import UserError
from tests.analysis.builders import tournament_of

ROCK_PAPER_SCISSORS = [[50, 0, 100], [100, 50, 0], [0, 100, 50]]
SCALES: list[Scale] = ["log-odds", "payoff"]


def elo_wins(
    spread: float, shape: tuple[int, int], episodes: int, seed: int, cyclic: float = 0.0
) -> NDArray[np.int64]:
    """Wins of policies with normal strengths, and a circle of the given log-odds on top."""
    rng = np.random.default_rng(seed)
    strengths = spread * rng.standard_normal(shape[0]), spread * rng.standard_normal(shape[1])
    signs = np.outer((-1) ** np.arange(shape[0]), (-1) ** np.arange(shape[1]))
    logits = 0.3 + strengths[0][:, None] - strengths[1] + cyclic * signs
    return rng.binomial(episodes, 1 / (1 + np.exp(-logits)))


@pytest.mark.parametrize("scale", SCALES)
def test_rock_paper_scissors_is_all_cyclic(scale: Scale) -> None:
    result = decompose(tournament_of(ROCK_PAPER_SCISSORS), scale)
    assert result.cyclic_share.value == pytest.approx(1, abs=0.01)
    assert result.cyclic_share.low > 0.95
    assert result.p_value < 0.01
    np.testing.assert_allclose(result.strength0, 0, atol=1e-12)
    np.testing.assert_allclose(result.strength1, 0, atol=1e-12)


@pytest.mark.parametrize("spread", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("scale", SCALES)
def test_strength_alone_is_transitive(scale: Scale, spread: float) -> None:
    """Also where most match-ups are won 0 : 100, and where payoffs saturate."""
    result = decompose(tournament_of(elo_wins(spread, (8, 6), 100, seed=2)), scale)
    assert result.cyclic_share.value < 0.05
    assert result.cyclic_share.low < 0.01
    assert result.p_value > 0.05


def test_the_parts_add_up_and_the_rest_only_runs_in_circles() -> None:
    wins = np.random.default_rng(0).integers(5, 95, (4, 5))
    result = decompose(tournament_of(wins), "payoff", draws=50)
    rest = result.cyclic_part.to_numpy()
    np.testing.assert_allclose(rest.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rest.sum(axis=1), 0, atol=1e-12)
    strengths = result.strength0.to_numpy()[:, None] - result.strength1.to_numpy()
    together = result.side_advantage + strengths + rest
    np.testing.assert_allclose(together, wins / 100 - 0.5, atol=1e-12)


def test_a_mixed_table_gives_the_share_that_was_planted() -> None:
    inside = 0
    for seed in range(20):
        wins = elo_wins(0.7, (8, 8), 200, seed, cyclic=0.6)
        rng = np.random.default_rng(seed)
        rows, columns = 0.7 * rng.standard_normal(8), 0.7 * rng.standard_normal(8)
        truth = 0.36 / (0.36 + rows.var() + columns.var())
        share = decompose(tournament_of(wins, episodes=200), draws=200).cyclic_share
        assert share.value == pytest.approx(truth, abs=0.12)
        inside += share.low <= truth <= share.high
    assert inside >= 16


def test_chance_alone_has_nothing_to_decompose_or_a_wide_interval() -> None:
    share = decompose(tournament_of(elo_wins(0, (5, 5), 50, seed=1))).cyclic_share
    assert np.isnan(share.value) or share.high - share.low > 0.5


def test_p_values_are_honest() -> None:
    p_values = [
        decompose(tournament_of(elo_wins(1.0, (5, 4), 40, seed)), draws=200).p_value
        for seed in range(40)
    ]
    assert np.mean(np.array(p_values) < 0.1) < 0.25
    assert np.mean(np.array(p_values) > 0.9) < 0.25


def test_the_stronger_side_is_no_cycle() -> None:
    result = decompose(tournament_of([[90, 90], [90, 90]]))
    assert result.side_advantage == pytest.approx(np.log(90.5 / 10.5))
    assert np.isnan(result.cyclic_share.value)


def test_ties_are_half_a_win_to_each() -> None:
    wins, ties = [[0, 0, 50], [50, 0, 0], [0, 50, 0]], [[100, 50, 50], [50, 100, 50], [50, 50, 100]]
    result = decompose(tournament_of(wins, ties=ties), "payoff")
    assert result.cyclic_share.value == pytest.approx(1, abs=0.01)


def test_one_policy_on_a_side_cannot_be_in_a_cycle() -> None:
    with pytest.raises(UserError, match="two or more policies on each side, there are 1 and 3"):
        decompose(tournament_of([[10, 20, 30]]))
