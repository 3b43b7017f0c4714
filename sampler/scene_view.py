"""Pictures of an episode: where the camera is, and what it sees at a moment between two steps."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sampler.games.scene import BALL, PREFIXES
from sampler.graphics import graphics
from sampler.replay import Replay

WIDTH, HEIGHT = 1280, 720

# The camera looks along the line between the goal lines' ends, a little from the side and above.
AZIMUTH, ELEVATION = 80.0, -14.0
NEAREST = 4.5
# Height (m) of what the camera looks at, at least: those who lie on the floor need no close look.
LOWEST = 0.8
# What is kept in view around the middle of a body (m): outstretched arms, and the head.
ARMS, HEAD = 0.8, 0.6
# Share of the height of a picture that is not written on.
FREE_HEIGHT = 0.74
# How long the camera takes to follow (s): less would shake with every step of a runner.
SMOOTHING = 0.6

Points = NDArray[np.float64]


class SceneView:
    """Draws the moments of one episode. A context manager: it holds graphics memory.

    Args:
        model: the scene of the episode.
        data: of that model.
        replay: the episode.
        step_seconds: simulated time of a step (s).

    Raises:
        UserError: the libraries that draw without a screen are missing.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, replay: Replay, step_seconds: float
    ) -> None:
        self._model, self._data = model, data
        # Those who turn away from the light should be seen on a projector too.
        model.vis.headlight.ambient[:] = 0.35
        model.vis.headlight.diffuse[:] = 0.5
        self._positions = replay.positions
        self._step_seconds = step_seconds
        self._velocity = np.empty(model.nv)
        self._target, self._distance = camera_path(
            places(model, replay.positions), step_seconds, model.vis.global_.fovy
        )
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = AZIMUTH, ELEVATION
        with graphics():
            self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)

    def __enter__(self) -> SceneView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the graphics memory."""
        self._renderer.close()

    def colors(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The colours of both sides' bodies, 0 to 255."""
        first, second = (_color(self._model, prefix) for prefix in PREFIXES)
        return first, second

    def draw(self, time: float) -> NDArray[np.uint8]:
        """The picture (HEIGHT, WIDTH, 3) at a time (s) of the episode; steps are interpolated."""
        last = len(self._positions) - 1
        step = min(time / self._step_seconds, float(last))
        before = min(int(step), last - 1)
        self._data.qpos[:] = self._between(before, step - before)
        mujoco.mj_forward(self._model, self._data)
        steps = np.arange(last + 1)
        self._camera.lookat[:] = [np.interp(step, steps, column) for column in self._target.T]
        self._camera.distance = float(np.interp(step, steps, self._distance))
        self._renderer.update_scene(self._data, self._camera)
        image: NDArray[np.uint8] = self._renderer.render()
        return image

    def _between(self, step: int, share: float) -> NDArray[np.float64]:
        """Positions a share of the way from a step to the next, turned the short way round."""
        start, end = self._positions[step], self._positions[step + 1]
        mujoco.mj_differentiatePos(self._model, self._velocity, 1.0, start, end)
        position: NDArray[np.float64] = start.copy()
        mujoco.mj_integratePos(self._model, position, self._velocity, share)
        return position


def places(model: mujoco.MjModel, positions: NDArray[np.float64]) -> Points:
    """Where the bodies and the ball are (steps, things, 3) in m.

    Args:
        model: the scene.
        positions: (steps, nq).
    """
    joints = [model.joint(number) for number in range(model.njnt)]
    followed = {*(prefix + "root" for prefix in PREFIXES), BALL}
    starts = [int(joint.qposadr[0]) for joint in joints if joint.name in followed]
    return np.stack([positions[:, start : start + 3] for start in starts], axis=1)


def camera_path(points: Points, step_seconds: float, fovy: float) -> tuple[Points, Points]:
    """Where the camera looks (steps, 3) and from how far (steps,), so that all stay in view (m).

    Args:
        points: (steps, things, 3), middles of what is to be kept in view.
        step_seconds: simulated time of a step (s).
        fovy: angle of view from bottom to top (degrees).
    """
    reach = max(1, round(SMOOTHING / step_seconds))
    weights = np.hanning(2 * reach + 3)[1:-1]
    weights /= weights.sum()
    middle = (points.min(axis=1) + points.max(axis=1)) / 2
    middle[:, 2] = np.maximum(middle[:, 2], LOWEST)
    target = np.stack([_windows(column, reach) @ weights for column in middle.T], axis=1)
    needed = _needed_distance(points - target[:, None], target[:, 2], fovy)
    # The farthest within reach, smoothed within reach, is never nearer than what is needed.
    farthest = _windows(np.maximum(needed, NEAREST), reach).max(axis=-1)
    return target, _windows(farthest, reach) @ weights


def _needed_distance(offsets: Points, height: Points, fovy: float) -> Points:
    """(steps,), the least distance from which things at `offsets` (steps, things, 3) are in view.

    Of each, its feet on the floor and its head are looked at; `height` (steps,) is the target's.
    """
    heads, feet = offsets.copy(), offsets.copy()
    heads[:, :, 2] += HEAD
    feet[:, :, 2] = -height[:, None]
    ends = np.concatenate([heads, feet], axis=1)
    around, down = np.radians(AZIMUTH), np.radians(-ELEVATION)
    forward = np.array(
        [np.cos(around) * np.cos(down), np.sin(around) * np.cos(down), -np.sin(down)]
    )
    right = np.array([np.sin(around), -np.cos(around), 0.0])
    across, up = np.abs(ends @ right) + ARMS, np.abs(ends @ np.cross(right, forward)) + ARMS / 2
    vertical = np.tan(np.radians(fovy) / 2)
    seen = np.maximum(across * HEIGHT / WIDTH, up / FREE_HEIGHT) / vertical
    distance: Points = (seen - ends @ forward).max(axis=1)
    return distance


def _windows(values: Points, reach: int) -> Points:
    """(n, 2 * reach + 1): each value with its neighbours; the ends are repeated."""
    return sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)


def _color(model: mujoco.MjModel, prefix: str) -> tuple[int, int, int]:
    root = model.body(prefix + "torso").id
    red, green, blue, _ = model.geom_rgba[model.body_geomadr[root]]
    return int(255 * red), int(255 * green), int(255 * blue)
