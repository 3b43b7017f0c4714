"""Episodes in MuJoCo's own viewer, in real time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle

import mujoco
import mujoco.viewer

from common.game import GameDescription
from sampler import replay
from sampler.replay import Replay


def show(description: GameDescription, step_seconds: float, episodes: Sequence[Replay]) -> None:
    """Shows episodes again and again until the viewer is closed.

    Args:
        description: the game.
        step_seconds: simulated time of a step (s).
        episodes: at least one.
    """
    for episode in cycle(episodes):
        model, data = replay.scene(description.name, description.physics, episode)
        with mujoco.viewer.launch_passive(model, data) as viewer:
            if not _play(viewer, model, data, episode, step_seconds):
                return


def _play(
    viewer: mujoco.viewer.Handle,
    model: mujoco.MjModel,
    data: mujoco.MjData,
    episode: Replay,
    step_seconds: float,
) -> bool:
    """Shows one episode; False if the viewer was closed meanwhile."""
    start = time.monotonic()
    for number, position in enumerate(episode.positions):
        if not viewer.is_running():
            return False
        data.qpos[:] = position
        mujoco.mj_forward(model, data)
        viewer.sync()
        time.sleep(max(0.0, start + number * step_seconds - time.monotonic()))
    return bool(viewer.is_running())
