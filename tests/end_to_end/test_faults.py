"""Processes that are killed change nothing: the final weights are the same to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from common.control import LearnerControl
from common.errors import UserError
from tests.end_to_end.services import (
    learner,
    policy_bytes,
    rows,
    run_command,
    sampler,
    settings,
    until,
)

SMALL = {
    "batch": "{steps: 1500, lanes: 2, episodes_per_task: 2, first_length: 60}",
    "adversary.count": 2,
    "schedule": "{kind: constant, length: 2, rounds: 2}",
    "learner.heartbeat_seconds": 1,
    "keep.last": 100,
}
PRESET = ("pbt2-scratch", *settings(SMALL))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Final weights of a run that nobody disturbs."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = run_command("train", *PRESET, "--run", str(run), "--workers", "2")
    assert done.returncode == 0, done.stderr
    return policy_bytes(run)


def _more_rows(path: Path, before: int) -> bool:
    return len(rows(path)) > before


def worker_pids(address: str) -> list[int]:
    try:
        with LearnerControl(address) as control:
            return [worker.pid for worker in control.status().workers]
    except UserError:
        return []


def test_workers_killed_in_mid_task(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run = tmp_path / "run"
    choice = random.Random(1)
    with (
        learner(run, *PRESET) as (service, address),
        sampler(address, 3, tmp_path / "sampler.log"),
    ):
        killed = 0
        while service.process.poll() is None:
            pids = worker_pids(address)
            if len(pids) > 1 and killed < 6:
                os.kill(choice.choice(pids), signal.SIGKILL)
                killed += 1
            time.sleep(0.7)
        assert service.wait(1) == 0, service.text()
    assert killed >= 3
    assert policy_bytes(run) == undisturbed
    assert "tasks put back" in service.text()


def test_learner_killed_in_mid_iteration_and_resumed(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run = tmp_path / "run"
    choice = random.Random(2)
    metrics_file = run / "metrics.jsonl"
    with ExitStack() as stack:
        port = 0
        for attempt in range(4):
            options = ("--resume",) if attempt else PRESET
            service, address = stack.enter_context(learner(run, *options, port=port))
            if not attempt:
                # The sampler stays: it joins the learner that comes back.
                port = int(address.rpartition(":")[2])
                workers = stack.enter_context(sampler(address, 2, tmp_path / "sampler.log"))
            if attempt == 3:
                break
            before = len(rows(metrics_file))
            until(partial(_more_rows, metrics_file, before), 120)
            time.sleep(choice.uniform(0.0, 0.4))
            assert service.end(signal.SIGKILL) == -signal.SIGKILL
        assert service.wait(200) == 0, service.text()
        assert workers.wait(30) == 0
    assert policy_bytes(run) == undisturbed
    metrics = [(row["iteration"], row["policy"]) for row in rows(metrics_file)]
    assert len(metrics) == len(set(metrics)) == 12


def test_sigterm_ends_both_services_cleanly(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (
        learner(run, *PRESET) as (service, address),
        sampler(address, 2, tmp_path / "sampler.log") as workers,
    ):
        until(lambda: rows(run / "metrics.jsonl"), 120)
        pids = worker_pids(address)
        assert len(pids) == 2
        began = time.monotonic()
        assert service.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        assert workers.process.poll() is None, "the sampler waits for the learner"
        assert workers.end(signal.SIGINT) == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)
    assert "Traceback" not in service.text() + workers.text()


def test_a_sampler_waits_for_a_learner_that_is_not_there_yet(tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sampler(f"127.0.0.1:{port}", 1, tmp_path / "sampler.log"):
        time.sleep(5)
        with learner(tmp_path / "run", *PRESET, port=port):
            until(lambda: worker_pids(f"127.0.0.1:{port}"), 60)
