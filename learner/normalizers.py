"""Running moments of observations, and rewards in units of the discounted return.

Both are values: an update gives a new object, so a failed PPO update leaves the old ones as they
were, and one that is never updated is frozen. They use no BLAS: results do not depend on threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Arrays
from learner.advantages import discounted_past

# Added to a variance before its root, as Stable-Baselines3's VecNormalize does.
EPSILON = 1e-8
# Numbers (1 MiB of float32) whose copy stays in a core's cache.
_BLOCK = 2**18

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunningMoments:
    """Mean and variance of everything seen so far.

    Attributes:
        mean: (k,) float64.
        variance: (k,) float64, of the population (not the unbiased estimate).
        count: how many rows they come from.
    """

    mean: Float64
    variance: Float64
    count: float

    @staticmethod
    def empty(size: int) -> RunningMoments:
        """Nothing seen: mean 0, variance 1."""
        return RunningMoments(np.zeros(size), np.ones(size), 0.0)

    @property
    def std(self) -> Float64:
        """Standard deviation (k,), never 0."""
        return np.sqrt(self.variance + EPSILON)

    @property
    def finite(self) -> bool:
        """Whether no NaN or infinity was ever taken in."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.variance).all())

    def updated(self, rows: NDArray[np.floating[Any]]) -> RunningMoments:
        """These moments with `rows` (n, k) taken in.

        Sums of a block are in the precision of `rows`, around one of them so that the squares do
        not cancel; totals are in float64.
        """
        moments = self
        step = max(1, _BLOCK // rows.shape[1])
        for start in range(0, len(rows), step):
            block = rows[start : start + step] - rows[start]
            shift = block.sum(axis=0).astype(np.float64) / len(block)
            squares = np.einsum("nk,nk->k", block, block).astype(np.float64) / len(block)
            variance = np.maximum(squares - np.square(shift), 0.0)
            moments = moments.merged(RunningMoments(rows[start] + shift, variance, len(block)))
        return moments

    def merged(self, other: RunningMoments) -> RunningMoments:
        """The moments of both samples together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        variance = self.variance * (1.0 - share) + other.variance * share
        variance += np.square(shift) * share * (1.0 - share)
        return RunningMoments(self.mean + shift * share, variance, count)

    def to_arrays(self) -> Arrays:
        """Named float64 arrays; the inverse of `from_arrays`."""
        return {"mean": self.mean, "variance": self.variance, "count": np.array([self.count])}

    @staticmethod
    def from_arrays(arrays: Arrays, size: int) -> RunningMoments:
        """Moments of `size` numbers as `to_arrays` gave them.

        Raises:
            ValueError: arrays are missing, unknown, of another shape, or not finite.
        """
        expected = {"mean": (size,), "variance": (size,), "count": (1,)}
        found = {name: array.shape for name, array in arrays.items()}
        if found != expected:
            raise ValueError(f"moments have the arrays {found}, should have {expected}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("moments hold NaN or infinity")
        mean, variance = (arrays[name].astype(np.float64) for name in ("mean", "variance"))
        return RunningMoments(mean, variance, float(arrays["count"].item()))


@dataclass(frozen=True, eq=False)
class RewardNormalizer:
    """Divides rewards by the standard deviation of the discounted return so far.

    As Stable-Baselines3's VecNormalize: the return of a step is that of the rewards up to it, begun
    anew in every episode, and the mean is not subtracted. VecNormalize updates step by step; here a
    whole batch is taken in first and then divided by one number.

    Attributes:
        gamma: discount per step.
        moments: of the discounted returns, (1,).
        clip: normalised rewards are clipped to +-clip.
    """

    gamma: float
    moments: RunningMoments
    clip: float = 10.0

    @staticmethod
    def empty(gamma: float) -> RewardNormalizer:
        """Nothing seen: rewards are divided by 1."""
        return RewardNormalizer(gamma, RunningMoments.empty(1))

    def updated(self, rewards: Float32, lengths: NDArray[np.int64]) -> RewardNormalizer:
        """This normaliser with the rewards (N,) of episodes of `lengths` (E,) steps taken in."""
        returns = discounted_past(rewards, lengths, self.gamma)
        return replace(self, moments=self.moments.updated(returns[:, np.newaxis]))

    def __call__(self, rewards: Float32) -> Float32:
        """Normalised rewards (N,) float32."""
        scaled = rewards / self.moments.std
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def to_arrays(self) -> Arrays:
        """Named float64 arrays; the inverse of `with_arrays`. The settings are not among them."""
        return self.moments.to_arrays()

    def with_arrays(self, arrays: Arrays) -> RewardNormalizer:
        """This normaliser with moments as `to_arrays` gave them; ValueError if they are not."""
        return replace(self, moments=RunningMoments.from_arrays(arrays, 1))
