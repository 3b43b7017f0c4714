"""Games of other people, through the adapter."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from common.game import Box, Discrete
from sampler.games import describe, make, make_batched

GAMES = '''
import gymnasium
import numpy as np
from pettingzoo import ParallelEnv

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete


class Guess(ParallelEnv):
    """Agents are paid their (clipped) number; `low` sees a hidden number drawn from the seed."""

    metadata = {"name": "guess"}
    possible_agents = ["low", "high"]
    max_cycles = 4

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def __init__(self, ends_at=3, ends=True):
        self.ends_at, self.ends = ends_at, ends
        self.spaces = {
            "low": (Box(-1, 1, (2, 1), np.float64), Box(np.array([-1, -2]), np.array([1, 2]))),
            "high": (Discrete(3), Discrete(5, start=-2)),
        }

    def reset(self, seed=None, options=None):
        self.agents, self.clock = self.possible_agents[:], 0
        self.hidden = np.random.RandomState(seed).uniform(-1, 1)
        return self.see(), {agent: {} for agent in self.agents}

    def see(self):
        return {"low": np.full((2, 1), self.hidden), "high": self.clock % 3}

    def step(self, actions):
        self.clock += 1
        assert all(actions[agent] in self.action_space(agent) for agent in self.agents), actions
        rewards = {"low": float(actions["low"].sum()), "high": float(actions["high"])}
        over = self.ends and self.clock == self.ends_at
        return (
            self.see(),
            rewards,
            {"low": over, "high": False},
            dict.fromkeys(self.agents, False),
            {agent: {} for agent in self.agents},
        )


class Crowd(Guess):
    possible_agents = ["a", "b", "c"]


class Endless(Guess):
    def __init__(self):
        super().__init__(ends=False)


class Picture(Guess):
    def __init__(self):
        super().__init__()
        self.spaces["low"] = (self.spaces["low"][0], gymnasium.spaces.MultiBinary(3))


not_callable = 7
'''


@pytest.fixture(autouse=True)
def _games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guessing_games.py").write_text(GAMES)
    monkeypatch.syspath_prepend(tmp_path)


def both(low: list[list[float]], high: list[list[float]]) -> list[np.ndarray]:
    return [np.array(low, np.float32), np.array(high, np.float32)]


def test_description() -> None:
    description = describe("guessing_games:Guess")
    low, high = description.sides
    assert (low.name, low.observation_size, low.action) == ("low", 2, Box(2, -2.0, 2.0))
    assert (high.name, high.observation_size, high.action) == ("high", 3, Discrete(5))
    assert (description.physics, description.max_steps) == ("exact", 4)


def test_an_episode() -> None:
    game, lanes = make_batched("guessing_games:Guess", "exact", 3), np.array([0, 2])
    game.reset(lanes, [1, 2])
    hidden = [np.random.RandomState(seed).uniform(-1, 1) for seed in (1, 2)]
    np.testing.assert_allclose(game.observe(0, lanes), np.repeat([hidden], 2, axis=0).T, rtol=1e-6)
    np.testing.assert_array_equal(game.observe(1, lanes), [[1, 0, 0]] * 2)
    for _ in range(2):
        result = game.step(lanes, both([[0.5, 3], [0, 0]], [[4], [2]]))
        # 3 is clipped to 2; the discrete action 4 is the game's 2, and 2 its 0.
        assert result.dense.tolist() == [[2.5, 2.0], [0.0, 0.0]]
        assert result.winner.tolist() == [-1, -1]
        assert not result.terminated.any()
    np.testing.assert_array_equal(game.observe(1, lanes), [[0, 0, 1]] * 2)
    result = game.step(lanes, both([[0.5, 3], [0, 0]], [[4], [2]]))
    assert result.terminated.all()
    assert not result.truncated.any()
    # The first lane's `low` has the larger return, the second's agents are even.
    assert result.winner.tolist() == [0, -1]
    assert not result.outcome.any()


def test_an_endless_game_is_cut_off_at_its_limit() -> None:
    game, lanes = make_batched("guessing_games:Endless", "exact", 1), np.arange(1)
    game.reset(lanes, [2**63 + 5])
    ends = [game.step(lanes, both([[0, 0]], [[3]])) for _ in range(4)]
    assert [bool(end.truncated[0]) for end in ends] == [False, False, False, True]
    assert ends[-1].winner.tolist() == [1]
    assert not ends[-1].terminated.any()


def test_seeds_of_64_bits_differ_as_they_should() -> None:
    game, lanes = make_batched("guessing_games:Guess", "exact", 3), np.arange(3)
    game.reset(lanes, [2**40, 2**41, 2**40])
    first, second, third = game.observe(0, lanes)[:, 0]
    assert first == third != second


def test_pettingzoos_own_games_by_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    games = importlib.import_module("guessing_games")
    stand_in = types.SimpleNamespace(parallel_env=games.Guess)
    monkeypatch.setitem(sys.modules, "pettingzoo.classic.guess_v0", stand_in)
    description = describe("classic/guess_v0")
    assert (description.name, len(description.sides)) == ("classic/guess_v0", 2)


def test_make_returns_the_game_itself() -> None:
    assert type(make("guessing_games:Guess")).__name__ == "Guess"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:make", "cannot import no_such_module"),
        ("classic/no_such_game", r"cannot import pettingzoo\.classic\.no_such_game"),
        ("guessing_games:Absent", "guessing_games has no function 'Absent'"),
        ("guessing_games:not_callable", "guessing_games has no function 'not_callable'"),
        ("guessing_games:Crowd", r"has 3 agents, \['a', 'b', 'c'\]; it must have two"),
        ("guessing_games:Picture", "actions of low must be Discrete or a bounded Box"),
    ],
)
def test_games_that_cannot_be_played_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_batched(name, "exact", 2)
