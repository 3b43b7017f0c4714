import numpy as np
import pytest

from analysis.uncertainty import bootstrap_means, drawn_scores, newcombe, percentiles


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998 (statistics in medicine 17, 873-890), table II, method 10.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_published_differences(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = newcombe(*counts)
    assert interval.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_drawn_scores_vary_as_win_rates_do() -> None:
    outcomes = np.array([[[30.0, 0.0, 70.0], [20.0, 60.0, 20.0]]])
    drawn = drawn_scores(outcomes, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), [[0.3, 0.5]], atol=0.003)
    deviations = [np.sqrt(0.3 * 0.7 / 100), np.sqrt(0.4 / 4 / 100)]
    np.testing.assert_allclose(drawn.std(axis=0)[0], deviations, rtol=0.03)


def test_certain_wins_keep_some_doubt() -> None:
    drawn = drawn_scores(np.array([20.0, 0.0, 0.0]), 1000, np.random.default_rng(0))
    assert 0.85 < np.quantile(drawn, 0.025) < 0.95


def test_bootstrap_interval_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400) + 3
    interval = percentiles(float(values.mean()), bootstrap_means(values, 5000, rng))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_draws_that_are_not_finite_are_left_out() -> None:
    draws = np.array([np.nan, 1.0, 1.0])
    assert percentiles(1.0, draws).low == 1.0
    assert np.isnan(percentiles(1.0, draws[:1]).high)
