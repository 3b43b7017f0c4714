"""Metrics and events on disk, and what a crash leaves of them."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from common.runs import RunDirectory
from learner.metrics import RunRecords, read_jsonl


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory


def row(iteration: int, policy: str = "victim", **more: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "policy": policy,
        "win_rate": iteration / 10,
        "against": {"normal": {"wins": iteration, "episodes": 10}},
        **more,
    }


def record(run: RunDirectory, resumed_at: int, *iterations: int) -> None:
    records = RunRecords(run, resumed_at)
    records.event("start", resumed_at, time=1.0)
    for iteration in iterations:
        records.metrics(row(iteration))
        records.event("burst_end", iteration, burst=iteration)
    records.flush()
    records.close()


def scalars(run: RunDirectory, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.tensorboard)).Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars(tag)]


def test_every_row_is_one_line_of_json(run: RunDirectory) -> None:
    record(run, 0, 1, 2)
    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == [row(1), row(2)]
    events = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert [(e["event"], e["iteration"]) for e in events] == [
        ("start", 0),
        ("burst_end", 1),
        ("burst_end", 2),
    ]


def test_a_row_can_be_read_as_soon_as_it_is_recorded(run: RunDirectory) -> None:
    records = RunRecords(run, 0)
    records.metrics(row(1))
    assert read_jsonl(run.metrics) == [row(1)]
    records.close()


def test_the_table_has_nested_values_as_columns_and_gaps_where_a_row_lacks_one(
    run: RunDirectory,
) -> None:
    records = RunRecords(run, 0)
    records.metrics(row(1))
    records.metrics(row(1, "adversary-0", std=0.5))
    records.close()
    with (run.path / "metrics.csv").open() as file:
        first, second = csv.DictReader(file)
    assert first["against.normal.wins"] == "1"
    assert (first["std"], second["std"]) == ("", "0.5")
    assert (first["policy"], second["policy"]) == ("victim", "adversary-0")


def test_tensorboard_gets_the_numbers_by_policy(run: RunDirectory) -> None:
    record(run, 0, 1, 2, 3)
    assert scalars(run, "victim/win_rate") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert scalars(run, "victim/against/normal/wins") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_what_is_after_the_resumed_iteration_is_dropped_everywhere(run: RunDirectory) -> None:
    record(run, 0, 1, 2, 3)
    record(run, 1, 2)
    assert [r["iteration"] for r in read_jsonl(run.metrics)] == [1, 2]
    assert [(e["event"], e["iteration"]) for e in read_jsonl(run.events)] == [
        ("start", 0),
        ("burst_end", 1),
        ("start", 1),
        ("burst_end", 2),
    ]
    assert scalars(run, "victim/win_rate") == [(1, 0.1), (2, 0.2)]


@pytest.mark.parametrize("half", ['{"iteration":3,"pol', "\0\0\0\0", '{"iter\xff'])
def test_a_half_written_line_costs_that_line_alone(run: RunDirectory, half: str) -> None:
    record(run, 0, 1, 2)
    with run.metrics.open("ab") as file:
        file.write(half.encode("latin-1"))
    assert [r["iteration"] for r in read_jsonl(run.metrics)] == [1, 2]
    record(run, 2, 3)
    assert [r["iteration"] for r in read_jsonl(run.metrics)] == [1, 2, 3]


def test_a_file_of_nothing_but_half_a_line_starts_anew(run: RunDirectory) -> None:
    run.metrics.write_text('{"iteration":1,"pol')
    record(run, 0, 1)
    assert read_jsonl(run.metrics) == [row(1)]


def test_a_full_disk_is_a_users_error(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RunRecords(run, 0)

    def full(path: Path, mode: str = "r") -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: the disk is full"):
            records.metrics(row(1))
    records.close()


def test_a_run_without_rows_has_an_empty_table(run: RunDirectory) -> None:
    record(run, 0)
    assert (run.path / "metrics.csv").read_text().strip() == ""
