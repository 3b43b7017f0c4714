"""Uncertainty of what was counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """An estimate and the confidence interval around it."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The three numbers by name."""
        return asdict(self)


def wilson(wins: int, n: int, confidence: float = 0.95) -> Interval:
    """The share wins / n and its Wilson score interval.

    Unlike the interval from the normal approximation it stays within [0, 1] and is sensible for few
    episodes and shares near 0 or 1 (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
        wins: successes, 0 to n.
        n: trials, at least 1.
        confidence: how often such an interval holds the true share, between 0 and 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if n < 1 or not 0 <= wins <= n:
        raise ValueError(f"{wins} wins of {n} episodes: should be 0 to n wins of n >= 1 episodes")
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is {confidence}, should be between 0 and 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = wins / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Without the limits 0 of n would give a low end of 1e-18 instead of 0.
    low = 0.0 if wins == 0 else max(0.0, centre - half)
    high = 1.0 if wins == n else min(1.0, centre + half)
    return Interval(share, low, high)
