"""How much of raw MuJoCo's speed is left once policies play: arena steps/s over mj_step steps/s.

The raw loop steps from the very states that the arena visits, with the same controls, because how
long a step takes depends on what touches what. It computes none of the sensors that games read.
One core; two policies of the zoo, or random ones of the same size.
"""

from __future__ import annotations

import os

# Read when NumPy is loaded, hence before the imports below.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, get_args
from unittest.mock import patch

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from common.game import GameDescription, Physics, Side
from common.policies import resolve
from common.policy import Policy, PolicySpec
from common.task import Episode, RolloutTask
from common.zoo import ENVIRONMENT_VARIABLE, FOLDERS, zoo_folder, zoo_policies
from sampler.arena import DEFAULT_LANES, Arena

EPISODES = 64
ROUNDS = 5
SUBSTEPS = 5
STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class Replay:
    """The states, controls included, that the arena stepped from, with the substeps from each."""

    def __init__(self) -> None:
        self.model: mujoco.MjModel | None = None
        self.starts: list[tuple[NDArray[np.float64], int]] = []

    @property
    def steps(self) -> float:
        """Steps of the game."""
        return sum(substeps for _, substeps in self.starts) / SUBSTEPS

    def add(self, batch: mujoco.batch.Batch, lane: int, substeps: int) -> None:
        """Notes the state of a lane that is about to be stepped."""
        if self.model is None:
            self.model = batch.get_model(0)
            self.model.opt.disableflags = mujoco.mjtDisableBit.mjDSBL_SENSOR
        state = np.empty(mujoco.mj_stateSize(self.model, STATE))
        mujoco.mj_getState(self.model, batch.get_data(lane), state, STATE)
        self.starts.append((state, substeps))

    def seconds(self) -> float:
        """Time that mj_step takes from all these states."""
        data = mujoco.MjData(self.model)
        total = 0.0
        for state, substeps in self.starts:
            mujoco.mj_setState(self.model, data, state, STATE)
            start = perf_counter()
            mujoco.mj_step(self.model, data, substeps)
            total += perf_counter() - start
        return total


@contextmanager
def recording() -> Iterator[Replay]:
    """Notes every step that a batch of simulations makes meanwhile."""
    replay = Replay()
    original: Callable[..., None] = mujoco.batch.Batch.step

    def step(batch: Any, ids: NDArray[np.int64] | None = None, nstep: int = 1) -> None:
        for lane in range(batch.nsim) if ids is None else ids.tolist():
            replay.add(batch, lane, nstep)
        original(batch, ids, nstep=nstep)

    with patch.object(mujoco.batch.Batch, "step", step):
        yield replay


def policy_for(side: Side, game: str, zoo: Path | None) -> Policy:
    """The first zoo policy of a side; without the zoo, a random network of the zoo's size."""
    if zoo:
        names = zoo_policies(zoo_folder(zoo))
        for folder in (folder for folder in FOLDERS if folder.game == game):
            for name in sorted(n for n in names if n.startswith(folder.path + "/")):
                if side.name in folder.sides[name.rpartition("/")[2].partition("-")[0]]:
                    return resolve(f"zoo:{name}", game=game, side=side, zoo=zoo)
    spec = PolicySpec("mlp", side.observation_size, side.action, (64, 64), clip=5.0)
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }
    arrays["filter/std"] = np.ones(side.observation_size, np.float32)
    return Policy("random network", 0, spec, arrays)


def task_of(description: GameDescription, policies: Sequence[Policy]) -> RolloutTask:
    hashes = tuple(policy.hash for policy in policies)
    episodes = tuple(Episode(seed, hashes) for seed in range(EPISODES))
    deterministic = (False,) * len(hashes)
    return RolloutTask(
        0, description.name, description.physics, 0, DEFAULT_LANES, episodes, deterministic
    )


def measure(game: str, physics: str, zoo: Path | None) -> report.Row:
    arena = Arena(game, physics)
    policies = [policy_for(side, game, zoo) for side in arena.description.sides]
    by_hash = {policy.hash: policy for policy in policies}
    task = task_of(arena.description, policies)

    def play() -> float:
        start = perf_counter()
        for _ in arena.play(task, by_hash):
            pass
        return perf_counter() - start

    with recording() as replay:
        play()
    seconds = report.medians({"arena": play, "raw": replay.seconds}, ROUNDS)
    return {
        "case": f"{game} {physics}",
        "ratio": seconds["raw"] / seconds["arena"],
        "arena_steps_per_second": replay.steps / seconds["arena"],
        "raw_steps_per_second": replay.steps / seconds["raw"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arena", add_help=False)
    parser.add_argument("--game", default="YouShallNotPassHumans")
    parser.add_argument("--zoo", type=Path, default=os.environ.get(ENVIRONMENT_VARIABLE))
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    profiles = get_args(Physics)
    report.main("arena", lambda: [measure(options.game, p, options.zoo) for p in profiles])


if __name__ == "__main__":
    main()
