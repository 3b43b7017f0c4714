"""Every game of ours as a PettingZoo `ParallelEnv`: a batched game with one lane."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from common.game import ActionSpace, Discrete
from sampler.games.base import BatchedGame, Floats, StepResult

_LANE = np.zeros(1, dtype=np.int64)
Info = dict[str, Any]


class ParallelGame(ParallelEnv[str, NDArray[Any], Any]):  # type: ignore[misc]
    """A batched game of one lane, with its sides as agents.

    The info of each agent holds `dense` and `outcome` (the two parts of the reward), `winner` (the
    index in `possible_agents` of the side that won with this step, or -1) and `contacts` (between
    the two bodies).
    """

    metadata: dict[str, Any]
    render_mode: str | None = None

    def __init__(self, game: BatchedGame) -> None:
        if game.lanes != 1:
            raise ValueError(f"a ParallelEnv needs a game with one lane, not {game.lanes}")
        self._game = game
        self._seeds = np.random.default_rng()
        sides = game.description.sides
        self.metadata = {"name": game.description.name, "render_modes": []}
        self.possible_agents = [side.name for side in sides]
        self.agents: list[str] = []
        self.observation_spaces = {
            side.name: gymnasium.spaces.Box(-np.inf, np.inf, (side.observation_size,), np.float32)
            for side in sides
        }
        self.action_spaces = {side.name: _space(side.action) for side in sides}

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """The space of that agent's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """The space of that agent's actions, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Floats], dict[str, Info]]:
        """Starts an episode; without a seed, one follows from the seed given last."""
        if seed is not None:
            self._seeds = np.random.default_rng(seed)
        else:
            seed = int(self._seeds.integers(2**63))
        self._game.reset(_LANE, [seed])
        self._begin()
        return self._observe(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Floats], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]
    ]:
        """Plays one step. Once an episode is over there are no agents until the next `reset`."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        given = [
            np.asarray(actions[agent], dtype=np.float32).reshape(1, -1) for agent in self.agents
        ]
        result = self._game.step(_LANE, given)
        agents = self.agents
        answer = (
            self._observe(),
            dict(zip(agents, self._rewards(result), strict=True)),
            {agent: bool(result.terminated[0]) for agent in agents},
            {agent: bool(result.truncated[0]) for agent in agents},
            {agent: self._info(side, result) for side, agent in enumerate(agents)},
        )
        if result.terminated[0] or result.truncated[0]:
            self.agents = []
        return answer

    def close(self) -> None:
        """There is nothing to release."""

    def _begin(self) -> None:
        self.agents = self.possible_agents[:]

    def _observe(self) -> dict[str, Floats]:
        return {agent: self._game.observe(side, _LANE)[0] for side, agent in enumerate(self.agents)}

    def _rewards(self, result: StepResult) -> list[float]:
        return [float(reward) for reward in result.dense[0] + result.outcome[0]]

    def _info(self, side: int, result: StepResult) -> Info:
        return {
            "dense": float(result.dense[0, side]),
            "outcome": float(result.outcome[0, side]),
            "winner": int(result.winner[0]),
            "contacts": int(result.contacts[0]),
        }


def _space(action: ActionSpace) -> gymnasium.spaces.Space[Any]:
    if isinstance(action, Discrete):
        return gymnasium.spaces.Discrete(action.n)
    return gymnasium.spaces.Box(action.low, action.high, (action.size,), np.float32)
