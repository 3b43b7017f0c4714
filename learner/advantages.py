"""Generalised advantage estimation over whole episodes, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def discounted_sums(
    values: NDArray[np.floating[Any]], lengths: NDArray[np.int64], discount: float
) -> Float64:
    """y[t] = values[t] + discount * y[t + 1], begun anew in every episode.

    Windows of doubling length are added up (a parallel prefix sum): log2 of the longest episode
    passes over all steps, as fast for one long episode as for thousands of short ones.

    Args:
        values: (N,), the steps of all episodes, one episode after another.
        lengths: (E,), steps of each episode; they add up to N.
        discount: in [0, 1].

    Returns:
        (N,) float64.
    """
    sums = values.astype(np.float64)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(sums)) - 1
    window = 1
    while (steps := np.flatnonzero(left >= window)).size:
        sums[steps] += discount**window * sums[steps + window]
        window *= 2
    return sums


def discounted_past(
    values: NDArray[np.floating[Any]], lengths: NDArray[np.int64], discount: float
) -> Float64:
    """y[t] = values[t] + discount * y[t - 1], begun anew in every episode; see discounted_sums."""
    return discounted_sums(values[::-1], lengths[::-1], discount)[::-1]


def advantages_and_returns(
    rewards: Float32,
    values: Float32,
    last_values: Float32,
    lengths: NDArray[np.int64],
    truncated: NDArray[np.bool_],
    gamma: float,
    lam: float,
) -> tuple[Float32, Float32]:
    """GAE(gamma, lambda) of every step (Schulman et al. 2016, arXiv:1506.02438, equation 16).

    Args:
        rewards: (N,), the steps of all episodes, one episode after another.
        values: (N,), estimated before each step.
        last_values: (E,), estimated after the last step of each episode. An episode that was
            truncated goes on without being seen, and bootstraps from it; one that terminated is
            worth nothing from there on.
        lengths: (E,), steps of each episode.
        truncated: (E,).
        gamma: discount per step.
        lam: weight of longer estimates.

    Returns:
        advantages (N,) float32, and returns (N,) float32: advantages + values, TD(lambda).
    """
    ends = np.cumsum(lengths) - 1
    following = np.empty(len(values), np.float64)
    following[:-1] = values[1:]
    following[ends] = np.where(truncated, last_values, 0.0)
    deltas = rewards.astype(np.float64) + gamma * following - values
    advantages = discounted_sums(deltas, lengths, gamma * lam).astype(np.float32)
    return advantages, advantages + values
