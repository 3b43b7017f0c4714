"""The games against steps recorded in the original games (see the reference material's README)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from sampler.games import make_batched
from sampler.games.base import StepResult
from sampler.games.mujoco_env import MujocoEnv
from sampler.games.mujoco_game import MujocoGame
from sampler.games.registry import make

FILES = {
    "YouShallNotPassHumans": "you_shall_not_pass_humans",
    "KickAndDefend": "kick_and_defend",
    "SumoHumans": "sumo_humans",
    "SumoAnts": "sumo_ants",
    "RunToGoalHumans": "run_to_goal_humans",
    "RunToGoalAnts": "run_to_goal_ants",
}
# These come from the engine's last evaluation before the state, which the state does not tell.
NOT_IN_THE_STATE = {
    "link_inertia",
    "link_velocity",
    "motor_force",
    "contact_force",
    "root_rotation",
}
# The reward for moving is measured from where the centre of mass was at that evaluation. After
# `set_state` it is measured from the state itself, so it differs by a few millimetres' worth.
REWARD_TOLERANCE = {
    "YouShallNotPassHumans": 0.01,
    "KickAndDefend": 0.01,
    "RunToGoalHumans": 0.02,
    "RunToGoalAnts": 0.1,
}
EXACT_REWARD = 1e-4

Columns = dict[str, NDArray[Any]]


@dataclass
class Recording:
    """Recorded steps, and a game that has played each of them in a lane of its own."""

    name: str
    columns: Columns
    game: MujocoGame
    before: list[NDArray[np.float32]]
    result: StepResult
    after: list[NDArray[np.float32]]

    @property
    def layout(self) -> tuple[tuple[str, int], ...]:
        return self.game.description.sides[0].layout

    def blocks(self, observation: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        ends = np.cumsum([length for _, length in self.layout])
        parts = np.split(observation, ends[:-1], axis=1)
        return dict(zip((name for name, _ in self.layout), parts, strict=True))

    def state(self, lane: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.game.get_state(lane)


def place(game: MujocoGame, lane: int, columns: Columns, row: int) -> None:
    radius = float(columns["radius"][row])
    game.set_state(
        lane,
        columns["qpos"][row],
        columns["qvel"][row],
        elapsed=int(columns["elapsed"][row]),
        radius=None if np.isnan(radius) else radius,
        touched=bool(columns["touched"][row]),
    )


def load(shared: Path, name: str) -> Columns:
    with np.load(shared / "golden" / f"{FILES[name]}.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module", params=FILES)
def recording(request: pytest.FixtureRequest, shared: Path) -> Recording:
    columns = load(shared, request.param)
    rows = len(columns["qpos"])
    lanes = np.arange(rows)
    game = cast(MujocoGame, make_batched(request.param, "exact", rows))
    for row in range(rows):
        place(game, row, columns, row)
    before = [game.observe(side, lanes) for side in range(2)]
    result = game.step(lanes, [columns["action0"], columns["action1"]])
    after = [game.observe(side, lanes) for side in range(2)]
    return Recording(request.param, columns, game, before, result, after)


def test_one_step_leads_to_the_recorded_state(recording: Recording) -> None:
    rows = range(len(recording.columns["qpos"]))
    states = [recording.state(row) for row in rows]
    qpos = np.array([position for position, _ in states])
    qvel = np.array([velocity for _, velocity in states])
    np.testing.assert_allclose(qpos, recording.columns["next_qpos"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(qvel, recording.columns["next_qvel"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [0, 1])
def test_observations_after_the_step_are_the_recorded_ones(recording: Recording, side: int) -> None:
    recorded = recording.blocks(recording.columns[f"next_obs{side}"])
    for name, block in recording.blocks(recording.after[side]).items():
        atol = 5e-3 if name == "contact_force" else 1e-4
        np.testing.assert_allclose(block, recorded[name], rtol=1e-5, atol=atol, err_msg=name)


@pytest.mark.parametrize("side", [0, 1])
def test_a_state_that_is_set_is_observed_as_recorded(recording: Recording, side: int) -> None:
    recorded = recording.blocks(recording.columns[f"obs{side}"])
    for name, block in recording.blocks(recording.before[side]).items():
        if name not in NOT_IN_THE_STATE:
            np.testing.assert_allclose(block, recorded[name], rtol=1e-6, atol=1e-5, err_msg=name)


def test_who_wins_and_when_it_ends(recording: Recording) -> None:
    columns, result = recording.columns, recording.result
    np.testing.assert_array_equal(result.terminated | result.truncated, columns["done"] > 0)
    np.testing.assert_array_equal(result.winner, columns["winner"])
    np.testing.assert_array_equal(result.outcome, columns["reward_remaining"])
    done = [recording.game.side_done(row) for row in range(len(columns["qpos"]))]
    np.testing.assert_array_equal(done, columns["agent_done"] > 0)


def test_contacts_between_the_sides(recording: Recording) -> None:
    np.testing.assert_array_equal(recording.result.contacts, recording.columns["contacts"])


def test_rewards(recording: Recording) -> None:
    columns = recording.columns
    atol = REWARD_TOLERANCE.get(recording.name, EXACT_REWARD)
    paid = [recording.game.reward(row) for row in range(len(columns["qpos"]))]
    np.testing.assert_allclose(paid, columns["reward"], rtol=0, atol=atol)
    np.testing.assert_allclose(recording.result.dense, columns["reward_move"], rtol=0, atol=atol)


@pytest.mark.parametrize("name", REWARD_TOLERANCE)
def test_an_episode_played_from_its_start_pays_what_was_recorded(name: str, shared: Path) -> None:
    columns = load(shared, name)
    lane = np.zeros(1, np.int64)
    game = cast(MujocoGame, make_batched(name, "exact", 1))
    for start in np.flatnonzero(columns["elapsed"] == 0).tolist():
        place(game, 0, columns, start)
        for row in range(start, start + 8):
            result = game.step(lane, [columns[f"action{side}"][row : row + 1] for side in (0, 1)])
            np.testing.assert_allclose(game.reward(0), columns["reward"][row], rtol=0, atol=2e-3)
            dense = columns["reward_move"][row]
            np.testing.assert_allclose(result.dense[0], dense, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", FILES)
def test_the_parallel_env_plays_the_same_step(name: str, shared: Path) -> None:
    columns = load(shared, name)
    row = int(np.flatnonzero(columns["done"])[0])
    env = cast(MujocoEnv, make(name))
    place_in_env(env, columns, row)
    first, second = env.possible_agents
    actions = {first: columns["action0"][row], second: columns["action1"][row]}
    observations, rewards, terminations, truncations, infos = env.step(actions)
    recorded = columns["next_obs0"][row]
    position, _ = env.unwrapped.get_state()
    np.testing.assert_allclose(position, columns["next_qpos"][row], rtol=0, atol=1e-6)
    np.testing.assert_allclose(observations[first][-10:], recorded[-10:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(list(rewards.values()), columns["reward"][row], rtol=0, atol=0.1)
    assert terminations[first] or truncations[first]
    assert infos[first]["winner"] == columns["winner"][row]
    assert infos[second]["outcome"] == columns["reward_remaining"][row, 1]
    assert not env.agents


def place_in_env(env: MujocoEnv, columns: Columns, row: int) -> None:
    radius = float(columns["radius"][row])
    env.unwrapped.set_state(
        columns["qpos"][row],
        columns["qvel"][row],
        elapsed=int(columns["elapsed"][row]),
        radius=None if np.isnan(radius) else radius,
        touched=bool(columns["touched"][row]),
    )
