"""The learner's gRPC service: thin. Streams to the dispatcher, weights by hash, control, health."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from common.errors import UserError
from common.game import GameDescription
from common.rpc import sparring_pb2 as pb
from common.rpc import sparring_pb2_grpc as rpc
from common.schedule import burst_count
from common.wire import CHUNK_BYTES, MESSAGE_SIZE_OPTIONS, PROTOCOL_VERSION
from learner.coordinator import share_done
from learner.dispatch import Connection
from learner.run import ClosingError, RefusedError, TrainingRun

HANDSHAKE_SECONDS = 120.0
"""A worker makes its game between Welcome and Joined."""

SERVER_OPTIONS = [
    *MESSAGE_SIZE_OPTIONS,
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

log = logging.getLogger(__name__)


class RolloutsService(rpc.RolloutsServicer):
    """Streams of workers, and policies by hash."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    async def Stream(  # noqa: N802 (name of the RPC)
        self, request_iterator: AsyncIterator[pb.WorkerMessage], context: Context
    ) -> AsyncIterator[pb.LearnerMessage]:
        """The life of one worker."""
        hello = await self._hello(request_iterator, context)
        yield pb.LearnerMessage(welcome=self._welcome())
        await self._joined(hello, request_iterator, context)
        connection = self._run.dispatcher.connect(hello)
        reader = asyncio.create_task(self._read(connection, request_iterator))
        try:
            while (message := await connection.outbox.get()) is not None:
                yield message
            if not reader.done():
                await context.abort(grpc.StatusCode.ABORTED, "the learner gave this worker up")
        finally:
            reader.cancel()
            self._run.dispatcher.disconnect(connection)

    async def _read(
        self, connection: Connection, messages: AsyncIterator[pb.WorkerMessage]
    ) -> None:
        try:
            async for message in messages:
                self._run.dispatcher.handle(connection, message)
        finally:
            connection.close()

    def _welcome(self) -> pb.Welcome:
        config = self._run.config
        return pb.Welcome(
            protocol=PROTOCOL_VERSION,
            software=version("sparring"),
            run=self._run.directory.name,
            incarnation=self._run.incarnation,
            game=config.game.name,
            physics=config.game.physics,
            heartbeat_seconds=config.learner.heartbeat_seconds,
        )

    async def _hello(self, messages: AsyncIterator[pb.WorkerMessage], context: Context) -> pb.Hello:
        hello = (await self._next(messages, context, "hello")).hello
        if hello.protocol != PROTOCOL_VERSION:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the learner speaks protocol {PROTOCOL_VERSION}, the worker {hello.protocol}: "
                f"install sparring {version('sparring')} on the sampler's machine",
            )
        return hello

    async def _joined(
        self, hello: pb.Hello, messages: AsyncIterator[pb.WorkerMessage], context: Context
    ) -> None:
        joined = (await self._next(messages, context, "joined")).joined
        try:
            await self._run.join(GameDescription.from_json(joined.description))
        except ClosingError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except (RefusedError, ValueError) as error:
            log.warning("worker %s from %s refused: %s", hello.worker, hello.host, error)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    async def _next(
        self, messages: AsyncIterator[pb.WorkerMessage], context: Context, expected: str
    ) -> pb.WorkerMessage:
        try:
            message = await asyncio.wait_for(anext(aiter(messages)), HANDSHAKE_SECONDS)
        except (TimeoutError, StopAsyncIteration):
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no {expected} came")
        if message.WhichOneof("kind") != expected:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"expected {expected}, got {message.WhichOneof('kind')}",
            )
        return message

    async def GetPolicy(  # noqa: N802 (name of the RPC)
        self, request: pb.PolicyRequest, context: Context
    ) -> AsyncIterator[pb.PolicyPiece]:
        """A policy's file in pieces."""
        data = self._run.policy_file(request.hash)
        if data is None:
            message = f"no policy {request.hash[:12]} plays now"
            await context.abort(grpc.StatusCode.NOT_FOUND, message)
            raise AssertionError("abort raises")
        for start in range(0, len(data), CHUNK_BYTES):
            yield pb.PolicyPiece(data=data[start : start + CHUNK_BYTES])


class ControlService(rpc.ControlServicer):
    """Status, pause, resume, stop."""

    def __init__(self, run: TrainingRun, stop: asyncio.Event) -> None:
        self._run = run
        self._stop = stop

    async def GetStatus(  # noqa: N802 (name of the RPC)
        self, request: pb.StatusRequest, context: Context
    ) -> pb.Status:
        """How the run stands."""
        return self._status()

    async def Pause(  # noqa: N802 (name of the RPC)
        self, request: pb.PauseRequest, context: Context
    ) -> pb.Status:
        """Hands out no more tasks."""
        self._run.dispatcher.paused = True
        return self._status()

    async def Resume(  # noqa: N802 (name of the RPC)
        self, request: pb.ResumeRequest, context: Context
    ) -> pb.Status:
        """Hands out tasks again."""
        self._run.dispatcher.paused = False
        self._run.dispatcher.dispatch()
        return self._status()

    async def Stop(  # noqa: N802 (name of the RPC)
        self, request: pb.StopRequest, context: Context
    ) -> pb.Status:
        """Ends the run; it can be resumed."""
        self._stop.set()
        return self._status()

    def _status(self) -> pb.Status:
        status = status_of(self._run)
        if self._stop.is_set():
            status.state = "stopping"
        return status


def status_of(run: TrainingRun) -> pb.Status:
    """The run as a message."""
    progress, burst = run.progress, run.burst
    share, left = share_done(run.config, progress), run.seconds_left()
    seconds = sum(seconds for _, seconds in run.recent)
    tasks_open, tasks_done = run.ledger.counts()
    in_iterations = burst is not None and burst.unit == "iterations"
    return pb.Status(
        run=run.directory.name,
        run_directory=str(run.directory.path.resolve()),
        preset=run.config.preset,
        game=run.config.game.name,
        physics=run.config.game.physics,
        state=run.phase,
        burst=burst.index if burst else progress.burst,
        bursts=burst_count(run.config.schedule),
        role=burst.role if burst else "",
        iteration_of_burst=progress.burst_iterations,
        iterations_of_burst=(burst.length or 0) if burst and in_iterations else 0,
        iteration=progress.iteration,
        steps=progress.steps,
        steps_per_second=sum(steps for steps, _ in run.recent) / seconds if seconds else 0.0,
        progress=-1.0 if share is None else share,
        seconds_left=-1.0 if left is None else left,
        win_rates=[
            pb.WinRate(
                policy=result.policy,
                opponent=opponent,
                episodes=count.episodes,
                wins=count.wins,
                ties=count.ties,
            )
            for result in run.results
            for opponent, count in result.against.items()
        ],
        workers=_workers(run),
        counters=dict(run.ledger.counters),
        policies=_policies(run),
        tasks_open=tasks_open,
        tasks_done=tasks_done,
        seconds_since_save=-1.0 if run.saved_at is None else time.monotonic() - run.saved_at,
    )


def _workers(run: TrainingRun) -> list[pb.WorkerStatus]:
    now = time.monotonic()
    return [
        pb.WorkerStatus(
            worker=c.worker,
            host=c.host,
            pid=c.pid,
            tasks=c.tasks,
            steps=c.steps,
            resident_bytes=c.resident_bytes,
            seconds_silent=now - c.last_heard,
        )
        for c in run.dispatcher.connections.values()
    ]


def _policies(run: TrainingRun) -> list[pb.PolicyStatus]:
    if run.population is None:
        return []
    training = {result.policy for result in run.results}
    return [
        pb.PolicyStatus(
            name=name,
            version=member.policy.version,
            hash=member.policy.hash,
            training=name in training,
        )
        for name, member in run.population.members.items()
    ]


async def start_server(
    run: TrainingRun, stop: asyncio.Event, address: str
) -> tuple[grpc.aio.Server, int]:
    """Starts serving; returns the server and its port. Raises UserError if the port is taken."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    rpc.add_RolloutsServicer_to_server(RolloutsService(run), server)
    rpc.add_ControlServicer_to_server(ControlService(run, stop), server)
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    names = [d.full_name for d in pb.DESCRIPTOR.services_by_name.values()]
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(
            f"cannot listen on {address}: the port is in use or the address is not this "
            "machine's; choose another with --listen HOST:PORT (port 0: any free one)"
        ) from error
    await server.start()
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", *names):
        await health_service.set(name, serving)
    return server, port


async def serve(
    run: TrainingRun, address: str, stop: asyncio.Event, on_port: asyncio.Future[int]
) -> bool:
    """Serves and trains until the schedule ends (True) or `stop` is set (False).

    Raises what ended the run early; every state saved before is kept.
    """
    server, port = await start_server(run, stop, address)
    on_port.set_result(port)
    ticker = asyncio.create_task(_tick(run))
    training = asyncio.create_task(run.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({training, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if training.done():
            training.result()
            run.finish_workers()
            await asyncio.sleep(0.5)
            return True
        return False
    finally:
        for task in (training, stopping, ticker):
            task.cancel()
        await asyncio.gather(training, stopping, ticker, return_exceptions=True)
        try:
            await run.close()
        finally:
            run.dispatcher.close()
            await server.stop(grace=1.0)


async def _tick(run: TrainingRun) -> None:
    while True:
        await asyncio.sleep(1.0)
        run.dispatcher.tick()
