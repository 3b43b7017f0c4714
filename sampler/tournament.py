"""Match-ups over Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayTaskError

from common.policy import Policy
from common.task import RolloutTask
from sampler.match import LocalPlayer, Summaries

# A task is a pure function of its content, so one that was lost with its process is played again.
RESTARTS = 3

# The bits of a matrix product may depend on the number of threads that share it.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class MatchPool:
    """Processes on Ray that play rollout tasks for their summaries. A context manager.

    Uses the Ray that is there, or else starts one on this machine for as long as it lives.

    Args:
        workers: number of processes, each on one CPU.
    """

    def __init__(self, workers: int) -> None:
        self._own_ray = not ray.is_initialized()
        if self._own_ray:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        actor = ray.remote(LocalPlayer).options(
            num_cpus=1,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            runtime_env={"env_vars": ONE_THREAD},
        )
        self._actors: list[Any] = [actor.remote() for _ in range(workers)]

    def __enter__(self) -> MatchPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._own_ray:
            ray.shutdown()

    def play(
        self, tasks: Sequence[RolloutTask], policies: Mapping[str, Policy]
    ) -> Iterator[tuple[RolloutTask, Summaries]]:
        """See `sampler.match.Player`.

        Raises:
            ArenaError: as `Arena.play`.
            ray.exceptions.RayActorError: a process died more often than it may.
        """
        stored = ray.put(dict(policies))
        waiting = iter(tasks)
        # One task at a time each: a longer queue would wait behind the longest episodes.
        running = {
            actor.summaries.remote(task, stored): (actor, task)
            for actor, task in zip(self._actors, waiting, strict=False)
        }
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, task = running.pop(done)
            for following in waiting:
                running[actor.summaries.remote(following, stored)] = (actor, following)
                break
            yield task, _result(done)


def _result(reference: Any) -> Summaries:
    try:
        summaries: Summaries = ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    return summaries
