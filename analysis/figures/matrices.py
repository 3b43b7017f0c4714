"""Payoff matrix, and the matrix of a victim's past, as heat maps."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from analysis.figures.style import BLACK, GREY, VERMILION, WIDE, half_line, percent_axis, styled
from analysis.forgetting import Forgetting
from analysis.names import short_names
from analysis.payoff import Payoff

Float = NDArray[np.float64]

# Cells that fit a number with its interval below it, or a number alone.
MOST_WITH_INTERVALS = 10
MOST_WITH_NUMBERS = 24


def heat_map(axes: Axes, values: Float, limit: tuple[float, float], cmap: str) -> AxesImage:
    """Cells of equal size with white gaps; NaN is left white."""
    colours = mpl.colormaps[cmap].with_extremes(bad="white")
    image = axes.imshow(values, cmap=colours, vmin=limit[0], vmax=limit[1], aspect="auto")
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def name_axes(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Short names along both axes."""
    size = 7.5 if max(len(rows), len(columns)) <= MOST_WITH_NUMBERS else 5.5
    axes.set_yticks(range(len(rows)), short_names(rows), fontsize=size)
    axes.set_xticks(
        range(len(columns)),
        short_names(columns),
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=size,
    )


def ink(share: float) -> str:
    """Dark letters on light cells, light ones on dark cells (of a diverging map around 1/2)."""
    return "white" if abs(share - 0.5) > 0.32 else BLACK


@styled
def payoff_figure(matrix: Payoff) -> Figure:
    """The payoff matrix. A dot marks match-ups whose interval holds one half."""
    m, n = matrix.rate.shape
    width = min(WIDE, 2.6 + 0.46 * n)
    figure = Figure(figsize=(width, min(8.5, 1.5 + 0.34 * m)))
    axes = figure.subplots()
    image = heat_map(axes, matrix.rate, (0, 1), "RdBu")
    name_axes(axes, matrix.rows, matrix.columns)
    axes.set_ylabel(matrix.sides[0])
    axes.set_xlabel(matrix.sides[1])
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=22, pad=0.02)
    bar.set_label(f"win rate of the {matrix.sides[matrix.winner]} (%)")
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    bar.outline.set_visible(False)
    if max(m, n) <= MOST_WITH_NUMBERS:
        _write_cells(axes, matrix, intervals=max(m, n) <= MOST_WITH_INTERVALS)
    else:
        open_cells = np.argwhere((matrix.low <= 0.5) & (matrix.high >= 0.5))
        axes.plot(open_cells[:, 1], open_cells[:, 0], ".", color=BLACK, markersize=1.5)
    return figure


def _write_cells(axes: Axes, matrix: Payoff, intervals: bool) -> None:
    for (i, j), rate in np.ndenumerate(matrix.rate):
        low, high = matrix.low[i, j], matrix.high[i, j]
        colour = ink(rate)
        weight = "normal" if low <= 0.5 <= high else "bold"
        up = 0.12 if intervals else 0.0
        number = f"{100 * rate:.0f}"
        axes.text(j, i - up, number, ha="center", va="center", color=colour, weight=weight)
        if intervals:
            text = f"{100 * low:.0f}–{100 * high:.0f}"  # noqa: RUF001
            axes.text(j, i + 0.26, text, ha="center", va="center", color=colour, fontsize=5.5)


@styled
def forgetting_figure(past: Forgetting) -> Figure:
    """Win rate of each victim checkpoint against each earlier adversary, and what it lost."""
    frame = past.match_ups
    victims = list(dict.fromkeys(frame.sort_values("victim_steps")["victim"]))
    adversaries = list(dict.fromkeys(frame.sort_values("adversary_steps")["adversary"]))
    grid = np.full((len(adversaries), len(victims)), np.nan)
    rows = [adversaries.index(name) for name in frame["adversary"]]
    grid[rows, [victims.index(name) for name in frame["victim"]]] = frame["win_rate"]

    height = max(3.9, 2.6 + 0.26 * len(adversaries))
    figure = Figure(figsize=(WIDE, min(8.5, height)))
    heat, lines = figure.subplots(
        2, 1, sharex=True, height_ratios=[max(1.5, 0.22 * len(adversaries)), 1.3]
    )
    image = heat_map(heat, grid, (0, 1), "RdBu")
    heat.set_yticks(range(len(adversaries)), short_names(adversaries))
    heat.set_ylabel("earlier adversaries")
    heat.tick_params(labelbottom=False)
    if len(victims) <= 16:
        for (i, j), rate in np.ndenumerate(grid):
            if np.isfinite(rate):
                heat.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", color=ink(rate))
    bar = figure.colorbar(image, ax=heat, aspect=18, pad=0.02)
    bar.set_label("victim's win rate (%)")
    bar.set_ticks([0, 0.5, 1], labels=["0", "50", "100"])
    bar.outline.set_visible(False)
    _checkpoint_lines(lines, past, victims)
    figure.legend(*lines.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _checkpoint_lines(axes: Axes, past: Forgetting, victims: list[str]) -> None:
    summary = past.checkpoints.set_index("victim").loc[victims]
    match_ups = past.match_ups.set_index("victim")
    x = np.arange(len(victims))
    axes.plot(x, summary["mean"], "o-", color=BLACK, label="mean over earlier adversaries")
    worst = [_worst(match_ups.loc[[name]].to_dict("records")) for name in victims]
    value, low, high = (np.array(part) for part in zip(*worst, strict=True))
    errors = np.stack([value - low, high - value])
    axes.errorbar(x, value, errors, fmt="s--", color=VERMILION, label="worst of them (95 %)")
    axes.plot(
        x, summary["largest_drop"], "^:", color=GREY, label="largest drop from the best before"
    )
    half_line(axes)
    percent_axis(axes)
    axes.set_ylabel("win rate, drop (%)")
    axes.set_xticks(x, short_names(victims), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlabel("victim checkpoints, oldest first")
    axes.tick_params(which="minor", bottom=False)


def _worst(rows: list[dict[Hashable, Any]]) -> tuple[float, float, float]:
    row = min(rows, key=lambda row: row["win_rate"])
    return row["win_rate"], row["low"], row["high"]
