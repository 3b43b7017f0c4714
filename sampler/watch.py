"""Episodes in MuJoCo's own viewer, in real time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import glfw
import mujoco
from mujoco import viewer

from common.errors import UserError
from common.game import GameDescription
from sampler import replay
from sampler.replay import Replay
from sampler.scene_view import AZIMUTH, ELEVATION, camera_path, places

STILL_SECONDS = 1.0


def show(description: GameDescription, step_seconds: float, episodes: Sequence[Replay]) -> None:
    """Shows episodes one after the other, and the last again and again, until a window is closed.

    Args:
        description: the game.
        step_seconds: simulated time of a step (s).
        episodes: at least one.

    Raises:
        UserError: no window can be opened.
    """
    _require_window()
    for number, episode in enumerate(episodes, start=1):
        if not _show(description, step_seconds, episode, again=number == len(episodes)):
            return


def _require_window() -> None:
    """The viewer ends the whole process where it cannot open a window."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not glfw.init():
            raise UserError(
                "no window can be opened on this screen; `sparring video` writes a film instead"
            )


def _show(description: GameDescription, step_seconds: float, episode: Replay, again: bool) -> bool:
    """Shows an episode in a window of its own; tells whether the user has left it open."""
    model, data = replay.scene(description.name, description.physics, episode)
    window = viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
    targets, distances = camera_path(
        places(model, episode.positions), step_seconds, model.vis.global_.fovy
    )
    with window:
        # The user may turn it and come nearer; it goes on following.
        window.cam.azimuth, window.cam.elevation = AZIMUTH, ELEVATION
        window.cam.distance = distances.max()
        while True:
            start = time.monotonic()
            for step, position in enumerate(episode.positions):
                if not window.is_running():
                    return False
                with window.lock():
                    data.qpos[:] = position
                    mujoco.mj_forward(model, data)
                    window.cam.lookat[:] = targets[step]
                window.sync()
                time.sleep(max(0.0, start + step * step_seconds - time.monotonic()))
            time.sleep(STILL_SECONDS)
            if not again:
                return bool(window.is_running())
