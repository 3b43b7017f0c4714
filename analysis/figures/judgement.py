"""The three-part verdict on a hardened victim."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import BLACK, GREY, OUTCOME_COLOURS, WIDE, styled
from analysis.names import short_names
from analysis.verdict import Part, Verdict

MOST_SHOWN = 15


@styled
def verdict_figure(result: Verdict) -> Figure:
    """Every opponent's interval beside the threshold, part by part."""
    heights = [max(1, min(MOST_SHOWN, len(part.opponents))) + 1.2 for part in result.parts]
    figure = Figure(figsize=(WIDE, min(8.8, 0.5 + 0.27 * sum(heights) + 0.9)))
    panels = figure.subplots(3, 1, height_ratios=heights)
    for axes, part in zip(panels, result.parts, strict=True):
        _draw_part(axes, part, result.question.side)
    return figure


def _draw_part(axes: Axes, part: Part, side: str) -> None:
    axes.set_title(part.name[0].upper() + part.name[1:])
    colour = OUTCOME_COLOURS[part.outcome]
    axes.set_title(part.outcome.upper(), loc="right", color=colour)
    if part.opponents.empty:
        axes.text(0, 0.6, "none were played", transform=axes.transAxes)
        axes.set_axis_off()
        return
    shown = part.opponents.sort_values("value").head(MOST_SHOWN)
    value, low, high = (100 * shown[name].to_numpy() for name in ("value", "low", "high"))
    y = np.arange(len(shown))
    axes.axvline(100 * part.threshold, color=GREY, linestyle="--", linewidth=1)
    axes.hlines(y, low, high, color=BLACK, linewidth=1.1)
    for outcome, chosen in (
        ("pass", low >= 100 * part.threshold),
        ("fail", high < 100 * part.threshold),
        ("inconclusive", (low < 100 * part.threshold) & (high >= 100 * part.threshold)),
    ):
        axes.plot(value[chosen], y[chosen], "o", color=OUTCOME_COLOURS[outcome], markersize=5)
    names = short_names(list(shown["opponent"]))
    hidden = len(part.opponents) - len(shown)
    axes.set_yticks(y, names)
    if hidden:
        axes.annotate(
            f"and {hidden} better ones", (0.995, 0.03), xycoords="axes fraction", ha="right"
        )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    if part.threshold < 0:
        reach = max(20.0, 1.1 * float(np.abs([low, high]).max()))
        axes.set_xlim(-reach, reach)
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.set_xlabel("win rate now less win rate before (percentage points)")
    else:
        axes.set_xlim(-2, 102)
        axes.set_xlabel(f"win rate of the {side} (%)")
