"""Names of games, and every game as a PettingZoo environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import gymnasium
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from sampler.games import describe, make, make_batched, names
from sampler.games.mujoco_env import MujocoEnv

RENDER = """
import numpy as np
from sampler.games import make
env = make("SumoAnts", render_mode="rgb_array")
env.reset(seed=0)
image = env.render()
env.close()
assert (image.shape, image.dtype) == ((480, 640, 3), np.uint8)
assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
"""


@pytest.mark.parametrize("name", names())
def test_pettingzoo_accepts_every_game(name: str) -> None:
    parallel_api_test(make(name, "fast"), num_cycles=150)
    parallel_seed_test(lambda: make(name, "fast"))


@pytest.mark.parametrize("name", names())
def test_agents_are_the_sides(name: str) -> None:
    env, description = make(name), describe(name)
    assert env.possible_agents == [side.name for side in description.sides]
    for side in description.sides:
        space = env.observation_space(side.name)
        assert space.shape == (side.observation_size,)
        assert isinstance(
            env.action_space(side.name), gymnasium.spaces.Box | gymnasium.spaces.Discrete
        )


def test_an_env_plays_what_a_lane_plays() -> None:
    env, game, lane = make("SumoAnts"), make_batched("SumoAnts", "exact", 2), np.ones(1, np.int64)
    observations, _ = env.reset(seed=7)
    game.reset(lane, [7])
    np.testing.assert_array_equal(observations["right"], game.observe(1, lane)[0])
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, *_, infos = env.step(actions)
    result = game.step(lane, [actions[agent][None] for agent in ("left", "right")])
    np.testing.assert_array_equal(observations["left"], game.observe(0, lane)[0])
    assert infos["left"]["dense"] == result.dense[0, 0]
    assert rewards["right"] == pytest.approx(result.dense[0, 1] + result.outcome[0, 1])


def test_episodes_without_a_seed_differ_but_follow_from_the_last_one() -> None:
    env = make("SumoAnts")
    starts = []
    for _ in range(2):
        env.reset(seed=1)
        starts.append([env.reset()[0]["left"] for _ in range(2)])
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0][0], starts[0][1])


def test_a_state_survives_being_set() -> None:
    env = cast(MujocoEnv, make("KickAndDefend"))
    env.reset(seed=0)
    position, velocity = env.unwrapped.get_state()
    seen = env.observe("kicker")
    env.reset(seed=1)
    env.unwrapped.set_state(position, velocity)
    np.testing.assert_array_equal(env.unwrapped.get_state()[0], position)
    np.testing.assert_allclose(env.observe("kicker"), seen, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factory", [make, describe])
def test_unknown_names_and_profiles_are_refused_with_what_there_is(
    factory: Callable[..., object],
) -> None:
    with pytest.raises(ValueError, match=r"no game 'Chess'; there are .*SumoAnts.*MatchingPennies"):
        factory("Chess")
    with pytest.raises(ValueError, match="no physics profile 'slow'; there are exact, fast"):
        factory("SumoAnts", "slow")


def test_unknown_render_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="no render mode 'human'; there is rgb_array"):
        make("SumoAnts", render_mode="human")


def test_a_game_with_bodies_can_be_drawn_without_a_display() -> None:
    # In a process of its own: the graphics library is chosen when MuJoCo is imported.
    environment = {**os.environ, "MUJOCO_GL": "egl"}
    subprocess.run([sys.executable, "-c", RENDER], check=True, env=environment)
