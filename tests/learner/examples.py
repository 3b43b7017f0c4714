"""Sides and batches for the tests of PPO."""

from __future__ import annotations

import numpy as np

from common.game import ActionSpace, Box, Discrete, Side
from common.policy import PolicySpec
from learner.training_batch import TrainingBatch

BOX = Box(3, -0.4, 0.4)
DISCRETE = Discrete(4)


def side(action: ActionSpace = BOX, observation_size: int = 16) -> Side:
    return Side("runner", observation_size, action, (("all", observation_size),))


def batch(
    spec: PolicySpec | Side, lengths: tuple[int, ...] = (5, 1, 30, 12, 7), seed: int = 0
) -> TrainingBatch:
    """Noise: observations off centre, some episodes truncated."""
    rng = np.random.default_rng(seed)
    steps, episodes = sum(lengths), len(lengths)
    observations = rng.standard_normal((steps + episodes, spec.observation_size), np.float32)
    if isinstance(spec.action, Box):
        actions = rng.standard_normal((steps, spec.action.size), np.float32)
    else:
        actions = rng.integers(spec.action.n, size=(steps, 1)).astype(np.float32)
    return TrainingBatch(
        observations=3 * observations + 2,
        actions=actions,
        rewards=rng.standard_normal(steps, np.float32),
        lengths=np.array(lengths, np.int64),
        truncated=np.arange(episodes) % 2 == 0,
    )
