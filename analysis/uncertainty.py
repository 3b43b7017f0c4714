"""Intervals by drawing again, and for differences of two shares."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.tables import Tournament
from common.statistics import Interval, wilson

Float = NDArray[np.float64]


def newcombe(wins_a: int, n_a: int, wins_b: int, n_b: int, confidence: float = 0.95) -> Interval:
    """The difference of two shares, a - b, of episodes played apart, and its interval.

    Method 10 of Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;
    2-I): from the two Wilson intervals, so sensible near 0 and 1.

    Raises:
        ValueError: impossible counts or confidence.
    """
    a, b = wilson(wins_a, n_a, confidence), wilson(wins_b, n_b, confidence)
    difference = a.value - b.value
    return Interval(
        difference,
        difference - sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2),
        difference + sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2),
    )


def percentiles(value: float, draws: Float, confidence: float = 0.95) -> Interval:
    """The interval that holds the middle `confidence` of the draws; NaN among them is left out."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def bootstrap_means(values: Float, draws: int, rng: np.random.Generator) -> Float:
    """Means (draws,) of samples with replacement of `values` (n,), e.g. one value an episode."""
    picks = rng.integers(0, len(values), (draws, len(values)))
    means: Float = values[picks].mean(axis=1)
    return means


def counts(tournament: Tournament) -> Float:
    """Wins of side 0, ties and wins of side 1 of every match-up, (m, n, 3). Raises UserError."""
    return np.stack([tournament.matrix(c) for c in ("wins0", "ties", "wins1")], axis=-1)


def drawn_scores(outcomes: Float, draws: int, rng: np.random.Generator) -> Float:
    """Scores of side 0 (draws, ...) as other episodes might have given them.

    Draws the probabilities of win, tie and loss of each match-up from their posterior under
    Jeffreys' prior (Dirichlet; ties get none where the table has no tie at all). Unlike drawing the
    episodes again, a match-up that was won 20 : 0 keeps some doubt.

    Args:
        outcomes: wins, ties and losses of side 0, (..., 3).
        draws: how many.
        rng: source of randomness.
    """
    prior = np.array([0.5, 0.5 if outcomes[..., 1].any() else 0.0, 0.5])
    # A Dirichlet draw is a vector of gamma draws over its sum.
    gammas = rng.standard_gamma(outcomes + prior, (draws, *outcomes.shape))
    shares = gammas / gammas.sum(axis=-1, keepdims=True)
    scores: Float = shares[..., 0] + shares[..., 1] / 2
    return scores
