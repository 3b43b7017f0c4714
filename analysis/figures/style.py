"""The look of all figures, and how they are saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.errors import UserError

# Colours that people with any common colour blindness tell apart (Okabe & Ito 2008, Color Universal
# Design).
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PINK = "#CC79A7"
SKY = "#56B4E9"
BLACK = "#222222"
GREY = "#8C8C8C"
SERIES = (BLUE, ORANGE, GREEN, PINK, VERMILION, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")

ROLE_COLOURS = {"adversary": VERMILION, "victim": GREEN, "both": GREY}
OUTCOME_COLOURS = {"pass": BLUE, "fail": VERMILION, "inconclusive": GREY}

# Widths of a page's text, and of one of two columns, in inches.
WIDE = 6.9
NARROW = 3.4

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "errorbar.capsize": 1.8,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    # Letters as paths look the same everywhere; a fixed salt gives equal files for equal figures.
    "svg.fonttype": "path",
    "svg.hashsalt": "sparring",
    # A dollar sign in the name of a policy is no formula.
    "text.parse_math": False,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in the style above, and leaves the user's own settings as they were."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def save(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """Writes PATH.svg and PATH.png (300 dots an inch); equal figures give equal files.

    Args:
        figure: to be saved.
        path: without a suffix.

    Returns:
        The two files.

    Raises:
        UserError: the folder cannot be written.
    """
    stem = Path(path)
    files = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(STYLE):
            figure.savefig(files[0], metadata={"Date": None})
            figure.savefig(files[1], metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write the figure {stem}: {error}") from error
    return files


def steps_axis(axes: Axes, most: float, what: str = "environment steps") -> float:
    """Labels the x axis in steps, thousands or millions of them; gives the size of the unit."""
    unit, name = 1.0, what
    for size, word in ((1e6, "millions"), (1e3, "thousands")):
        if most >= 2 * size:
            unit, name = size, f"{what} ({word})"
            break
    axes.set_xlabel(name)
    return unit


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Shares as per cent, 0 to 100, with some room for markers at the ends."""
    getattr(axes, f"set_{which}lim")(-0.03, 1.03)
    axis = getattr(axes, f"{which}axis")
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])


def half_line(axes: Axes, which: str = "y") -> None:
    """A thin line at one half."""
    line = axes.axhline if which == "y" else axes.axvline
    line(0.5, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)


def p_text(p_value: float) -> str:
    """A p-value for a caption."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
