"""What it takes to draw without a screen, and what to install where it is missing.

MuJoCo chooses how to draw when it is imported: nothing here imports it before that is said.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError

_EXTRA = ("imageio", "imageio_ffmpeg", "PIL")


def draw_without_screen() -> None:
    """Makes MuJoCo draw without a screen, unless MUJOCO_GL says how else; before it is imported."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    # It tells which of its optional parts are not there.
    logging.getLogger("OpenGL").setLevel(logging.WARNING)


@contextmanager
def graphics() -> Iterator[None]:
    """Turns whatever comes of missing graphics libraries into a UserError that names packages."""
    try:
        yield
    # PyOpenGL, GLFW and MuJoCo raise errors of all kinds, depending on what is missing.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"MuJoCo cannot draw here with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} ({reason}); "
            "without a screen it needs MUJOCO_GL=egl and three system packages: "
            "apt-get install libegl1 libopengl0 libgl1-mesa-dri (their Debian names)"
        ) from error


@contextmanager
def film_packages() -> Iterator[None]:
    """Turns the lack of a package of the extra `video` into a UserError that names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        raise UserError(
            f"films need the package {package}: pip install 'sparring[video]' brings it"
        ) from error
