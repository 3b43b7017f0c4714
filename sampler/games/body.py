"""Bodies that play: links, hinges and motors as data, and how they become part of a MuJoCo spec.

Every mass and inertia is computed here and given to MuJoCo explicitly. The public policies were
trained on MuJoCo 1.31, which took a capsule's mass and inertia from a cylinder of the same radius
and of length L + r (L: between the cap centres); today's exact capsules are up to 12 % lighter, and
the public runner falls over in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import mujoco
import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
IDENTITY: Quaternion = (1.0, 0.0, 0.0, 0.0)
# A half turn about z as the original scenes have it, rounding of cos(90 degrees) included.
HALF_TURN: Quaternion = (6.12323e-17, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Capsule:
    """A capsule between two cap centres, in metres."""

    start: Vector
    end: Vector
    radius: float

    def mass_properties(
        self, density: float
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Mass (kg), centre (3,) and inertia about it (3, 3), by the rule of the module."""
        start, end = np.array(self.start), np.array(self.end)
        span = end - start
        length = float(np.linalg.norm(span))
        height = length + self.radius
        mass = density * pi * self.radius**2 * height
        along = mass * self.radius**2 / 2
        across = mass * (3 * self.radius**2 + height**2) / 12
        axis = np.outer(span, span) / length**2
        return mass, (start + end) / 2, across * np.eye(3) + (along - across) * axis

    def add_to(self, body: mujoco.MjsBody) -> mujoco.MjsGeom:
        """Adds the shape as a geom of `body`."""
        return body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[*self.start, *self.end],
            size=[self.radius, 0, 0],
        )


@dataclass(frozen=True)
class Sphere:
    """A ball, in metres."""

    center: Vector
    radius: float

    def mass_properties(
        self, density: float
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Mass (kg), centre (3,) and inertia about it (3, 3)."""
        mass = density * 4 / 3 * pi * self.radius**3
        return mass, np.array(self.center), 0.4 * mass * self.radius**2 * np.eye(3)

    def add_to(self, body: mujoco.MjsBody) -> mujoco.MjsGeom:
        """Adds the shape as a geom of `body`."""
        return body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=self.center, size=[self.radius, 0, 0]
        )


@dataclass(frozen=True)
class Hinge:
    """A hinge joint: axis and anchor in the link's frame, range in degrees."""

    name: str
    axis: Vector
    range: tuple[float, float]
    stiffness: float
    damping: float
    armature: float
    anchor: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Link:
    """A rigid part of a body, hung on `parent` (None: the root, which floats freely)."""

    name: str
    parent: str | None
    position: Vector
    shapes: tuple[Capsule | Sphere, ...]
    hinges: tuple[Hinge, ...] = ()
    quaternion: Quaternion = IDENTITY


@dataclass(frozen=True)
class Motor:
    """A motor that turns a hinge with `gear` Nm per unit of control."""

    hinge: str
    gear: float


@dataclass(frozen=True)
class Skin:
    """What all shapes of a body share: density (kg/m^3) and contact parameters of MuJoCo."""

    density: float
    condim: int
    friction: Vector
    margin: float


@dataclass(frozen=True)
class Body:
    """An articulated body with one free root.

    Attributes:
        links: the root first; MuJoCo numbers bodies and joints depth first in this order.
        motors: in the order of the numbers of an action.
        control_limit: controls are clipped to [-control_limit, control_limit].
    """

    name: str
    links: tuple[Link, ...]
    motors: tuple[Motor, ...]
    control_limit: float
    skin: Skin

    @property
    def root(self) -> Link:
        """The link that floats freely."""
        return self.links[0]

    @property
    def qpos_size(self) -> int:
        """Position numbers: 7 of the root (x, y, z, quaternion) and one of each hinge."""
        return 7 + sum(len(link.hinges) for link in self.links)

    @property
    def qvel_size(self) -> int:
        """Velocity numbers: 6 of the root and one of each hinge."""
        return self.qpos_size - 1


def add_body(
    spec: mujoco.MjSpec,
    body: Body,
    prefix: str,
    position: Vector,
    quaternion: Quaternion,
    color: tuple[float, float, float, float],
) -> None:
    """Adds `body` to a scene, with the root at `position` (m) and every name behind `prefix`."""
    placed: dict[str, mujoco.MjsBody] = {}
    for link in body.links:
        parent = spec.worldbody if link.parent is None else placed[link.parent]
        part = parent.add_body(
            name=prefix + link.name,
            pos=position if link.parent is None else link.position,
            quat=quaternion if link.parent is None else link.quaternion,
        )
        placed[link.name] = part
        if link.parent is None:
            part.add_freejoint(name=prefix + "root")
        _add_hinges(part, link, prefix)
        _add_shapes(part, link, body.skin, color)
    for motor in body.motors:
        _add_motor(spec, motor, body.control_limit, prefix)


def _add_hinges(part: mujoco.MjsBody, link: Link, prefix: str) -> None:
    for hinge in link.hinges:
        part.add_joint(
            name=prefix + hinge.name,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=hinge.axis,
            pos=hinge.anchor,
            range=hinge.range,
            stiffness=hinge.stiffness,
            damping=hinge.damping,
            armature=hinge.armature,
        )


def _add_shapes(
    part: mujoco.MjsBody, link: Link, skin: Skin, color: tuple[float, float, float, float]
) -> None:
    for shape in link.shapes:
        geom = shape.add_to(part)
        geom.condim = skin.condim
        geom.friction = skin.friction
        geom.margin = skin.margin
        geom.rgba = color
    mass, center, inertia = _sum_of_shapes(link, skin.density)
    part.explicitinertial = True
    part.mass = mass
    part.ipos = center
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = inertia
    part.fullinertia = [xx, yy, zz, xy, xz, yz]


def _sum_of_shapes(
    link: Link, density: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mass, centre of mass and inertia about it of all shapes together (parallel axis theorem)."""
    parts = [shape.mass_properties(density) for shape in link.shapes]
    mass = sum(part_mass for part_mass, _, _ in parts)
    center = sum((m * c for m, c, _ in parts), start=np.zeros(3)) / mass
    inertia = np.zeros((3, 3))
    for part_mass, part_center, part_inertia in parts:
        arm = part_center - center
        inertia += part_inertia + part_mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    return mass, center, inertia


def _add_motor(spec: mujoco.MjSpec, motor: Motor, limit: float, prefix: str) -> None:
    spec.add_actuator(
        name=prefix + motor.hinge,
        target=prefix + motor.hinge,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gear=[motor.gear, 0, 0, 0, 0, 0],
        ctrllimited=True,
        ctrlrange=[-limit, limit],
    )
