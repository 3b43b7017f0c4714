"""How usual a victim's activations are, and where they lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.density import Density
from analysis.figures.style import (
    BLACK,
    GREY,
    MARKERS,
    NARROW,
    SERIES,
    VERMILION,
    WIDE,
    styled,
)
from analysis.names import short_names


@styled
def density_figure(result: Density) -> Figure:
    """Log-likelihood of every episode by opponent, and the differences of the means."""
    labels = list(result.opponents["label"])
    short = short_names(labels)
    figure = Figure(figsize=(WIDE, 1.1 + 0.34 * max(3, len(labels))))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    rng = np.random.default_rng(0)
    for place, label in enumerate(labels):
        scores = result.episodes.loc[result.episodes["label"] == label, "log_likelihood"]
        y = place + rng.uniform(-0.22, 0.22, len(scores))
        left.plot(scores, y, ".", color=SERIES[place % len(SERIES)], alpha=0.45, markersize=3)
    table = result.opponents
    rows = np.arange(len(labels))
    errors = np.stack(
        [table["log_likelihood"] - table["low"], table["high"] - table["log_likelihood"]]
    )
    left.errorbar(
        table["log_likelihood"],
        rows,
        xerr=errors,
        fmt="D",
        color=BLACK,
        markersize=3.5,
        elinewidth=1,
    )
    left.set_yticks(
        rows, [f"{name} (held out)" if i == 0 else name for i, name in enumerate(short)]
    )
    left.set_ylim(len(labels) - 0.5, -0.5)
    left.set_ylabel("opponent")
    left.set_xlabel("log-likelihood of an episode (nats per step)")
    others = table.iloc[1:]
    gaps = np.stack(
        [
            others["difference"] - others["difference_low"],
            others["difference_high"] - others["difference"],
        ]
    )
    right.errorbar(
        others["difference"], rows[1:], xerr=gaps, fmt="o", color=VERMILION, elinewidth=1
    )
    for place, auroc in zip(rows[1:], others["auroc"], strict=True):
        right.annotate(
            f"AUROC {auroc:.2f}",
            (1.0, place - 0.3),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=7,
            color="#5a5a5a",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    right.axvline(0, color=GREY, linewidth=0.7, linestyle="--")
    right.tick_params(axis="y", length=0)
    right.set_xlabel(f"difference to {short[0]} (nats per step)")
    return figure


@styled
def activation_map_figure(points: pd.DataFrame) -> Figure:
    """The t-SNE map of activations by opponent, from `density.activation_map`."""
    figure = Figure(figsize=(NARROW + 0.9, NARROW))
    axes = figure.subplots()
    labels = list(dict.fromkeys(points["label"]))
    for place, (label, name) in enumerate(zip(labels, short_names(labels), strict=True)):
        rows = points[points["label"] == label]
        axes.scatter(
            rows["x"],
            rows["y"],
            s=7,
            color=SERIES[place % len(SERIES)],
            marker=MARKERS[place % len(MARKERS)],
            alpha=0.6,
            linewidths=0,
            label=name,
        )
    axes.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[])
    figure.legend(loc="outside upper center", ncols=3, markerscale=2, handletextpad=0.2)
    return figure
