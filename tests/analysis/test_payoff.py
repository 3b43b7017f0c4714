import numpy as np

from analysis.payoff import leaf_order, ordered, payoff
from tests.analysis.builders import tournament_of


def test_the_matrix_and_its_intervals() -> None:
    tournament = tournament_of([[10, 90], [50, 0]])
    first, second = payoff(tournament, winner=0), payoff(tournament, winner=1)
    np.testing.assert_allclose(first.rate, [[0.1, 0.9], [0.5, 0.0]])
    np.testing.assert_allclose(second.rate, 1 - first.rate)
    assert (first.low <= first.rate).all()
    assert (first.rate <= first.high).all()
    assert first.low[1, 1] == 0
    assert first.frame().loc["a1", "b0"] == 0.5
    assert first.frame().index.name == "blocker"


def test_ordering_brings_planted_groups_together() -> None:
    rng = np.random.default_rng(3)
    group0, group1 = rng.permutation([0, 1] * 6), rng.permutation([0, 1, 2] * 4)
    chances = np.array([[0.9, 0.5, 0.8], [0.2, 0.6, 0.1]])[np.ix_(group0, group1)]
    matrix = ordered(payoff(tournament_of(rng.binomial(200, chances), episodes=200)))
    rows = [group0[int(name[1:])] for name in matrix.rows]
    columns = [group1[int(name[1:])] for name in matrix.columns]
    assert rows == [0] * 6 + [1] * 6  # the strong rows first
    assert np.count_nonzero(np.diff(columns)) == 2
    np.testing.assert_array_equal(matrix.score, matrix.rate)


def test_neighbours_in_the_order_are_similar() -> None:
    vectors = np.random.default_rng(0).permutation(np.linspace(0, 1, 9))[:, None]
    np.testing.assert_allclose(vectors[leaf_order(vectors), 0], np.linspace(1, 0, 9))


def test_a_table_that_looks_like_a_matrix_of_distances_is_ordered_too() -> None:
    assert sorted(leaf_order(np.array([[0.0, 0.3], [0.3, 0.0]]))) == [0, 1]


def test_one_row_has_one_order() -> None:
    assert leaf_order(np.array([[0.2, 0.3]])) == [0]
