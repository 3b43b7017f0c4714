"""A game with bodies as a PettingZoo `ParallelEnv`: also set, read and drawn."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from sampler.games.base import StepResult
from sampler.games.mujoco_game import MujocoGame
from sampler.games.parallel import Info, ParallelGame

_HEIGHT, _WIDTH = 480, 640


class MujocoEnv(ParallelGame):
    """See `ParallelGame`. The info also holds `side_done`: the side alone counts as done (fallen).

    The reward is the one that the original game pays. In YouShallNotPassHumans and KickAndDefend,
    `dense` has corrections that it lacks.
    """

    def __init__(self, game: MujocoGame, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise UserError(f"there is no render mode {render_mode!r}; there is rgb_array")
        super().__init__(game)
        self._bodies = game
        self.render_mode = render_mode
        self._renderer: mujoco.Renderer | None = None
        self.metadata["render_modes"] = ["rgb_array"]
        self.metadata["render_fps"] = round(1 / game.step_seconds)

    def set_state(
        self,
        qpos: NDArray[np.float64],
        qvel: NDArray[np.float64],
        *,
        elapsed: int = 0,
        radius: float | None = None,
        touched: bool = False,
    ) -> None:
        """Puts the game into a recorded state; an episode that was over goes on from there.

        See `MujocoGame.set_state` for arguments and errors.
        """
        self._bodies.set_state(0, qpos, qvel, elapsed=elapsed, radius=radius, touched=touched)
        self._begin()

    def get_state(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Copies of positions (nq,) and velocities (nv,)."""
        return self._bodies.get_state(0)

    def observe(self, agent: str) -> NDArray[np.float32]:
        """What that agent sees now, (observation size,) float32."""
        side = self.possible_agents.index(agent)
        seen: NDArray[np.float32] = self._bodies.observe(side, np.zeros(1, dtype=np.int64))[0]
        return seen

    def render(self) -> NDArray[np.uint8] | None:
        """The scene from the side, (480, 640, 3) uint8; None without a render mode."""
        if self.render_mode is None:
            return None
        model, data = self._bodies.snapshot(0)
        if self._renderer is None:
            self._renderer = mujoco.Renderer(model, _HEIGHT, _WIDTH)
        self._renderer.update_scene(data, _camera())
        image: NDArray[np.uint8] = self._renderer.render()
        return image

    def close(self) -> None:
        """Frees the renderer's graphics memory."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _rewards(self, result: StepResult) -> list[float]:
        return list(self._bodies.reward(0))

    def _info(self, side: int, result: StepResult) -> Info:
        return {**super()._info(side, result), "side_done": self._bodies.side_done(0)[side]}


def _camera() -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (0.0, 0.0, 0.7)
    camera.distance = 9.0
    camera.azimuth = 90.0
    camera.elevation = -15.0
    return camera
