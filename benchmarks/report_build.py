"""How long a report of a large tournament takes, and how large its page is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from analysis.report import build_report
from benchmarks import report
from common.game import Box, GameDescription, Side
from common.match_table import Entrant, match_row
from common.task import EpisodeSummary

SIZES = ((10, 6), (100, 20))
EPISODES = 100


def tournament(rows: int, columns: int, folder: Path) -> Path:
    """A table of groups of policies that beat one another in circles, and differ in strength."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, rows), rng.integers(0, 3, columns)
    strength = rng.normal(0, 1, rows)[:, None] - rng.normal(0, 0.7, columns)
    odds = strength + rng.normal(0, 1.2, (4, 3))[np.ix_(*groups)]
    wins = rng.random((rows, columns, EPISODES)) < 1 / (1 + np.exp(-odds))[..., None]
    sides = tuple(Side(name, 1, Box(1, -1, 1), (("all", 1),)) for name in ("blocker", "runner"))
    game = GameDescription("Synthetic", "exact", sides, max_steps=500)
    first, second = (
        [Entrant(f"run:pbt-{k:03d}/{name}@500", 500, f"{k:064x}") for k in range(count)]
        for name, count in (("adversary-0", rows), ("victim", columns))
    )
    table = [
        match_row(game, 0, (first[i], second[j]), [_episode(bool(won)) for won in wins[i, j]])
        for i in range(rows)
        for j in range(columns)
    ]
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    return folder


def _episode(won: bool) -> EpisodeSummary:
    outcome = (1.0, -1.0) if won else (-1.0, 1.0)
    return EpisodeSummary(100, int(not won), False, (0.0, 0.0), outcome, int(won))


def measure() -> list[report.Row]:
    """Seconds, and MB of the page and of all files."""
    rows: list[report.Row] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = tournament(*size, Path(name))
            start = perf_counter()
            page = build_report([folder], folder / "out")
            seconds = perf_counter() - start
            files = [file for file in (folder / "out").rglob("*") if file.is_file()]
            rows.append(
                {
                    "policies": "{} x {}".format(*size),
                    "seconds": seconds,
                    "page_megabytes": page.stat().st_size / 1e6,
                    "all_megabytes": sum(file.stat().st_size for file in files) / 1e6,
                }
            )
    return rows


if __name__ == "__main__":
    report.main("report_build", measure)
