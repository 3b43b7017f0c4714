"""What both services know about a game: its sides, their observations and actions.

The learner has no physics engine. It learns the description of the game from the first worker that
joins a run, keeps it with the run, and refuses workers whose description differs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Physics = Literal["exact", "fast"]


@dataclass(frozen=True)
class Box:
    """Continuous actions: `size` numbers, each clipped by the game to [low, high]."""

    size: int
    low: float
    high: float

    def __post_init__(self) -> None:
        # Equal boxes must give equal JSON, so equal hashes: -1 and NumPy's numbers become floats.
        object.__setattr__(self, "size", int(self.size))
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))


@dataclass(frozen=True)
class Discrete:
    """One of `n` actions, numbered from 0."""

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", int(self.n))


ActionSpace = Box | Discrete


@dataclass(frozen=True)
class Side:
    """A seat in the game.

    Attributes:
        name: how users name it, e.g. `runner`.
        observation_size: length of the flat float32 observation.
        action: what the policy of this side must return.
        layout: names and lengths of the blocks of the observation, in order; they add up to
            `observation_size`. Two games whose layouts differ cannot share policies.
    """

    name: str
    observation_size: int
    action: ActionSpace
    layout: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        total = sum(length for _, length in self.layout)
        if total != self.observation_size:
            raise ValueError(
                f"side {self.name}: the layout has {total} numbers, "
                f"the observation {self.observation_size}"
            )


@dataclass(frozen=True)
class GameDescription:
    """A game as both services see it.

    Attributes:
        name: registered name or `module:factory`.
        physics: the physics profile it is played in (`exact` for games without one).
        sides: one or two sides, in the order of the rules (agent 0, agent 1).
        max_steps: the longest episode, in steps.
        win_reward: what the rules pay for a win; win/loss rewards are scaled by it.
    """

    name: str
    physics: str
    sides: tuple[Side, ...]
    max_steps: int
    win_reward: float = 1.0

    def side_index(self, name: str) -> int:
        """Position of the side called `name`. Raises ValueError that lists the sides there are."""
        for index, side in enumerate(self.sides):
            if side.name == name:
                return index
        names = ", ".join(side.name for side in self.sides)
        raise ValueError(f"{self.name} has no side {name!r}; its sides are {names}")

    def to_json(self) -> str:
        """Canonical JSON: equal descriptions give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> GameDescription:
        """Inverse of `to_json`. Raises ValueError on text of another form."""
        try:
            return _description(json.loads(text))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a game description: {error!r}") from error

    @property
    def layout_hash(self) -> str:
        """SHA-256 of everything a policy depends on: sides, observations, actions (not physics)."""
        sides = [asdict(side) for side in self.sides]
        text = json.dumps([self.name, sides], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _description(fields: dict[str, Any]) -> GameDescription:
    sides = tuple(
        Side(
            name=str(side["name"]),
            observation_size=int(side["observation_size"]),
            action=_action(side["action"]),
            layout=tuple((str(name), int(length)) for name, length in side["layout"]),
        )
        for side in fields["sides"]
    )
    return GameDescription(
        name=str(fields["name"]),
        physics=str(fields["physics"]),
        sides=sides,
        max_steps=int(fields["max_steps"]),
        win_reward=float(fields["win_reward"]),
    )


def _action(fields: dict[str, Any]) -> ActionSpace:
    if "n" in fields:
        return Discrete(int(fields["n"]))
    return Box(int(fields["size"]), float(fields["low"]), float(fields["high"]))
