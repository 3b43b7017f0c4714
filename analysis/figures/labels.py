"""Names beside points, placed so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Offsets from the point in points, nearest first, with the alignment that goes with them.
_PLACES = (
    (6, 3, "left"),
    (-6, 3, "right"),
    (6, -8, "left"),
    (-6, -8, "right"),
    (0, 9, "center"),
    (0, -13, "center"),
    (10, 12, "left"),
    (-10, 12, "right"),
    (10, -17, "left"),
    (-10, -17, "right"),
)
_MOST = 25


def annotate(
    axes: Axes, points: Float, names: Sequence[str], obstacles: Float | None = None
) -> None:
    """Writes names beside points. Of names that find no free place, and beyond 25, none.

    Args:
        axes: with its limits set.
        points: (n, 2) in data units.
        names: n of them.
        obstacles: more places (m, 2) that stay free of names.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    # The layout moves axes; places are compared in pixels after it.
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    everything = points if obstacles is None else np.concatenate([points, obstacles])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(everything)]
    for place, (x, y) in enumerate(points[:_MOST]):
        box = _write(axes, (float(x), float(y)), names[place], taken, inside)
        if box is not None:
            taken.append(box)


def _write(
    axes: Axes, point: tuple[float, float], name: str, taken: Sequence[Bbox], inside: Bbox
) -> Bbox | None:
    for dx, dy, side in _PLACES:
        text = axes.annotate(
            name, point, (dx, dy), textcoords="offset points", ha=side, fontsize=6.5
        )
        text.set_in_layout(False)
        box = text.get_window_extent()
        free = not any(box.overlaps(other) for other in taken)
        if free and inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0:
            return box
        text.remove()
    return None
