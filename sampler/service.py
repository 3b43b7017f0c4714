"""`sparring sampler`: rollout workers for a learner, on this machine or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from common.errors import UserError

log = logging.getLogger(__name__)

app = App(name="sampler", help="Run rollout workers for a learner.")


class _Terminated(BaseException):
    """SIGTERM or SIGINT came."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


@app.default
def sampler(
    *,
    learner: str,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 0,
    ray_address: str | None = None,
) -> int:
    """Play the rollout tasks of a learner until its run is finished.

    Waits for a learner that is not there yet, and connects again to one that comes back.

    Args:
        learner: HOST:PORT of the learner, as the workers' machines reach it.
        workers: Worker processes, one CPU each. Default: one for every core of this machine.
        ray_address: HOST:PORT of a Ray cluster, or auto. Default: a Ray of its own.
    """
    check_address(learner, "--learner")
    workers = workers or os.cpu_count() or 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminate)
    from sampler.fleet import Fleet, start_ray, stop_ray

    fleet = None
    try:
        start_ray(ray_address, workers)
        fleet = Fleet(learner, workers)
        log.info("%d workers play for the learner at %s", workers, learner)
        fleet.run()
    except _Terminated:
        log.info("stopped")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if fleet is not None:
            fleet.close()
        stop_ray()
    return 0


def check_address(address: str, option: str) -> None:
    """Raises UserError unless `address` is HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise UserError(f"{option} {address}: should be HOST:PORT, e.g. 127.0.0.1:50051")
