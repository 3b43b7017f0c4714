"""The episodes that one update of one policy learns from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Whole episodes, one after another: N steps in E episodes.

    Attributes:
        observations: (N + E, obs) float32, raw: each episode's length + 1 rows, the last of which
            is what was seen after the last action.
        actions: (N, a) float32, unclipped; a Discrete action is one number.
        rewards: (N,) float32.
        lengths: (E,) int64, steps of each episode, at least 1.
        truncated: (E,) bool: cut off by a time limit that is not part of the rules.

    Raises:
        ValueError: shapes or dtypes do not fit each other.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.lengths.ndim != 1 or not len(self.lengths) or self.lengths.min() < 1:
            raise ValueError("a training batch needs one or more episodes of at least one step")
        steps, episodes = int(self.lengths.sum()), len(self.lengths)
        if steps < 2:
            raise ValueError("a training batch needs at least 2 steps: advantages are normalised")
        expected: dict[str, tuple[NDArray[np.generic], type, int, int]] = {
            "observations": (self.observations, np.float32, 2, steps + episodes),
            "actions": (self.actions, np.float32, 2, steps),
            "rewards": (self.rewards, np.float32, 1, steps),
            "lengths": (self.lengths, np.int64, 1, episodes),
            "truncated": (self.truncated, np.bool_, 1, episodes),
        }
        for name, (array, dtype, dimensions, rows) in expected.items():
            if array.dtype != dtype or array.ndim != dimensions or len(array) != rows:
                raise ValueError(
                    f"{name} of a training batch of {steps} steps in {episodes} episodes are "
                    f"{array.dtype}{list(array.shape)}, should be {np.dtype(dtype)} with {rows} "
                    f"rows and {dimensions} dimensions"
                )

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.rewards)

    @cached_property
    def last_rows(self) -> NDArray[np.int64]:
        """Rows (E,) of `observations` that follow the last action of each episode."""
        return np.cumsum(self.lengths + 1) - 1

    @cached_property
    def step_rows(self) -> NDArray[np.int64]:
        """Rows (N,) of `observations` that an action followed."""
        acted = np.ones(len(self.observations), np.bool_)
        acted[self.last_rows] = False
        return np.flatnonzero(acted)

    def episode_of(self, step: int) -> int:
        """Index of the episode that a step (0 ... N - 1) belongs to."""
        return int(np.searchsorted(np.cumsum(self.lengths), step, side="right"))
