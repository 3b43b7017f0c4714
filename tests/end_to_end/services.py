"""Starts the real services as processes, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
COMMAND = [sys.executable, "-P", "-m", "sparring"]


@dataclass
class Service:
    """A service process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Sends a signal and waits; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def wait(self, timeout: float) -> int:
        """Exit status once it ends by itself; AssertionError with its log if it does not."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; its log:\n{self.text()}") from None

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text()


@contextmanager
def service(name: str, *options: str, log: Path) -> Iterator[Service]:
    """`sparring NAME OPTIONS` as a process; ended at the end of the block."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*COMMAND, name, *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    started = Service(process, log)
    try:
        yield started
    finally:
        try:
            started.end()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def learner(run: Path, *options: str, port: int = 0) -> Iterator[tuple[Service, str]]:
    """A learner service on loopback, and its address."""
    port_file = run.with_suffix(".port")
    port_file.unlink(missing_ok=True)
    options = (*options, "--run", str(run), "--listen", f"127.0.0.1:{port}")
    options = (*options, "--port-file", str(port_file), "--runs", str(run.parent))
    with service("learner", *options, log=run.with_suffix(".learner.log")) as started:
        until(lambda: port_file.exists() or started.process.poll() is not None, 60)
        assert port_file.exists(), started.text()
        yield started, f"127.0.0.1:{port_file.read_text()}"


@contextmanager
def sampler(address: str, workers: int, log: Path) -> Iterator[Service]:
    """A sampler service."""
    options = ("--learner", address, "--workers", str(workers))
    with service("sampler", *options, log=log) as started:
        yield started


def run_command(*arguments: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
    """`sparring ARGUMENTS` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def until(condition: Callable[[], object], seconds: float) -> None:
    """Waits for a condition; AssertionError if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def settings(values: Mapping[str, object]) -> list[str]:
    """--set options."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a JSONL file, whole ones."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def policy_bytes(run: Path) -> dict[str, bytes]:
    """Newest version of each policy of a run, as its file's bytes."""
    return {
        folder.name: max(folder.glob("*.safetensors")).read_bytes()
        for folder in sorted((run / "policies").iterdir())
    }
