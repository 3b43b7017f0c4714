"""YouShallNotPassHumans: the runner must get past the goal line, the blocker must stop it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sampler.games.base import Lanes
from sampler.games.observation import Block, humanoid_blocks
from sampler.games.rules import (
    HUMANOID_FORWARD,
    HUMANOID_STANDS,
    HUMANOID_UPKEEP,
    WIN,
    Forward,
    Table,
    Verdict,
)
from sampler.games.scene import GOAL_X, Scene

SCENE = Scene(starts=((-1.0, 0.0, 1.4), (1.0, 0.0, 1.4)))

# A root at or below this height (m) has fallen for good.
_FALLEN = 0.3
# Below these heights (m) blocker and runner count as done on their own.
_SIDE_DONE = np.array([0.5, 0.8])


class YouShallNotPass:
    """The runner wins past the line at x = -4; the blocker wins once it falls or time is up.

    Only a blocker that still stands when the runner falls is paid for its win.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        bodies = table.bodies
        self._forward = Forward(bodies, HUMANOID_FORWARD, (0, -1))
        self._runner_x = bodies.x[:, 1]
        self._runner_center = bodies.center[:, 1, 0]

    def blocks(self) -> list[Block]:
        """See `Rules`."""
        return humanoid_blocks(self._table.bodies)

    def start(self, lane: int, rng: np.random.Generator) -> None:
        """Both begin where the scene has them."""

    def restore(self, lane: int, radius: float | None, touched: bool) -> None:
        """There is nothing else to take over."""

    def before_step(self) -> None:
        """See `Rules`."""
        self._forward.before_step()

    def judge(self, lanes: Lanes) -> Verdict:
        """See `Rules`."""
        table, bodies = self._table, self._table.bodies
        fallen = bodies.height <= _FALLEN
        passed = self._runner_center < -GOAL_X
        over = passed | fallen[:, 1]
        over |= table.elapsed >= table.max_steps
        distance = np.abs(self._runner_x + GOAL_X)
        paid = HUMANOID_UPKEEP.reward(bodies, bodies.height >= HUMANOID_STANDS)
        paid += self._forward.reward()
        paid[:, 1] -= distance
        dense = paid.copy()
        if not np.count_nonzero(over):
            dense[:, 0] += distance
            return table.undecided(paid, dense)
        dense[:, 0] += distance * ~passed
        stopped = fallen[:, 1] & ~fallen[:, 0]
        outcome = np.empty_like(paid)
        outcome[:, 0] = WIN * np.where(passed, -1, stopped)
        outcome[:, 1] = WIN * np.where(passed, 1, -over.astype(np.int8))
        winner = np.where(passed, 1, over - np.int8(1)).astype(np.int8)
        return Verdict(paid, dense, outcome, over, table.never, winner)

    def side_done(self) -> NDArray[np.bool_]:
        """See `Rules`."""
        return self._table.bodies.height < _SIDE_DONE
