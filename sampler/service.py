"""`sparring sampler`: rollout workers for a learner, on this machine or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from common.control import parse_address

log = logging.getLogger(__name__)

app = App(name="sampler", help="Run rollout workers for a learner.")


@app.default
def sampler(
    *,
    learner: str,
    workers: Annotated[int, Parameter(validator=Number(gte=0, lte=100_000))] = 0,
    ray_address: str | None = None,
) -> int:
    """Play the rollout tasks of a learner until its run is finished.

    Waits for a learner that is not there yet, and connects again to one that comes back.

    Args:
        learner: HOST:PORT of the learner, as the workers' machines reach it.
        workers: Worker processes, one CPU each. Default: one for every core of this machine.
        ray_address: HOST:PORT of a Ray cluster, or auto. Default: a Ray of its own.
    """
    parse_address(learner, "--learner")
    workers = workers or os.cpu_count() or 1
    from sampler.fleet import Fleet, start_ray, stop_ray

    stop = _stop_on_signals()
    try:
        start_ray(ray_address, workers)
        # Ray has put handlers of its own in the place of ours.
        stop = _stop_on_signals(stop)
        fleet = Fleet(learner, workers)
        log.info("%d workers play for the learner at %s", workers, learner)
        try:
            fleet.run(stop)
        finally:
            fleet.close()
    finally:
        stop_ray()
    log.info("stopped" if stop.is_set() else "done")
    return 0


def _stop_on_signals(stop: threading.Event | None = None) -> threading.Event:
    """An event that SIGINT and SIGTERM set; raising from a handler would break calls into Ray."""
    event = stop or threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: event.set())
    return event
