"""Records of a run: metrics as JSONL, CSV and TensorBoard, and burst events as JSONL."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from common.runs import RunDirectory, atomic_write


class RunRecords:
    """Appends to a run's metrics and events.

    Args:
        run: the run.
        iteration: iterations done; lines of later ones (from before a crash) are dropped, so that
            no iteration is there twice.
    """

    def __init__(self, run: RunDirectory, iteration: int) -> None:
        self._run = run
        _drop_after(run.metrics, iteration)
        _drop_after(run.events, iteration)
        self._tensorboard = SummaryWriter(str(run.tensorboard), purge_step=iteration + 1)

    def metrics(self, row: Mapping[str, Any]) -> None:
        """One policy's iteration. `row` holds `iteration`, `policy`, numbers, and names."""
        _append(self._run.metrics, row)
        policy = row["policy"]
        for key, value in _scalars(row):
            self._tensorboard.add_scalar(f"{policy}/{key}", value, row["iteration"])

    def event(self, kind: str, iteration: int, **fields: Any) -> None:
        """A burst that starts or ends, a start, a resumption, an end."""
        _append(self._run.events, {"event": kind, "iteration": iteration, **fields})

    def flush(self) -> None:
        """Makes what was recorded visible to readers."""
        self._tensorboard.flush()

    def close(self) -> None:
        """Closes TensorBoard's file and writes metrics.csv."""
        self._tensorboard.close()
        write_csv(self._run)


def _scalars(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            found += [(f"{key}/{name}", number) for name, number in _scalars(value)]
        elif isinstance(value, int | float) and key != "iteration":
            found.append((key, float(value)))
    return found


def write_csv(run: RunDirectory) -> None:
    """metrics.csv: the same as metrics.jsonl, nested values as `outer.inner` columns."""
    rows = [_flat(row) for row in read_jsonl(run.metrics)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(run.path / "metrics.csv", text.getvalue().encode())


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSONL file; a half line at the end (after a crash) is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row, separators=(",", ":")) + os.linesep)


def _drop_after(path: Path, iteration: int) -> None:
    rows: Sequence[Mapping[str, Any]] = read_jsonl(path)
    if not rows:
        return
    kept = [row for row in rows if row["iteration"] <= iteration]
    text = "".join(json.dumps(row, separators=(",", ":")) + os.linesep for row in kept)
    atomic_write(path, text.encode())
