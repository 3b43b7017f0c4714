"""The life of the workers on a Ray cluster: start, restart, end."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import ray
from ray.exceptions import RayActorError

from common.errors import UserError
from sampler.worker import ENVIRONMENT, Worker

POLL_SECONDS = 0.5
RESTART_PAUSE = 1.0

log = logging.getLogger(__name__)


def start_ray(address: str | None, cpus: int) -> None:
    """Connects to the Ray cluster at `address`, or starts Ray on this machine for `cpus` workers.

    Raises UserError if the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # RAY_ADDRESS in the environment would turn "start one here" into "connect there".
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **common)
        return
    try:
        ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot connect to a Ray cluster at {address}: {first_line}. "
            "Start one with `ray start --head`, or leave --ray-address out"
        ) from error


def stop_ray() -> None:
    """Leaves the cluster; ends a Ray that `start_ray` started."""
    ray.shutdown()


class Fleet:
    """Workers that play for one learner.

    Args:
        learner: HOST:PORT, as the workers' machines reach it.
        workers: how many processes.
    """

    def __init__(self, learner: str, workers: int) -> None:
        self._learner = learner
        self._actor = ray.remote(Worker).options(
            num_cpus=1, max_restarts=0, runtime_env={"env_vars": ENVIRONMENT}
        )
        self._running: dict[Any, Any] = {}
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        actor: Any = self._actor.remote(self._learner)
        self._running[actor.run.remote()] = actor

    def run(self, stop: threading.Event) -> None:
        """Watches over the workers until all have ended because the run is over, or until `stop`.

        A worker that dies is replaced. Raises UserError when the learner refuses the workers.
        """
        while self._running and not stop.is_set():
            done, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
            for reference in done:
                self._ended(reference)

    def _ended(self, reference: Any) -> None:
        actor = self._running.pop(reference)
        try:
            welcome, why = ray.get(reference)
        except RayActorError as error:
            log.warning("a worker died (%s); another takes its place", _first_line(error))
            time.sleep(RESTART_PAUSE)
            self._start()
            return
        ray.kill(actor)
        if not welcome:
            raise UserError(f"the learner at {self._learner} refuses this sampler: {why}")
        log.info("a worker is done: %s", why)

    def close(self) -> None:
        """Ends all workers now."""
        for actor in self._running.values():
            ray.kill(actor)
        self._running = {}


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
