"""The best mixture of a population, and how much its policies can be exploited within it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog

from analysis.tables import Tournament
from analysis.uncertainty import counts, drawn_scores, percentiles
from common.statistics import Interval

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nash:
    """A Nash equilibrium of the game in which both sides choose a policy of their population.

    Attributes:
        value: score of side 0 in equilibrium (ties count half), with a bootstrap interval, 95 %.
        mixtures: for each side, one row a policy: policy, weight, weight_low, weight_high,
            exploitability, exploitability_low, exploitability_high, worst_opponent. Weights add up
            to 1. The exploitability is how far the policy's score against its worst opponent in
            the population falls short of what the side can be sure of.
        uniform_exploitability: of choosing all policies of the side equally often.
    """

    value: Interval
    mixtures: tuple[pd.DataFrame, pd.DataFrame]
    uniform_exploitability: tuple[float, float]


def equilibrium(scores: Float) -> tuple[Float, Float, float]:
    """A Nash equilibrium of the zero-sum game with payoffs `scores` (m, n) to the rows.

    Linear programming: the mixture x of the rows that makes v largest with x' S >= v in every
    column; the columns' mixture is the dual solution (von Neumann 1928; Dantzig 1951).

    Returns:
        The mixtures of the rows (m,) and of the columns (n,), and the value v. Where there are
        several equilibria, one of them: a corner of the set.

    Raises:
        ValueError: the matrix is empty or not finite.
    """
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"a payoff matrix {scores.shape} that is empty or not finite")
    m, n = scores.shape
    result = linprog(
        c=np.append(np.zeros(m), -1.0),
        A_ub=np.hstack([-scores.T, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(m), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * m + [(None, None)],
        method="highs",
    )
    if not result.success:
        raise ValueError(f"no equilibrium of a payoff matrix {scores.shape}: {result.message}")
    return _shares(result.x[:m]), _shares(-result.ineqlin.marginals), float(result.x[m])


def _shares(weights: Float) -> Float:
    weights = np.clip(weights, 0.0, None)
    shares: Float = weights / weights.sum()
    return shares


def nash(tournament: Tournament, draws: int = 500, seed: int = 0) -> Nash:
    """Nash mixture of both populations, and the exploitability of each policy within them.

    The intervals are those of equilibria of tables that other episodes might have given. Where
    policies are alike, their weights are arbitrary, and the intervals are wide.

    Raises:
        UserError: a match-up was not played.
    """
    scores = tournament.scores()
    drawn = drawn_scores(counts(tournament), draws, np.random.default_rng(seed))
    x, y, value = equilibrium(scores)
    others = [equilibrium(table) for table in drawn]
    values = np.array([other[2] for other in others])
    losses = 1 - np.swapaxes(drawn, 1, 2)
    return Nash(
        value=percentiles(value, values),
        mixtures=(
            _mixture(tournament, 0, scores, value, x, [other[0] for other in others]).pipe(
                _with_intervals, drawn, values
            ),
            _mixture(tournament, 1, 1 - scores.T, 1 - value, y, [o[1] for o in others]).pipe(
                _with_intervals, losses, 1 - values
            ),
        ),
        uniform_exploitability=(
            float(value - scores.mean(axis=0).min()),
            float(scores.mean(axis=1).max() - value),
        ),
    )


def _mixture(
    tournament: Tournament,
    side: int,
    scores: Float,
    value: float,
    weights: Float,
    drawn_weights: list[Float],
) -> pd.DataFrame:
    low, high = np.quantile(drawn_weights, [0.025, 0.975], axis=0)
    opponents = np.array(tournament.policies[1 - side])
    return pd.DataFrame(
        {
            "policy": tournament.policies[side],
            "weight": weights,
            "weight_low": low,
            "weight_high": high,
            "exploitability": np.maximum(value - scores.min(axis=1), 0.0),
            "worst_opponent": opponents[scores.argmin(axis=1)],
        }
    )


def _with_intervals(mixture: pd.DataFrame, drawn: Float, values: Float) -> pd.DataFrame:
    exploitability = np.maximum(values[:, None] - drawn.min(axis=2), 0.0)
    low, high = np.quantile(exploitability, [0.025, 0.975], axis=0)
    return mixture.assign(exploitability_low=low, exploitability_high=high)
