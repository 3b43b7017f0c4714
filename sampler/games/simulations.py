"""Many simulations of one scene, and the quantities that rules and observations read from them.

`mujoco.batch.Batch` steps all simulations in C; its arrays are live, one row per simulation. As in
the original games, what is derived from the state (centres of mass, velocities and inertias of the
links, forces, contacts) describes the engine's last evaluation within the step: the beginning of
the last Euler substep, or the last stage of the last Runge-Kutta substep. The public policies were
trained on these values, and the rewards are computed from them.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from common.game import Physics
from sampler.games.base import Lanes
from sampler.games.body import Body
from sampler.games.engine import Engine, EulerEngine, RungeKuttaEngine
from sampler.games.scene import BALL, PREFIXES, RING, Scene, build_model

Array = NDArray[np.float64]


class Bodies:
    """The bodies of both sides in all simulations: live arrays (n, 2, ...), axis 1 being the side.

    Attributes:
        body: what each side has.
        position: (n, 2, 7 + hinges): x, y, z (m) and quaternion of the root, angles (rad).
        velocity: (n, 2, 6 + hinges).
        control: (n, 2, motors), to be written before a step; MuJoCo clips it to the motors' range.
        center: (n, 2, 3), centre of mass of the whole body (m).
        contact_force: (n, 2, 6 * links), external force on each link (torque, force; N m and N).
        x: (n, 2), x of the root (m).
        xy: (n, 2, 2), place of the root on the floor (m).
        height: (n, 2), z of the root (m).
    """

    def __init__(self, simulations: Simulations, body: Body) -> None:
        model = simulations.model
        root = model.body(PREFIXES[0] + body.root.name).id
        joint = model.joint(PREFIXES[0] + "root")
        self.body = body
        self._simulations = simulations
        self._root, self._links = int(root), len(body.links)
        self._first_dof = int(joint.dofadr[0])
        self.position = _halves(simulations.qpos, int(joint.qposadr[0]), body.qpos_size)
        self.velocity = _halves(simulations.qvel, self._first_dof, body.qvel_size)
        self.control = _halves(simulations.bind("ctrl"), 0, len(body.motors))
        self.center = self._of_roots("subtree_com")
        self.contact_force = _halves(simulations.contact_force, self._root, self._links)
        self.x = self.position[:, :, 0]
        self.xy = self.position[:, :, :2]
        self.height = self.position[:, :, 2]

    def link_inertia(self) -> Array:
        """(n, 2, 10 * links), `cinert`: inertia, mass times offset, and mass of each link."""
        return _halves(self._simulations.bind("cinert"), self._root, self._links)

    def link_velocity(self) -> Array:
        """(n, 2, 6 * links), `cvel`: angular and linear velocity of each link."""
        return _halves(self._simulations.bind("cvel"), self._root, self._links)

    def motor_force(self) -> Array:
        """(n, 2, 6 + hinges), `qfrc_actuator`: what the motors do to each velocity."""
        force = self._simulations.bind("qfrc_actuator")
        return _halves(force, self._first_dof, self.body.qvel_size)

    def root_rotation(self) -> Array:
        """(n, 2, 9), rotation matrix of the root, row by row."""
        return self._of_roots("xmat")

    def _of_roots(self, field: str) -> Array:
        """The part (n, 2, ...) of a field (n, bodies, ...) that belongs to the two roots."""
        values = self._simulations.bind(field)
        return values[:, self._root : self._root + self._links + 1 : self._links]


class Simulations:
    """`lanes` simulations of a scene with one body for each side.

    Attributes:
        model: the compiled scene.
        lanes: how many there are.
        qpos: (lanes, nq), live and writable.
        qvel: (lanes, nv), live and writable.
        contact_force: (lanes, bodies, 6), live: `cfrc_ext` of every body of the model.
        bodies: what the sides have.
    """

    def __init__(self, scene: Scene, body: Body, physics: Physics, lanes: int) -> None:
        self.model = build_model(scene, body, physics)
        self.lanes = lanes
        engine = EulerEngine if physics == "fast" else RungeKuttaEngine
        self._engine: Engine = engine(self.model, scene, lanes)
        self.qpos = self.bind("qpos")
        self.qvel = self.bind("qvel")
        self.contact_force = self._engine.force
        self.bodies = Bodies(self, body)

    def bind(self, field: str) -> Array:
        """The live array (lanes, ...) of a field of `mujoco.MjData`."""
        array: Array = self._engine.batch.bind(field)
        return array

    def contacts(self, pair: int = 0) -> NDArray[np.int32]:
        """(lanes,), contacts of that pair of the scene in which the shapes penetrate."""
        return self._engine.contacts(pair)

    def reset(self, lanes: Lanes) -> None:
        """Puts these lanes into the model's start and forgets all that happened in them.

        Nothing is derived from the new state before `settle`.
        """
        self._engine.batch.reset(lanes, stage=mujoco.mjtStage.mjSTAGE_NONE)

    def settle(self, lanes: Lanes) -> None:
        """Derives everything from the states written into these lanes."""
        self._engine.settle(lanes)

    def step(self, lanes: Lanes) -> None:
        """Plays one step of the game in these lanes."""
        self._engine.step(lanes)

    def ring_radius(self) -> Array:
        """(lanes,), radius of the ring (m), live and writable."""
        sizes: Array = self._engine.batch.expand("geom_size")
        return sizes[:, self.model.geom(RING).id, 0]

    def ball(self) -> tuple[Array, Array]:
        """Live position (lanes, 7) and velocity (lanes, 6) of the ball."""
        joint = self.model.joint(BALL)
        position, velocity = int(joint.qposadr[0]), int(joint.dofadr[0])
        return self.qpos[:, position : position + 7], self.qvel[:, velocity : velocity + 6]

    def snapshot(self, lane: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Model and data of one lane, with everything derived from its state, for rendering."""
        batch = self._engine.batch
        model, data = batch.get_model(lane), batch.get_data(lane)
        mujoco.mj_forward(model, data)
        return model, data


def _halves(field: Array, start: int, length: int) -> Array:
    """The live part (n, 2, m) of a field (n, items, ...) that the two bodies have from `start` on.

    Each body has `length` items, and the second body's follow the first's.
    """
    part = field[:, start : start + 2 * length]
    halves = part.view()
    # Setting the shape fails where reshape would quietly copy, and a copy would not be live.
    halves.shape = (len(part), 2, -1)
    return halves
