"""RunToGoalHumans and RunToGoalAnts: each side runs for the line behind the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampler.games.base import Lanes
from sampler.games.observation import Block, ant_blocks, humanoid_blocks
from sampler.games.rules import (
    HUMANOID_FORWARD,
    HUMANOID_STANDS,
    HUMANOID_UPKEEP,
    WIN,
    Forward,
    Table,
    Upkeep,
    Verdict,
)
from sampler.games.scene import GOAL_X, SUBSTEPS, Scene

HUMANS = Scene(starts=((-1.0, 0.0, 1.4), (1.0, 0.0, 1.4)))
ANTS = Scene(starts=((-1.0, 0.0, 0.75), (1.0, 0.0, 0.75)), timestep=0.01)

# The left side runs to the right.
_DIRECTIONS = (1, -1)


@dataclass(frozen=True)
class Runner:
    """What differs between the two games.

    Attributes:
        upkeep: reward for standing, less costs.
        stands: height of the root from which a body stands (m).
        falls: height of the root below which a side counts as done (m).
        forward: reward per metre of the centre of mass.
        goal_distance: whether the distance to the goal (m) is a cost.
    """

    upkeep: Upkeep
    stands: float
    falls: float
    forward: float
    goal_distance: bool


HUMAN_RUNNER = Runner(HUMANOID_UPKEEP, HUMANOID_STANDS, 0.8, HUMANOID_FORWARD, goal_distance=True)
ANT_RUNNER = Runner(
    Upkeep(survival=1.0, control_cost=0.5, contact_cost=0.5e-3, largest_force=1.0),
    stands=0.28,
    falls=0.28,
    forward=1 / (SUBSTEPS * ANTS.timestep),
    goal_distance=False,
)


class RunToGoal:
    """Whoever alone is past its line wins; nobody does if both get there in the same step.

    The episode also ends once both have fallen. The original has no limit of steps, so an episode
    that reaches ours is cut off without a winner.
    """

    def __init__(self, table: Table, runner: Runner) -> None:
        self._table = table
        self._runner = runner
        self._forward = Forward(table.bodies, runner.forward, _DIRECTIONS)
        self._goals = GOAL_X * np.array(_DIRECTIONS)
        self._center_x = table.bodies.center[:, :, 0]

    def blocks(self) -> list[Block]:
        """See `Rules`."""
        bodies = self._table.bodies
        return humanoid_blocks(bodies) if self._runner.goal_distance else ant_blocks(bodies)

    def start(self, lane: int, rng: np.random.Generator) -> None:
        """Both begin where the scene has them."""

    def restore(self, lane: int, radius: float | None, touched: bool) -> None:
        """There is nothing else to take over."""

    def before_step(self) -> None:
        """See `Rules`."""
        self._forward.before_step()

    def judge(self, lanes: Lanes) -> Verdict:
        """See `Rules`."""
        table, bodies, runner = self._table, self._table.bodies, self._runner
        reward = runner.upkeep.reward(bodies, bodies.height >= runner.stands)
        reward += self._forward.reward()
        if runner.goal_distance:
            reward -= np.abs(bodies.x - self._goals)
        arrived = self._center_x * _DIRECTIONS > GOAL_X
        over = arrived[:, 0] | arrived[:, 1]
        over |= self.side_done().all(axis=1)
        late = table.elapsed >= table.max_steps
        if not np.count_nonzero(over | late):
            return table.undecided(reward, reward)
        # +1 for a lone winner on the left, -1 on the right, 0 for both and for none.
        lead = arrived[:, 0].astype(np.int8) - arrived[:, 1]
        outcome = np.stack([WIN * lead, -WIN * lead], axis=1)
        winner = np.where(lead > 0, 0, -lead * 2 - 1).astype(np.int8)
        return Verdict(reward, reward, outcome, over, late & ~over, winner)

    def side_done(self) -> NDArray[np.bool_]:
        """See `Rules`."""
        return self._table.bodies.height < self._runner.falls
