"""How games are named and made."""

from __future__ import annotations

from typing import Any, cast, get_args

from pettingzoo import ParallelEnv

from common.errors import UserError
from common.game import GameDescription, Physics
from sampler.games import matching_pennies
from sampler.games.base import BatchedGame
from sampler.games.compositions import COMPOSITIONS
from sampler.games.matching_pennies import MatchingPennies
from sampler.games.mujoco_env import MujocoEnv
from sampler.games.mujoco_game import MujocoGame
from sampler.games.parallel import ParallelGame
from sampler.games.pettingzoo_game import PettingZooGame, load_factory

_COMPOSITIONS = {composition.name: composition for composition in COMPOSITIONS}


def names() -> tuple[str, ...]:
    """Names of the games that come with Sparring."""
    return (*_COMPOSITIONS, matching_pennies.NAME)


def make(
    name: str, physics: str = "exact", render_mode: str | None = None
) -> ParallelEnv[str, Any, Any]:
    """A game as a PettingZoo `ParallelEnv` whose agents are the sides.

    Args:
        name: one of `names()`, `module:factory` for a game of somebody else's, or `family/game`
            for one of PettingZoo's own.
        physics: `exact` or `fast`; games without bodies are the same in both.
        render_mode: `rgb_array` to make `render()` return images (games with bodies only).

    Raises:
        UserError: there is no such game or physics profile; the message lists what there is.
    """
    _check(name, physics)
    if name in _COMPOSITIONS:
        game = MujocoGame(_COMPOSITIONS[name], cast(Physics, physics), 1)
        return MujocoEnv(game, render_mode)
    if name == matching_pennies.NAME:
        return ParallelGame(MatchingPennies(1))
    return load_factory(name)()


def make_batched(name: str, physics: str, lanes: int) -> BatchedGame:
    """`lanes` copies of a game, stepped together. Arguments and errors as for `make`."""
    _check(name, physics)
    if lanes < 1:
        raise UserError(f"{name}: there must be at least one lane, not {lanes}")
    if name in _COMPOSITIONS:
        return MujocoGame(_COMPOSITIONS[name], cast(Physics, physics), lanes)
    if name == matching_pennies.NAME:
        return MatchingPennies(lanes)
    return PettingZooGame(name, load_factory(name), lanes)


def describe(name: str, physics: str = "exact") -> GameDescription:
    """Sides, observations and actions of a game. Arguments and errors as for `make`."""
    return make_batched(name, physics, 1).description


def _check(name: str, physics: str) -> None:
    if physics not in get_args(Physics):
        known = ", ".join(get_args(Physics))
        raise UserError(f"there is no physics profile {physics!r}; there are {known}")
    if name not in names() and ":" not in name and "/" not in name:
        raise UserError(
            f"there is no game {name!r}; there are {', '.join(names())}, "
            "and module:factory for games of your own"
        )
