"""Pictures of an episode: where the camera is, and what it sees at a moment between two steps."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from common.errors import UserError
from sampler.games.scene import BALL, PREFIXES
from sampler.replay import Replay

WIDTH, HEIGHT = 1280, 720

# The camera looks along the line between the goal lines' ends, a little from the side and above.
AZIMUTH, ELEVATION = 80.0, -14.0
NEAREST = 5.0
# What is kept in view around the middle of a body (m): arms, and the head of a humanoid.
MARGIN = 1.3
# How long the camera takes to follow (s): less would shake with every step of a runner.
SMOOTHING = 0.6

MISSING_LIBRARIES = (
    "this machine cannot draw without a screen ({reason}); that needs three system packages: "
    "apt-get install libegl1 libopengl0 libgl1-mesa-dri (their Debian names)"
)

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
        self._positions = replay.positions
        self._step_seconds = step_seconds
        self._velocity = np.empty(model.nv)
        self._target, self._distance = camera_path(self._places(), step_seconds, model.vis)
        self._camera = mujoco.MjvCamera()
        self._camera.azimuth, self._camera.elevation = AZIMUTH, ELEVATION
        try:
            self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
        # PyOpenGL and MuJoCo raise of everything, depending on what is missing.
        except Exception as error:
            raise UserError(MISSING_LIBRARIES.format(reason=_first_line(error))) from error

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

    def _places(self) -> Points:
        """(steps + 1, things, 3): where the bodies and the ball are (m)."""
        joints = [self._model.joint(number) for number in range(self._model.njnt)]
        followed = {*(prefix + "root" for prefix in PREFIXES), BALL}
        starts = [int(joint.qposadr[0]) for joint in joints if joint.name in followed]
        return np.stack([self._positions[:, start : start + 3] for start in starts], axis=1)


def camera_path(places: Points, step_seconds: float, visual: Any) -> tuple[Points, Points]:
    """Where the camera looks (steps, 3) and from how far (steps,), so that all stay in view (m).

    Args:
        places: (steps, things, 3), what to keep in view.
        step_seconds: simulated time of a step (s).
        visual: `model.vis`, for the field of view.
    """
    low, high = places.min(axis=1), places.max(axis=1)
    target = (low + high) / 2
    # Looking at the middle of those who lie would show a lot of floor and cut the others' heads.
    target[:, 2] = np.maximum(target[:, 2], 0.9) * 0.85
    tangent = np.tan(np.radians(visual.global_.fovy) / 2) * WIDTH / HEIGHT
    spread = (high - low) / 2
    needed = (spread[:, 0] + MARGIN) / tangent + spread[:, 1]
    reach = max(1, round(SMOOTHING / step_seconds))
    # The farthest within reach, then smoothed within reach: never nearer than needed.
    distance = _windows(np.maximum(needed, NEAREST), reach).max(axis=-1)
    weights = np.hanning(2 * reach + 3)[1:-1]
    weights /= weights.sum()
    smooth = np.stack([_windows(column, reach) @ weights for column in target.T], axis=1)
    return smooth, _windows(distance, reach) @ weights


def _windows(values: Points, reach: int) -> Points:
    """(n, 2 * reach + 1): each value with its neighbours; the ends are repeated."""
    return sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)


def _color(model: mujoco.MjModel, prefix: str) -> tuple[int, int, int]:
    root = model.body(prefix + "torso").id
    red, green, blue, _ = model.geom_rgba[model.body_geomadr[root]]
    return int(255 * red), int(255 * green), int(255 * blue)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
