"""Who beats whom: the graph, its cycles, and the transitive and cyclic parts."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from analysis.cycles import Cycle
from analysis.figures.matrices import heat_map, name_axes
from analysis.figures.style import (
    BLACK,
    BLUE,
    GREY,
    NARROW,
    ORANGE,
    WIDE,
    half_line,
    p_text,
    styled,
)
from analysis.names import short_names
from analysis.payoff import leaf_order
from analysis.transitivity import Decomposition

Float = NDArray[np.float64]
Point = tuple[float, float]


@styled
def victories_figure(
    graph: nx.DiGraph[str], sides: tuple[str, str], cycle: Cycle | None = None
) -> Figure:
    """The graph of victories; arrows lead from winner to loser, and are wider for clearer wins.

    Args:
        graph: of `cycles.victory_graph`, of some twenty players at most.
        sides: names of side 0 and side 1.
        cycle: drawn strong, all else faint.
    """
    names = list(graph.nodes)
    both = any(len(graph.nodes[name]["sides"]) > 1 for name in names)
    where = _circle(graph) if both else _two_columns(graph, sides)
    figure = Figure(figsize=(NARROW + 1.4, max(2.4, 0.36 * len(names) / (1 if both else 2) + 1.6)))
    axes = figure.subplots()
    axes.set_axis_off()
    along = _edges_of(cycle)
    for winner, loser in sorted(graph.edges, key=lambda edge: edge in along):
        strong = not along or (winner, loser) in along
        first = graph.nodes[winner]["sides"][0] == sides[0]
        colour = BLUE if both or first else ORANGE
        _arrow(axes, where[winner], where[loser], graph.edges[winner, loser], colour, strong)
    _write_players(axes, graph, where, sides, both)
    _explain(axes, sides, both)
    return figure


def _edges_of(cycle: Cycle | None) -> set[tuple[str, str]]:
    if cycle is None:
        return set()
    return set(zip(cycle.players, (*cycle.players[1:], cycle.players[0]), strict=True))


def _two_columns(graph: nx.DiGraph[str], sides: tuple[str, str]) -> dict[str, Point]:
    where: dict[str, Point] = {}
    for x, side in enumerate(sides):
        players = [name for name in graph.nodes if side in graph.nodes[name]["sides"]]
        players.sort(key=lambda name: _strength(graph, name), reverse=True)
        heights = np.linspace(1, 0, len(players)) if len(players) > 1 else [0.5]
        where |= {name: (float(x), float(y)) for name, y in zip(players, heights, strict=True)}
    return where


def _circle(graph: nx.DiGraph[str]) -> dict[str, Point]:
    players = sorted(graph.nodes, key=lambda name: _strength(graph, name), reverse=True)
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(players)) / len(players)
    return {
        name: (0.5 + 0.42 * float(np.cos(angle)), 0.5 + 0.5 * float(np.sin(angle)))
        for name, angle in zip(players, angles, strict=True)
    }


def _strength(graph: nx.DiGraph[str], name: str) -> float:
    won = sum(graph.edges[edge]["margin"] for edge in graph.out_edges(name))
    return float(won - sum(graph.edges[edge]["margin"] for edge in graph.in_edges(name)))


def _arrow(
    axes: Axes, start: Point, end: Point, edge: dict[str, float], colour: str, strong: bool
) -> None:
    width = 0.5 + 5 * edge["margin"]
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle=f"-|>,head_length={3 + width},head_width={1.6 + width / 2}",
            connectionstyle="arc3,rad=0.06",
            shrinkA=7,
            shrinkB=8,
            linewidth=width,
            linestyle="-" if edge["p_value"] < 0.05 else (0, (3, 2)),
            color=colour,
            alpha=0.85 if strong else 0.13,
            mutation_scale=1,
        )
    )


def _write_players(
    axes: Axes,
    graph: nx.DiGraph[str],
    where: dict[str, Point],
    sides: tuple[str, str],
    both: bool,
) -> None:
    short = dict(zip(where, short_names(list(where)), strict=True))
    for name, (x, y) in where.items():
        colour = BLUE if both or sides[0] in graph.nodes[name]["sides"] else ORANGE
        axes.plot(x, y, "o", color=colour, markersize=8)
        axes.annotate(short[name], (x, y), textcoords="offset points", **_beside(x, y))
    if not both:
        for x, side in enumerate(sides):
            axes.text(x, 1.12, side, ha="center", weight="bold")
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.1, 1.16))


def _beside(x: float, y: float) -> dict[str, Any]:
    """Where the name of a player goes: outwards."""
    if abs(x - 0.5) < 0.03:
        up = 1 if y > 0.5 else -1
        return {"xytext": (0, 9 * up), "ha": "center", "va": "bottom" if up > 0 else "top"}
    right = 1 if x > 0.5 else -1
    return {"xytext": (9 * right, 0), "ha": "left" if right > 0 else "right", "va": "center"}


def _explain(axes: Axes, sides: tuple[str, str], both: bool) -> None:
    def line(colour: str, width: float, style: object = "-") -> Line2D:
        return Line2D([], [], color=colour, linewidth=width, linestyle=style)  # type: ignore[arg-type]

    handles = [line(GREY, 1), line(GREY, 2.5), line(GREY, 1, (0, (3, 2)))]
    names = ["60 % won", "90 % won", "p > 0.05"]
    if not both:
        handles = [line(BLUE, 2), line(ORANGE, 2), *handles]
        names = [f"{sides[0]} wins", f"{sides[1]} wins", *names]
    axes.legend(
        handles, names, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, columnspacing=1.2
    )


@styled
def cycles_figure(found: Sequence[Cycle], most: int = 10) -> Figure:
    """The weakest victory of the strongest cycles, with intervals."""
    shown = list(found[:most])
    players = sorted({name for cycle in shown for name in cycle.players})
    short = dict(zip(players, short_names(players), strict=True))
    figure = Figure(figsize=(WIDE, 0.9 + 0.36 * max(2, len(shown))))
    axes = figure.subplots()
    y = np.arange(len(shown))
    value = np.array([cycle.weakest.value for cycle in shown])
    low = np.array([cycle.weakest.low for cycle in shown])
    high = np.array([cycle.weakest.high for cycle in shown])
    axes.hlines(y, low, high, color=BLACK, linewidth=1)
    axes.plot(value, y, "o", color=BLUE)
    names = [" > ".join(short[p] for p in (*c.players, c.players[0])) for c in shown]
    axes.set_yticks(y, [fill(name, 44, break_on_hyphens=False) for name in names], fontsize=6.5)
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    if not shown:
        axes.text(0.5, 0.5, "no cycles", ha="center", transform=axes.transAxes)
    for place, cycle in enumerate(shown):
        axes.annotate(
            p_text(cycle.p_adjusted),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
        )
    half_line(axes, "x")
    axes.set_xlim(min([0.45, *low]) - 0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel("score in the weakest victory (%)")
    return figure


@styled
def decomposition_figure(parts: Decomposition, sides: tuple[str, str]) -> Figure:
    """How strong every policy is, and what strength does not explain."""
    m, n = parts.cyclic_part.shape
    figure = Figure(figsize=(WIDE, min(8.5, 1.4 + 0.2 * max(m + n, 12))))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    unit = "log-odds" if parts.scale == "log-odds" else "score - 1/2"
    y = 0
    ticks: list[str] = []
    for strengths, colour, side in zip(
        (parts.strength0, parts.strength1), (BLUE, ORANGE), sides, strict=True
    ):
        ranked = strengths.sort_values(ascending=False)
        rows = np.arange(y, y + len(ranked))
        left.hlines(rows, 0, ranked.to_numpy(), color=colour, linewidth=1)
        left.plot(ranked.to_numpy(), rows, "o", color=colour, label=side)
        ticks += short_names([str(name) for name in ranked.index])
        y += len(ranked)
    left.axvline(0, color=GREY, linewidth=0.7)
    left.set_yticks(range(len(ticks)), ticks, fontsize=7.5 if len(ticks) <= 30 else 5.5)
    left.set_ylim(len(ticks) - 0.4, -0.6)
    left.set_xlabel(f"strength ({unit})")
    left.set_title("Transitive part")
    left.legend(loc="best", handletextpad=0.1)
    rest = parts.cyclic_part
    rest = rest.iloc[leaf_order(rest.to_numpy()), leaf_order(rest.to_numpy().T)]
    values = rest.to_numpy()
    limit = float(np.abs(values).max()) or 1.0
    image = heat_map(right, values, (-limit, limit), "PuOr_r")
    name_axes(right, list(rest.index), list(rest.columns))
    right.set(ylabel=sides[0], xlabel=sides[1])
    bar = figure.colorbar(image, ax=right, aspect=25, pad=0.02)
    bar.set_label(f"{sides[0]}'s advantage beyond strength ({unit})")
    bar.outline.set_visible(False)
    right.set_title(f"Cyclic part: {_share(parts)}")
    return figure


def _share(parts: Decomposition) -> str:
    share = parts.cyclic_share
    if np.isnan(share.value):
        return f"no differences ({p_text(parts.p_value)})"
    interval = f"{100 * share.low:.0f} to {100 * share.high:.0f}"
    return f"{100 * share.value:.0f} % ({interval}), {p_text(parts.p_value)}"
