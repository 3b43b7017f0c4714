"""How a batch of simulations is stepped, and where its contacts come from, for each profile.

`mujoco.batch.Batch` gives no access to contacts, and the engine computes contact forces
(`cfrc_ext`) only on demand. Sensors in the model make it do both inside a substep, always at its
beginning. In an Euler substep all other derived fields come from there as well. In a Runge-Kutta
substep they come from the last stage, and so must the forces: there each simulation is asked after
the step, which costs about 5 % of it.
"""

from __future__ import annotations

from typing import Protocol

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from sampler.games.base import Lanes
from sampler.games.scene import CONTACT_SLOTS, SUBSTEPS, Scene, contact_sensor


class Engine(Protocol):
    """Steps a batch.

    Attributes:
        batch: the simulations.
        force: (lanes, bodies, 6), live: external force on each body (torque, force; N m and N).
    """

    batch: mujoco.batch.Batch
    force: NDArray[np.float64]

    def step(self, lanes: Lanes) -> None:
        """Plays `SUBSTEPS` substeps in these lanes."""

    def settle(self, lanes: Lanes) -> None:
        """Derives everything from the states of these lanes."""

    def contacts(self, pair: int) -> NDArray[np.int32]:
        """(lanes,), contacts of that pair of the scene in which the shapes penetrate."""


class EulerEngine:
    """Reads the sensors that `build_model` adds for the fast profile. See `Engine`."""

    def __init__(self, model: mujoco.MjModel, scene: Scene, lanes: int) -> None:
        self.batch = mujoco.batch.Batch(model, lanes, 1)
        self.force: NDArray[np.float64] = self.batch.bind("cfrc_ext")
        self._disabled = self.batch.expand("opt.disableflags")
        readings = self.batch.bind("sensordata")
        self._distances = []
        for pair in range(len(scene.contact_pairs)):
            start = int(model.sensor(contact_sensor(pair)).adr[0])
            self._distances.append(readings[:, start : start + CONTACT_SLOTS])

    def step(self, lanes: Lanes) -> None:
        """See `Engine`."""
        # Only the last substep's sensors are read, and they cost 4 % of a substep.
        ids = _ids(self.batch, lanes)
        self._disabled[:] = mujoco.mjtDisableBit.mjDSBL_SENSOR.value
        self.batch.step(ids, nstep=SUBSTEPS - 1)
        self._disabled[:] = 0
        self.batch.step(ids)

    def settle(self, lanes: Lanes) -> None:
        """See `Engine`."""
        self.batch.forward(lanes)

    def contacts(self, pair: int) -> NDArray[np.int32]:
        """See `Engine`. Empty slots of a sensor read 0, shapes within the margin more."""
        counts: NDArray[np.int32] = np.add.reduce(self._distances[pair] < 0, axis=1, dtype=np.int32)
        return counts


class RungeKuttaEngine:
    """Asks each simulation of a persistent batch after its step. See `Engine`."""

    def __init__(self, model: mujoco.MjModel, scene: Scene, lanes: int) -> None:
        self.batch = mujoco.batch.Batch(model, lanes, 1, persistent=True)
        self.force = np.zeros((lanes, model.nbody, 6))
        self._model = model
        self._data = mujoco.MjData(model)
        self._counts = np.zeros((len(scene.contact_pairs), lanes), dtype=np.int32)
        self._meetings = [_meetings(model, *pair) for pair in scene.contact_pairs]

    def step(self, lanes: Lanes) -> None:
        """See `Engine`."""
        self.batch.step(_ids(self.batch, lanes), nstep=SUBSTEPS)
        self._ask(lanes)

    def settle(self, lanes: Lanes) -> None:
        """See `Engine`."""
        self.batch.forward(lanes)
        self._ask(lanes)

    def contacts(self, pair: int) -> NDArray[np.int32]:
        """See `Engine`."""
        counts: NDArray[np.int32] = self._counts[pair]
        return counts

    def _ask(self, lanes: Lanes) -> None:
        data = self._data
        for lane in lanes.tolist():
            self.batch.get_data(lane, data)
            mujoco.mj_rnePostConstraint(self._model, data)
            self.force[lane] = data.cfrc_ext
            contacts = data.contact
            geoms = contacts.geom[contacts.dist < 0]
            for pair, meetings in enumerate(self._meetings):
                self._counts[pair, lane] = np.count_nonzero(meetings[geoms[:, 0], geoms[:, 1]])


def _ids(batch: mujoco.batch.Batch, lanes: Lanes) -> Lanes | None:
    """The lanes as the batch takes them most cheaply: None stands for all."""
    return None if len(lanes) == batch.nsim else lanes


def _meetings(model: mujoco.MjModel, first: str, second: str) -> NDArray[np.bool_]:
    """(geoms, geoms), whether one geom belongs to the first root body, one to the second."""
    roots = model.body_rootid[model.geom_bodyid]
    ones, others = roots == model.body(first).id, roots == model.body(second).id
    table: NDArray[np.bool_] = np.outer(ones, others) | np.outer(others, ones)
    return table
