"""MatchingPennies: the smallest game, for tests and quick starts. It needs no physics.

Both sides show a coin at once. Even wins if the coins match, odd if they differ. The only policies
that cannot be exploited show heads and tails with equal probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.game import Discrete, GameDescription, Side
from sampler.games.base import Floats, Lanes, StepResult

NAME = "MatchingPennies"
_LAYOUT = (("constant", 1),)


class MatchingPennies:
    """`lanes` copies of the game. See `BatchedGame`."""

    description = GameDescription(
        NAME,
        "exact",
        (Side("even", 1, Discrete(2), _LAYOUT), Side("odd", 1, Discrete(2), _LAYOUT)),
        max_steps=1,
        win_reward=1.0,
    )

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes

    def reset(self, lanes: Lanes, seeds: Sequence[int]) -> None:
        """Does nothing: every episode begins alike."""

    def observe(self, side: int, lanes: Lanes) -> Floats:
        """(k, 1) ones: there is nothing to see."""
        return np.ones((len(lanes), 1), dtype=np.float32)

    def step(self, lanes: Lanes, actions: Sequence[Floats]) -> StepResult:
        """See `BatchedGame`. Outcome is +1 for the winner and -1 for the loser."""
        even, odd = actions
        differ = even[:, 0] != odd[:, 0]
        gain = np.where(differ, -1, 1).astype(np.float32)
        return StepResult(
            dense=np.zeros((len(lanes), 2), dtype=np.float32),
            outcome=np.stack([gain, -gain], axis=1),
            terminated=np.ones(len(lanes), dtype=np.bool_),
            truncated=np.zeros(len(lanes), dtype=np.bool_),
            winner=differ.astype(np.int8),
            contacts=np.zeros(len(lanes), dtype=np.int32),
        )
