"""Games of other people: any PettingZoo `ParallelEnv` of two agents, in many lanes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from common.errors import UserError
from common.game import ActionSpace, Box, Discrete, GameDescription, Side
from sampler.games.base import Floats, Lanes, StepResult

DEFAULT_MAX_STEPS = 1000
"""Steps after which an episode is cut off if the game names no limit of its own."""

Environment: TypeAlias = ParallelEnv[str, Any, Any]
# NumPy's older generators, which many games still use, take no seeds from here on.
_SEEDS = 2**32


def load_factory(name: str) -> Callable[[], Environment]:
    """What makes the game called `module:factory`, or `family/game` for one of PettingZoo's own.

    For example `my_games.tag:parallel_env`, or `classic/rps_v2`.

    Raises:
        UserError: there is no such module, it has no such attribute, or that cannot be called.
    """
    module_name, _, attribute = name.partition(":")
    if not attribute:
        module_name = "pettingzoo." + name.replace("/", ".")
        attribute = "parallel_env"
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"game {name!r}: cannot import {module_name}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UserError(f"game {name!r}: {module_name} has no function {attribute!r}")
    return factory  # type: ignore[no-any-return]


class PettingZooGame:
    """`lanes` copies of a PettingZoo game in this process. See `BatchedGame`.

    Rewards of the game are `dense`, `outcome` is 0. The agent with the larger return wins when the
    episode ends, nobody on a tie. The episode ends with the first agent that does. Observations are
    flattened (gymnasium's rules: discrete ones become one-hot).

    Attributes:
        description: sides, observations and actions. `max_steps` is the `max_steps` or `max_cycles`
            of the unwrapped game, or `DEFAULT_MAX_STEPS`.
        lanes: number of lanes.
    """

    def __init__(self, name: str, factory: Callable[[], Environment], lanes: int) -> None:
        """Makes the copies. Raises UserError if the game is not one that can be played here."""
        self.lanes = lanes
        self._games = [factory() for _ in range(lanes)]
        game = self._games[0]
        agents = list(game.possible_agents)
        if len(agents) != 2:
            raise UserError(f"{name} has {len(agents)} agents, {agents}; it must have two")
        self._agents = agents
        self._observation_spaces = [game.observation_space(agent) for agent in agents]
        self._action_spaces = [game.action_space(agent) for agent in agents]
        sides = tuple(
            _side(name, agent, *spaces)
            for agent, *spaces in zip(
                agents, self._observation_spaces, self._action_spaces, strict=True
            )
        )
        self.description = GameDescription(name, "exact", sides, _max_steps(game))
        self._observations = [
            np.zeros((lanes, side.observation_size), dtype=np.float32) for side in sides
        ]
        self._returns = np.zeros((lanes, 2))
        self._elapsed = np.zeros(lanes, dtype=np.int64)

    def reset(self, lanes: Lanes, seeds: Sequence[int]) -> None:
        """See `BatchedGame`. Seeds of more than 32 bits are hashed to 32."""
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            observations, _ = self._games[lane].reset(seed=_short(seed))
            self._keep(lane, observations)
        self._returns[lanes] = 0
        self._elapsed[lanes] = 0

    def observe(self, side: int, lanes: Lanes) -> Floats:
        """See `BatchedGame`."""
        return self._observations[side][lanes]

    def step(self, lanes: Lanes, actions: Sequence[Floats]) -> StepResult:
        """See `BatchedGame`."""
        dense = np.zeros((len(lanes), 2), dtype=np.float32)
        terminated = np.zeros(len(lanes), dtype=np.bool_)
        truncated = np.zeros(len(lanes), dtype=np.bool_)
        for row, lane in enumerate(lanes.tolist()):
            given = {
                agent: _action(space, action[row])
                for agent, space, action in zip(
                    self._agents, self._action_spaces, actions, strict=True
                )
            }
            observations, rewards, ends, cuts, _ = self._games[lane].step(given)
            self._keep(lane, observations)
            dense[row] = [rewards.get(agent, 0.0) for agent in self._agents]
            terminated[row] = any(ends.values())
            truncated[row] = any(cuts.values())
        self._returns[lanes] += dense
        self._elapsed[lanes] += 1
        truncated |= self._elapsed[lanes] >= self.description.max_steps
        truncated &= ~terminated
        first, second = self._returns[lanes].T
        winner = np.where(first == second, -1, first < second)
        return StepResult(
            dense=dense,
            outcome=np.zeros_like(dense),
            terminated=terminated,
            truncated=truncated,
            winner=np.where(terminated | truncated, winner, -1).astype(np.int8),
            contacts=np.zeros(len(lanes), dtype=np.int32),
        )

    def _keep(self, lane: int, observations: dict[str, Any]) -> None:
        for agent, space, kept in zip(
            self._agents, self._observation_spaces, self._observations, strict=True
        ):
            # Agents that have ended may be missing; what they saw last stays.
            if agent in observations:
                kept[lane] = np.asarray(gymnasium.spaces.flatten(space, observations[agent]))


def _short(seed: int) -> int:
    """The seed itself if it fits 32 bits, else a hash of it that does."""
    return seed if seed < _SEEDS else int(np.random.SeedSequence(seed).generate_state(1)[0])


def _side(
    name: str,
    agent: str,
    observation: gymnasium.spaces.Space[Any],
    action: gymnasium.spaces.Space[Any],
) -> Side:
    if not observation.is_np_flattenable:
        raise UserError(f"{name}: observations of {agent} cannot be flattened: {observation}")
    size = gymnasium.spaces.flatdim(observation)
    return Side(agent, size, _describe_action(name, agent, action), (("observation", size),))


def _describe_action(name: str, agent: str, space: gymnasium.spaces.Space[Any]) -> ActionSpace:
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
        return Box(int(np.prod(space.shape)), float(space.low.min()), float(space.high.max()))
    raise UserError(f"{name}: actions of {agent} must be Discrete or a bounded Box, not {space}")


def _action(space: gymnasium.spaces.Space[Any], action: Floats) -> int | NDArray[Any]:
    """The action (a,) of a policy as the game takes it."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(action[0]) + int(space.start)
    assert isinstance(space, gymnasium.spaces.Box)
    return np.clip(action.reshape(space.shape), space.low, space.high).astype(space.dtype)


def _max_steps(game: Environment) -> int:
    for attribute in ("max_steps", "max_cycles"):
        limit = getattr(game.unwrapped, attribute, None)
        if isinstance(limit, int) and limit > 0:
            return limit
    return DEFAULT_MAX_STEPS
