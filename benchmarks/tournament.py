"""What a tournament adds to playing: its wall time times its workers, over the time they played.

A scaled-down tournament of random networks of the zoo's size. Both times are of the same tasks in
the same run, so that other work on the machine slows both. The start of Ray and of the processes,
once a tournament, is told apart: in a large one it is nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks import report
from common.game import GameDescription, Side
from common.policy import Policy, PolicySpec
from common.task import RolloutTask
from sampler.games import describe
from sampler.tournament import MatchPool
from sampler.tournament_plan import Agenda, Rule, all_pairs, chunk_task, task_chunk
from sampler.tournament_store import TournamentStore

SEED = 0


def random_network(side: Side, number: int) -> Policy:
    spec = PolicySpec("mlp", side.observation_size, side.action, (64, 64), clip=5.0)
    rng = np.random.default_rng(number)
    arrays = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }
    arrays["filter/std"] = np.ones(side.observation_size, np.float32)
    return Policy(f"random network {number}", 0, spec, arrays)


def play(
    pool: MatchPool,
    description: GameDescription,
    policies: list[list[Policy]],
    episodes: int,
    workers: int,
) -> None:
    """A tournament as the command plays it: results are kept as they come."""
    by_hash = {policy.hash: policy for side in policies for policy in side}
    first, second = ([policy.hash for policy in side] for side in policies)
    agenda = Agenda(all_pairs(first, second), Rule(episodes), last=4 * workers)

    def draw() -> RolloutTask | None:
        chunk = agenda.draw()
        return chunk and chunk_task(description, chunk, SEED)

    with (
        tempfile.TemporaryDirectory() as folder,
        TournamentStore(Path(folder), description, SEED) as store,
    ):
        for task, summaries in pool.work(draw, by_hash):
            chunk = task_chunk(task)
            store.append(chunk, summaries)
            agenda.add(chunk, summaries)
    assert agenda.done == agenda.total


def measure(options: argparse.Namespace) -> list[report.Row]:
    description = describe(options.game, options.physics)
    counts = (options.policies0, options.policies1)
    policies = [
        [random_network(side, number) for number in range(count)]
        for side, count in zip(description.sides, counts, strict=True)
    ]
    start = perf_counter()
    with MatchPool(options.workers) as pool:
        pool.prepare(description.name, description.physics)
        ready = perf_counter()
        play(pool, description, policies, options.episodes, options.workers)
        taken = perf_counter() - ready
    ratio = taken * options.workers / pool.playing_seconds
    return [
        {
            "case": f"{options.game} {options.physics}, {options.policies0} x {options.policies1} "
            f"policies, {options.episodes} episodes each, {options.workers} workers",
            "ratio": ratio,
            "busy": 1 / ratio,
            "wall_seconds": taken,
            "playing_seconds": pool.playing_seconds,
            "start_seconds": ready - start,
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tournament", add_help=False)
    parser.add_argument("--game", default="YouShallNotPassHumans")
    parser.add_argument("--physics", default="fast")
    parser.add_argument("--policies0", type=int, default=8)
    parser.add_argument("--policies1", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    report.main("tournament", partial(measure, options))


if __name__ == "__main__":
    main()
