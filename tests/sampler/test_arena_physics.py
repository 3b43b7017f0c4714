"""The arena on real physics: what comes out depends on the task alone."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from common.game import Physics, Side
from common.policy import Policy, PolicySpec, trivial
from common.task import Episode, EpisodeRecord, RolloutTask
from sampler.arena import Arena
from sampler.games import describe, make_batched

GAME = "YouShallNotPassHumans"
PROFILES: list[Physics] = ["exact", "fast"]


def network(side: Side, seed: int) -> Policy:
    spec = PolicySpec("mlp", side.observation_size, side.action, (64, 64), clip=5.0)
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }
    arrays["filter/std"] = np.ones(side.observation_size, np.float32)
    return Policy(f"{side.name}{seed}", 0, spec, arrays)


SIDES = describe(GAME).sides
BLOCKERS = [network(SIDES[0], 1), trivial("zero", SIDES[0])]
RUNNERS = [network(SIDES[1], 2), trivial("random", SIDES[1])]
POLICIES = {policy.hash: policy for policy in BLOCKERS + RUNNERS}


def a_task(physics: Physics, count: int = 6, lanes: int = 3, seed: int = 0) -> RolloutTask:
    episodes = tuple(
        Episode(seed + e, (BLOCKERS[e % 2].hash, RUNNERS[e // 2 % 2].hash)) for e in range(count)
    )
    return RolloutTask(1, GAME, physics, 1, lanes, episodes, (False, False))


def digest(records: Iterable[EpisodeRecord]) -> str:
    """Hash of everything in the records."""
    found = hashlib.sha256()
    for r in records:
        found.update(repr((r.index, r.summary)).encode())
        for array in (r.observations, r.actions, r.rewards):
            found.update(repr(array.shape).encode() + array.tobytes())
    return found.hexdigest()


def digest_of_task(physics: Physics, lanes: int) -> str:
    return digest(Arena(GAME, physics, lanes).play(a_task(physics), POLICIES))


@pytest.mark.parametrize("physics", PROFILES)
def test_same_task_same_bytes(physics: Physics) -> None:
    arena = Arena(GAME, physics, 3)
    first = digest(arena.play(a_task(physics), POLICIES))
    # Other episodes, in the same lanes and then in more, leave states and warm starts behind.
    digest(arena.play(a_task(physics, seed=99, lanes=2), POLICIES))
    assert digest(arena.play(a_task(physics), POLICIES)) == first
    next(arena.play(a_task(physics, seed=55, count=7, lanes=5), POLICIES))
    assert digest(arena.play(a_task(physics), POLICIES)) == first
    assert digest_of_task(physics, lanes=8) == first


@pytest.mark.parametrize("physics", PROFILES)
def test_another_process_plays_the_same_bytes(physics: Physics) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
import test_arena_physics
print(test_arena_physics.digest_of_task({physics!r}, 4))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == digest_of_task(physics, 3), done.stderr


@pytest.mark.parametrize("physics", PROFILES)
def test_an_episode_does_not_depend_on_its_lane(physics: Physics) -> None:
    """Zero and random policies have no matrix products, so here even the bits must agree."""
    hashes = BLOCKERS[1].hash, RUNNERS[1].hash
    episodes = tuple(Episode(e, hashes) for e in range(5))
    task = replace(a_task(physics), episodes=episodes)
    together = {r.index: digest([r]) for r in Arena(GAME, physics, 3).play(task, POLICIES)}
    alone = Arena(GAME, physics, 1)
    for index in range(5):
        single = replace(task, lanes=1, episodes=episodes[index : index + 1])
        (record,) = alone.play(single, POLICIES)
        assert digest([replace(record, index=index)]) == together[index]


def test_summaries_agree_with_a_plain_loop() -> None:
    """Zero against zero: the game alone decides, so it can be played without the arena."""
    hashes = BLOCKERS[1].hash, trivial("zero", SIDES[1]).hash
    zeros = {hashes[0]: BLOCKERS[1], hashes[1]: trivial("zero", SIDES[1])}
    task = replace(a_task("fast"), episodes=(Episode(5, hashes),))
    (record,) = Arena(GAME, "fast").play(task, zeros)
    game = make_batched(GAME, "fast", 1)
    lane = np.zeros(1, np.int64)
    start, *_ = np.random.SeedSequence(5).spawn(3)
    game.reset(lane, [int(start.generate_state(1, np.uint64)[0])])
    dense, contacts, steps = np.zeros(2), 0, 0
    while True:
        result = game.step(lane, [np.zeros((1, 17), np.float32)] * 2)
        steps += 1
        dense += result.dense[0]
        contacts = max(contacts, int(result.contacts[0]))
        if result.terminated[0]:
            break
    assert record.summary.length == steps
    assert record.summary.dense == tuple(dense)
    assert record.summary.contacts == contacts
    assert record.summary.winner == result.winner[0]
    assert record.rewards[-1].tolist() == [*result.dense[0, 1:], *result.outcome[0, ::-1]]
