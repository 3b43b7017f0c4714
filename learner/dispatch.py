"""The connected workers, and which of them gets the next rollout task."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from common.rpc import sparring_pb2 as pb
from common.wire import task_to_proto
from learner.batches import Ledger

SILENCE_FACTOR = 6
"""A worker is given up after this many heartbeats without a message."""

MAX_REJECTED = 5
"""A worker whose answers are rejected this often is disconnected."""

log = logging.getLogger(__name__)


@dataclass
class Connection:
    """One worker's stream, as the learner sees it."""

    worker: str
    host: str
    pid: int
    last_heard: float
    outbox: asyncio.Queue[pb.LearnerMessage | None] = field(default_factory=asyncio.Queue)
    wanted: int = 0
    playing: int = 0
    tasks: int = 0
    steps: int = 0
    resident_bytes: int = 0
    rejected: int = 0

    def close(self) -> None:
        """Ends the stream, once what is in the outbox has gone out."""
        self.outbox.put_nowait(None)


class Dispatcher:
    """Hands the ledger's tasks to workers.

    Idle workers come first. A second task is given in advance only while there are more tasks than
    workers, so that nobody hoards work at the end of an iteration.
    """

    def __init__(self, ledger: Ledger, heartbeat_seconds: float) -> None:
        self.changed = asyncio.Event()
        self.paused = False
        self.connections: dict[str, Connection] = {}
        self._ledger = ledger
        self._silence = SILENCE_FACTOR * heartbeat_seconds

    def connect(self, hello: pb.Hello) -> Connection:
        """Takes a worker in; one of the same name, left over from a broken stream, goes."""
        if old := self.connections.get(hello.worker):
            self.disconnect(old)
            old.close()
        connection = Connection(hello.worker, hello.host, hello.pid, time.monotonic())
        self.connections[hello.worker] = connection
        log.info("worker %s joined from %s", hello.worker, hello.host)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Forgets a worker and puts its tasks back."""
        if self.connections.get(connection.worker) is not connection:
            return
        del self.connections[connection.worker]
        lost = self._ledger.release(connection.worker)
        log.info("worker %s left, %d tasks put back", connection.worker, lost)
        self.dispatch()

    def handle(self, connection: Connection, message: pb.WorkerMessage) -> None:
        """Takes one message of a joined worker."""
        connection.last_heard = time.monotonic()
        kind = message.WhichOneof("kind")
        if kind == "chunk":
            self._chunk(connection, message.chunk)
        elif kind == "ready":
            connection.wanted += message.ready.tasks
            self.dispatch()
        elif kind == "failed":
            connection.playing = max(0, connection.playing - 1)
            log.warning("worker %s: %s", connection.worker, message.failed.reason)
            self._ledger.fail(message.failed)
            self.changed.set()
            self.dispatch()
        elif kind == "heartbeat":
            connection.steps = message.heartbeat.steps
            connection.resident_bytes = message.heartbeat.resident_bytes
            connection.outbox.put_nowait(pb.LearnerMessage(heartbeat=pb.LearnerHeartbeat()))

    def _chunk(self, connection: Connection, chunk: pb.Chunk) -> None:
        outcome = self._ledger.receive(chunk)
        if outcome.verdict is None:
            return
        connection.playing = max(0, connection.playing - 1)
        ack = pb.Ack(
            task=chunk.task, lease=chunk.lease, verdict=outcome.verdict, reason=outcome.reason
        )
        connection.outbox.put_nowait(pb.LearnerMessage(ack=ack))
        if outcome.verdict == pb.REJECTED:
            connection.rejected += 1
            log.warning("worker %s: answer rejected: %s", connection.worker, outcome.reason)
            if connection.rejected >= MAX_REJECTED:
                log.error("worker %s is disconnected: too many rejected", connection.worker)
                connection.close()
        else:
            connection.tasks += outcome.verdict == pb.ACCEPTED
        self.changed.set()
        self.dispatch()

    def dispatch(self) -> None:
        """Hands out what can be handed out now."""
        while not self.paused and (connection := self._next()):
            handed = self._ledger.hand_out(connection.worker)
            if handed is None:
                return
            connection.wanted -= 1
            connection.playing += 1
            message = pb.LearnerMessage(task=task_to_proto(*handed))
            connection.outbox.put_nowait(message)

    def _next(self) -> Connection | None:
        willing = [c for c in self.connections.values() if c.wanted > 0]
        if idle := [c for c in willing if c.playing == 0]:
            return idle[0]
        ahead = self._ledger.waiting > len(self.connections)
        return min(willing, key=lambda c: c.playing) if willing and ahead else None

    def tick(self) -> None:
        """Puts back late tasks and lets go of silent workers; called every second or so."""
        if self._ledger.expire():
            self.dispatch()
        now = time.monotonic()
        for connection in list(self.connections.values()):
            if now - connection.last_heard > self._silence:
                log.warning("worker %s has been silent too long", connection.worker)
                self.disconnect(connection)
                connection.close()

    def close(self) -> None:
        """Ends every stream, once what is in its outbox has gone out."""
        for connection in self.connections.values():
            connection.close()

    def broadcast(self, message: pb.LearnerMessage) -> None:
        """Sends a message to every worker."""
        for connection in self.connections.values():
            connection.outbox.put_nowait(message)
