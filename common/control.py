"""Asking a running learner how it stands, and telling it to pause, resume or stop."""

from __future__ import annotations

import grpc

from common.errors import UserError
from common.rpc import sparring_pb2 as pb
from common.rpc import sparring_pb2_grpc as rpc

CALL_SECONDS = 5.0


def parse_address(address: str, option: str, lowest_port: int = 1) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. Raises UserError that names the option it came from."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and lowest_port <= int(port) < 65536):
        raise UserError(f"{option} {address}: should be HOST:PORT, e.g. 127.0.0.1:50051")
    return host, int(port)


def error_text(error: grpc.RpcError) -> str:
    """What the other side or gRPC said of a failed call."""
    details = getattr(error, "details", None)
    return str(details() if details else error) or "no reason given"


class LearnerControl:
    """A learner's control service. A context manager.

    Args:
        learner: HOST:PORT.

    Raises:
        UserError: the address has another form.
    """

    def __init__(self, learner: str) -> None:
        parse_address(learner, "--learner")
        self._learner = learner
        self._channel = grpc.insecure_channel(learner)
        self._stub = rpc.ControlStub(self._channel)

    def __enter__(self) -> LearnerControl:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def status(self) -> pb.Status:
        """How the run stands. Raises UserError if no learner answers."""
        return self._call("GetStatus", pb.StatusRequest())

    def pause(self) -> pb.Status:
        """Hands out no more tasks. Raises UserError."""
        return self._call("Pause", pb.PauseRequest())

    def resume(self) -> pb.Status:
        """Hands out tasks again. Raises UserError."""
        return self._call("Resume", pb.ResumeRequest())

    def stop(self) -> pb.Status:
        """Ends the run; it can be resumed. Raises UserError."""
        return self._call("Stop", pb.StopRequest())

    def _call(self, method: str, request: object) -> pb.Status:
        try:
            status: pb.Status = getattr(self._stub, method)(request, timeout=CALL_SECONDS)
            return status
        except grpc.RpcError as error:
            reason = error_text(error)
            raise UserError(f"no learner answers at {self._learner}: {reason}") from error
