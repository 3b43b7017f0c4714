"""What the rules of a game with bodies are, and the rewards that several of them share.

Rules work on all lanes at once: every array has one row per lane, and the rows of lanes that were
not stepped are ignored. The rewards are those of openai/multiagent-competition
(`gym_compete/new_envs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sampler.games.base import Lanes
from sampler.games.observation import Block
from sampler.games.simulations import Array, Bodies, Simulations

WIN = 1000.0
"""Reward of a win, and with the sign turned, of a loss."""


class Verdict(NamedTuple):
    """What the rules say of one step, one row per lane.

    Attributes:
        paid: (n, 2), shaped reward as part of the reward that the game pays.
        dense: (n, 2), shaped reward after the corrections that two games make to it afterwards.
        outcome: (n, 2), win/loss reward.
        terminated: (n,) bool.
        truncated: (n,) bool.
        winner: (n,) int8, side that won with this step, or -1.
    """

    paid: Array
    dense: Array
    outcome: Array
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    winner: NDArray[np.int8]


class Table:
    """All that rules look at, and their answers as long as nothing is decided.

    Attributes:
        simulations: the scene, in every lane.
        bodies: the bodies of both sides.
        elapsed: (n,), steps of the episode played in each lane.
        max_steps: the longest episode.
        never: (n,), false in every lane.
    """

    def __init__(self, simulations: Simulations, max_steps: int) -> None:
        self.simulations = simulations
        self.bodies = simulations.bodies
        self.elapsed = np.zeros(simulations.lanes, dtype=np.int64)
        self.max_steps = max_steps
        self.never = np.zeros(simulations.lanes, dtype=np.bool_)
        self._no_outcome = np.zeros((simulations.lanes, 2))
        self._nobody = np.full(simulations.lanes, -1, dtype=np.int8)

    def undecided(self, paid: Array, dense: Array) -> Verdict:
        """The verdict of a step after which every lane goes on: the usual one, so made cheaply."""
        return Verdict(paid, dense, self._no_outcome, self.never, self.never, self._nobody)


class Rules(Protocol):
    """The rules of one game, at one table."""

    def blocks(self) -> list[Block]:
        """What the sides observe."""

    def start(self, lane: int, rng: np.random.Generator) -> None:
        """Moves the bodies of a lane, already at the scene's start plus noise, to theirs."""

    def restore(self, lane: int, radius: float | None, touched: bool) -> None:
        """Takes over what a recorded state has beside positions, velocities and steps."""

    def before_step(self) -> None:
        """Remembers what a step is compared with."""

    def judge(self, lanes: Lanes) -> Verdict:
        """Judges the step just played in these lanes; `elapsed` counts it already."""

    def side_done(self) -> NDArray[np.bool_]:
        """(n, 2), whether each side alone counts as done: it has fallen."""


@dataclass(frozen=True)
class Upkeep:
    """The shaped reward that does not depend on the game: stand, act little, bump little.

    Attributes:
        survival: reward for standing, and with the sign turned, for not.
        control_cost: factor of the squared controls.
        contact_cost: factor of the squared contact forces.
        largest_force: each component of a force counts up to this.
        largest_contact_cost: the contact cost goes up to this.
        clip_controls: whether controls count as the motors clip them.
    """

    survival: float
    control_cost: float
    contact_cost: float
    largest_force: float = np.inf
    largest_contact_cost: float = np.inf
    clip_controls: bool = False

    def reward(self, bodies: Bodies, stands: NDArray[np.bool_]) -> Array:
        """(n, 2), given (n, 2) whether each side stands."""
        limit = bodies.body.control_limit if self.clip_controls else np.inf
        cost = self.control_cost * _squared(bodies.control, limit)
        contact = self.contact_cost * _squared(bodies.contact_force, self.largest_force)
        cost += np.minimum(contact, self.largest_contact_cost)
        return np.where(stands, self.survival, -self.survival) - cost


def _squared(vectors: Array, limit: float) -> Array:
    """(n, 2), squared lengths of vectors (n, 2, m) with components clipped to +-limit."""
    if limit < np.inf:
        vectors = np.minimum(np.maximum(vectors, -limit), limit)
    squared: Array = np.vecdot(vectors, vectors)
    return squared


class Forward:
    """Reward for moving the centre of mass along x, by the distance moved in each step."""

    def __init__(self, bodies: Bodies, rate: float, direction: tuple[int, int]) -> None:
        """`rate`: reward per metre. `direction`: of each side, 1 right, -1 left, 0 no matter."""
        self._x = bodies.center[:, :, 0]
        self._rates = rate * np.array(direction)
        self._before = self._x.copy()

    def before_step(self) -> None:
        """Remembers where the centres are."""
        np.copyto(self._before, self._x)

    def reward(self) -> Array:
        """(n, 2), for the step since `before_step`."""
        moved: Array = self._x - self._before
        moved *= self._rates
        return moved


HUMANOID_UPKEEP = Upkeep(
    survival=5.0, control_cost=0.1, contact_cost=0.5e-6, largest_contact_cost=10.0
)
HUMANOID_STANDS = 1.0
"""Height of the root (m) from which a humanoid stands."""
HUMANOID_FORWARD = 0.25 / 0.003
"""Reward per metre: a quarter of the distance over one substep's 0.003 s, as in the original."""
