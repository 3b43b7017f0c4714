"""Clusters and maps of a population, its best mixture, and who wins without contact."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.clusters import NO_STRUCTURE, Clusters, PolicyMap
from analysis.contacts import BY_CONTACT, GROUPS, NO_WINNER, UNDECIDED, WITHOUT_CONTACT, Contacts
from analysis.figures.labels import annotate
from analysis.figures.style import (
    BLACK,
    BLUE,
    GREY,
    MARKERS,
    ORANGE,
    SERIES,
    SKY,
    VERMILION,
    WIDE,
    half_line,
    percent_axis,
    styled,
)
from analysis.names import short_names
from analysis.nash import Nash


@styled
def clusters_figure(clusters: Clusters, plane: PolicyMap) -> Figure:
    """The map with its clusters and their representatives, and the silhouettes that chose them."""
    figure = Figure(figsize=(WIDE, 3.0))
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    _draw_map(left, clusters, plane)
    _draw_silhouettes(right, clusters)
    if clusters.found:
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, handletextpad=0.2)
    return figure


def _draw_map(axes: Axes, clusters: Clusters, plane: PolicyMap) -> None:
    points = plane.points.set_index("policy").loc[list(clusters.policies)]
    for label in range(clusters.count):
        members = points[clusters.labels == label]
        axes.scatter(
            members["x"],
            members["y"],
            s=22,
            color=SERIES[label % len(SERIES)] if clusters.found else GREY,
            marker=MARKERS[label % len(MARKERS)],
            label=f"cluster {label + 1} ({len(members)})",
            alpha=0.85,
            linewidths=0,
        )
    if clusters.found:
        chosen = points.loc[list(clusters.representatives)]
        axes.scatter(chosen["x"], chosen["y"], s=70, facecolors="none", edgecolors=BLACK)
        short = dict(zip(clusters.policies, short_names(clusters.policies), strict=True))
        names = [short[name] for name in clusters.representatives]
        axes.margins(0.12)
        annotate(axes, chosen.to_numpy(), names, points.to_numpy())
    axes.set_title(f"Policies of side {clusters.side}")
    if plane.explained:
        axes.set_xlabel(f"principal component 1 ({plane.explained[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({plane.explained[1]:.0%})")
    else:
        axes.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")


def _draw_silhouettes(axes: Axes, clusters: Clusters) -> None:
    axes.set_title("Clusters" if clusters.found else "No clusters")
    if not clusters.silhouettes:
        axes.text(0, 0.9, fill(clusters.reason, 34), va="top", transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.set(xlabel="number of clusters", ylabel="mean silhouette")
    numbers = list(clusters.silhouettes)
    values = list(clusters.silhouettes.values())
    axes.plot(numbers, values, "o-", color=BLACK)
    if clusters.found:
        best = clusters.count
        axes.plot(best, clusters.silhouettes[best], "o", color=VERMILION, markersize=8, zorder=0)
    threshold = max(clusters.reference, NO_STRUCTURE)
    axes.axhline(threshold, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(
        "needed to speak of clusters",
        (1, threshold),
        (0, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="#5a5a5a",
        fontsize=7,
    )
    axes.set_ylim(min(0.0, *values), max(1.05 * threshold, *values) + 0.1)
    axes.set_xticks(numbers)


@styled
def nash_figure(result: Nash, sides: tuple[str, str], most: int = 12) -> Figure:
    """Weights in the Nash mixture, and how far each policy can be exploited."""
    shown = [_heaviest(mixture, most) for mixture in result.mixtures]
    figure = Figure(figsize=(WIDE, min(8.5, 1.5 + 0.21 * sum(map(len, shown)))))
    grid = figure.subplots(2, 2, sharex="col", height_ratios=[max(2, len(s)) for s in shown])
    for row, (side, mixture, colour) in enumerate(zip(sides, shown, (BLUE, ORANGE), strict=True)):
        weight, exploit = grid[row]
        _bars(weight, mixture, "weight", colour)
        weight.set_ylim(len(mixture) - 0.4, -0.6)
        weight.set_yticks(range(len(mixture)), short_names(list(mixture["policy"])))
        weight.set_title(f"{side}: Nash mixture")
        _bars(exploit, mixture, "exploitability", colour)
        exploit.set_ylim(weight.get_ylim())
        exploit.set_ylabel("by (worst opponent)")
        exploit.set_yticks(range(len(mixture)), short_names(list(mixture["worst_opponent"])))
        exploit.set_title(f"{side}: exploitability")
    value = result.value
    figure.suptitle(
        f"Value of the game for the {sides[0]}: {100 * value.value:.0f} % "
        f"({100 * value.low:.0f} to {100 * value.high:.0f})",
        fontsize=8,
    )
    grid[1, 0].set_xlabel("weight (%)")
    grid[1, 1].set_xlabel("exploitability (percentage points)")
    return figure


def _heaviest(mixture: pd.DataFrame, most: int) -> pd.DataFrame:
    ranked = mixture.sort_values(["weight", "exploitability"], ascending=[False, True])
    return ranked.head(most).reset_index(drop=True)


def _bars(axes: Axes, mixture: pd.DataFrame, column: str, colour: str) -> None:
    value, low, high = (
        100 * mixture[name].to_numpy() for name in (column, f"{column}_low", f"{column}_high")
    )
    y = np.arange(len(mixture))
    axes.barh(y, value, height=0.62, color=colour, alpha=0.75)
    # The equilibrium of the observed table may lie outside the bootstrap's percentiles.
    axes.hlines(y, low, high, color=BLACK, linewidth=0.9)
    axes.plot(low, y, "|", high, y, "|", color=BLACK, markersize=4)
    axes.set_xlim(left=0)


_GROUP_STYLE = {
    WITHOUT_CONTACT: (VERMILION, "o"),
    BY_CONTACT: (BLUE, "s"),
    UNDECIDED: (SKY, "D"),
    NO_WINNER: (GREY, "v"),
}


@styled
def contacts_figure(result: Contacts) -> Figure:
    """Contacts against win rate of each policy of a side, against all opponents together."""
    figure = Figure(figsize=(WIDE, 3.1))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1], sharey=True)
    frame = result.policies
    short = short_names(list(frame["policy"]))
    for group in GROUPS:
        rows = frame[frame["group"] == group]
        if rows.empty:
            continue
        colour, marker = _GROUP_STYLE[group]
        errors = np.stack([rows["win_rate"] - rows["low"], rows["high"] - rows["win_rate"]])
        shape = {"fmt": marker, "color": colour, "elinewidth": 0.8, "label": group}
        left.errorbar(rows["contacts"], rows["win_rate"], errors, **shape)
        known = rows[rows["wins"] > 0]
        across = np.stack(
            [
                known["contactless_share"] - known["contactless_low"],
                known["contactless_high"] - known["contactless_share"],
            ]
        )
        up = np.stack([known["win_rate"] - known["low"], known["high"] - known["win_rate"]])
        right.errorbar(known["contactless_share"], known["win_rate"], up, across, **shape)
    for axes in (left, right):
        half_line(axes)
    half_line(right, "x")
    percent_axis(left)
    percent_axis(right, "x")
    left.set_ylabel(f"win rate of the {result.side} (%)")
    left.set_xlabel("most contacts in a step, mean over episodes")
    left.set_xlim(left=-0.03 * max(1.0, frame["contacts"].max()))
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    bars = [frame[["contacts", end]].to_numpy() for end in ("low", "high")]
    annotate(left, frame[["contacts", "win_rate"]].to_numpy(), short, np.concatenate(bars))
    right.set_xlabel("share of its wins without any contact (%)")
    return figure
