"""`sparring learner`."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from common.config import Config
from common.control import parse_address
from common.errors import UserError
from common.runs import RunDirectory, atomic_write, numbered
from learner.prepare import prepare

DEFAULT_LISTEN = "127.0.0.1:50051"

log = logging.getLogger(__name__)

app = App(name="learner", help="Run the learner service: coordinator, PPO and gRPC server.")


@app.default
def learner(
    config: str | None = None,
    /,
    *,
    listen: str = DEFAULT_LISTEN,
    run: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    zoo: Annotated[Path | None, Parameter(env_var="SPARRING_ZOO")] = None,
    runs: Path = Path("runs"),
    port_file: Annotated[Path | None, Parameter(show=False)] = None,
) -> int:
    """Serve one training run: hand out rollout tasks, train, save after every iteration.

    Args:
        config: Name of a preset or path of a YAML file. Not needed with --resume.
        listen: HOST:PORT to listen on; port 0 takes any free one.
        run: The run directory. Default: a new one below --runs.
        resume: Go on from the newest saved state in --run.
        set_: KEY=VALUE on top of the configuration, e.g. --set batch.steps=8192. May be repeated.
        zoo: Folder agent-zoo of the public policies.
        runs: Where new run directories are made and `run:` policies are looked for.
        port_file: Write the port listened on to this file once it is known.
    """
    parse_address(listen, "--listen", lowest_port=0)
    resolved, directory = prepare(config, run, resume, set_ or [], zoo, runs)
    with directory.locked():
        return asyncio.run(_serve(directory, resolved, runs, resume, listen, port_file))


async def _serve(
    directory: RunDirectory,
    config: Config,
    runs: Path,
    resume: bool,
    listen: str,
    port_file: Path | None,
) -> int:
    from learner.batches import TaskFailedError
    from learner.ppo import DivergedError
    from learner.run import TrainingRun
    from learner.service import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    going_on = resume and bool(numbered(directory.states))
    zoo = Path(config.zoo) if config.zoo else None
    run = TrainingRun(directory, config, zoo, runs, going_on)
    on_port: asyncio.Future[int] = loop.create_future()
    on_port.add_done_callback(lambda port: _announce(port, listen, directory, port_file))
    try:
        finished = await serve(run, listen, stop, on_port)
    except (DivergedError, TaskFailedError) as error:
        raise UserError(
            f"the run ended early: {error}. Its state up to iteration "
            f"{run.progress.iteration} is kept in {directory.path}"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write to {directory.path}: {error.strerror}. Its state up to iteration "
            f"{max(numbered(directory.states), default=0)} is kept: go on with --resume"
        ) from error
    if finished:
        log.info("run %s is finished", directory.path)
    else:
        log.info("stopped; go on with: sparring train --resume --run %s", directory.path)
    return 0


def _announce(
    port: asyncio.Future[int], listen: str, directory: RunDirectory, port_file: Path | None
) -> None:
    if port.cancelled() or port.exception():
        return
    host = listen.rpartition(":")[0]
    log.info("learner of run %s listens on %s:%d", directory.path, host, port.result())
    if port_file:
        atomic_write(port_file, str(port.result()).encode())
