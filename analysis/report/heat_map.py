"""The payoff matrix as cells of a page, each with the numbers of its match-up."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from analysis.figures.matrices import MOST_WITH_NUMBERS, ink
from analysis.names import short_names
from analysis.payoff import Payoff
from analysis.tables import Tournament
from common.errors import UserError
from common.videos import video_name

COLOURS = "RdBu"

# More rows are seen at one look only without numbers in their cells.
MOST_ROWS = 40

# What a cell shows, in the order in which the page's script reads it.
NUMBERS = (
    *("episodes", "wins0", "ties", "wins1", "low0", "high0", "low1", "high1"),
    *("length", "contacts", "contactless_wins0", "contactless_wins1"),
)


@dataclass(frozen=True)
class Cell:
    """A match-up on the page.

    Attributes:
        text: win rate of side 0 in per cent.
        colour: of the cell.
        ink: of its text.
        certain: whether the interval of the win rate lies on one side of one half.
        video: where the video lies, seen from the page; "" without one.
    """

    text: str
    colour: str
    ink: str
    certain: bool
    video: str


@dataclass(frozen=True)
class HeatMap:
    """The payoff matrix on the page.

    Attributes:
        sides: names of side 0 (rows) and side 1 (columns).
        rows, columns: (full name, short name) of the policies.
        cells: row by row.
        dense: whether there are too many policies for numbers in the cells.
        legend: CSS colours from 0 to 100 %.
        data: what the script needs: names, and `NUMBERS` of every cell.
    """

    sides: tuple[str, str]
    rows: Sequence[tuple[str, str]]
    columns: Sequence[tuple[str, str]]
    cells: Sequence[Sequence[Cell]]
    dense: bool
    legend: Sequence[str]
    data: Mapping[str, Any]

    @property
    def videos(self) -> int:
        """How many match-ups have a video."""
        return sum(bool(cell.video) for row in self.cells for cell in row)


def heat_map(tournament: Tournament, matrix: Payoff, videos: Mapping[str, str]) -> HeatMap:
    """Cells in the order of `matrix`.

    Args:
        tournament: the match-ups.
        matrix: of side 0's win rates.
        videos: where each video lies, by its file name.
    """
    table = tournament.table.set_index(["policy0", "policy1"])[list(NUMBERS)].round(4)
    numbers = {
        pair: values.tolist() for pair, values in zip(table.index, table.values, strict=True)
    }
    colours = mpl.colormaps[COLOURS]
    cells = [
        [
            Cell(
                text=f"{100 * matrix.rate[i, j]:.0f}",
                colour=to_hex(colours(matrix.rate[i, j])),
                ink=ink(matrix.rate[i, j]),
                certain=not matrix.low[i, j] <= 0.5 <= matrix.high[i, j],
                video=videos.get(video_name(row, column), ""),
            )
            for j, column in enumerate(matrix.columns)
        ]
        for i, row in enumerate(matrix.rows)
    ]
    pairs = [[numbers[row, column] for column in matrix.columns] for row in matrix.rows]
    return HeatMap(
        sides=matrix.sides,
        rows=list(zip(matrix.rows, short_names(matrix.rows), strict=True)),
        columns=list(zip(matrix.columns, short_names(matrix.columns), strict=True)),
        cells=cells,
        dense=len(matrix.rows) > MOST_ROWS or len(matrix.columns) > MOST_WITH_NUMBERS,
        legend=[to_hex(colours(step / 10)) for step in range(11)],
        data={
            "sides": matrix.sides,
            "rows": matrix.rows,
            "columns": matrix.columns,
            "numbers": pairs,
        },
    )


def gather_videos(tournament: Tournament, folder: Path | None, out: Path) -> dict[str, str]:
    """Where the videos of match-ups lie, seen from the page, by file name.

    Those in OUT/videos are there already; those in the tournament's folder, or in `videos` in it,
    are copied, so that the report can be given away as it is.

    Raises:
        UserError: one cannot be copied.
    """
    here = out / "videos"
    places = [folder, folder / "videos", here] if folder else [here]
    there = {file.name: file for place in places for file in place.glob("*.mp4")}
    pairs = zip(tournament.table["policy0"], tournament.table["policy1"], strict=True)
    found: dict[str, str] = {}
    for name in (video_name(*pair) for pair in pairs):
        if name not in there:
            continue
        try:
            if there[name].parent != here:
                here.mkdir(parents=True, exist_ok=True)
                shutil.copy(there[name], here)
        except OSError as error:
            raise UserError(f"cannot copy {there[name]} to {here}: {error.strerror}") from error
        found[name] = f"videos/{name}"
    return found
