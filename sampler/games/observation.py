"""Observations: named blocks, one after the other, in the order that the public policies expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sampler.games.base import Floats, Lanes
from sampler.games.simulations import Array, Bodies

CONTACT_FORCE = "contact_force"


@dataclass(frozen=True)
class Block:
    """A part of the observations: `read` gives the (lanes, 2, length) numbers of both sides."""

    name: str
    read: Callable[[], Array]


class Observer:
    """Puts the blocks of both sides together.

    Attributes:
        layout: name and length of each block, in order.
        size: length of the observation.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._reads = [block.read for block in blocks]
        parts = [read() for read in self._reads]
        lengths = [int(part.shape[2]) for part in parts]
        self.layout = tuple(zip((block.name for block in blocks), lengths, strict=True))
        self.size = sum(lengths)
        self._all = np.zeros((len(parts[0]), 2, self.size), dtype=np.float32)
        place = [block.name for block in blocks].index(CONTACT_FORCE)
        start = sum(lengths[:place])
        self._forces = self._all[:, :, start : start + lengths[place]]
        self._stale = True

    def refresh(self) -> None:
        """To be called once the simulations have changed."""
        self._stale = True

    def read(self, side: int, lanes: Lanes) -> Floats:
        """Observations (k, size) of a side in these lanes, a copy."""
        if self._stale:
            parts = [read() for read in self._reads]
            np.concatenate(parts, axis=2, out=self._all, casting="same_kind")
            # Contact forces count up to 1 (N m or N), as in the original.
            np.maximum(self._forces, -1, out=self._forces)
            np.minimum(self._forces, 1, out=self._forces)
            self._stale = False
        return self._all[:, side].take(lanes, axis=0)


def live(name: str, array: Array) -> Block:
    """A block that is a live array (lanes, 2, length)."""
    return Block(name, lambda: array)


def opponents(array: Array) -> Array:
    """The live array (lanes, 2, ...) in which each side finds what the other has in `array`."""
    return array[:, ::-1]


def humanoid_blocks(bodies: Bodies) -> list[Block]:
    """380 numbers: state, links, motors and contacts of the own body; position of the other's."""
    return [
        live("position", bodies.position),
        live("velocity", bodies.velocity),
        *_link_blocks(bodies),
        live("opponent_position", opponents(bodies.position)),
    ]


def ant_blocks(bodies: Bodies) -> list[Block]:
    """122 numbers: state and contacts of the own body; position of the other's."""
    return [
        live("position", bodies.position),
        live("velocity", bodies.velocity),
        live(CONTACT_FORCE, bodies.contact_force),
        live("opponent_position", opponents(bodies.position)),
    ]


def relative_humanoid_blocks(bodies: Bodies) -> list[Block]:
    """378 numbers: as `humanoid_blocks`, without the own place, the other's seen from there."""
    others = opponents(bodies.position)
    return [
        live("height_and_pose", bodies.position[:, :, 2:]),
        live("velocity", bodies.velocity),
        *_link_blocks(bodies),
        offset_to_opponent(bodies),
        live("opponent_height_and_pose", others[:, :, 2:]),
    ]


def offset_to_opponent(bodies: Bodies) -> Block:
    """2 numbers: the way to the opponent's root on the floor (m)."""
    return Block("opponent_offset", lambda: opponents(bodies.xy) - bodies.xy)


def _link_blocks(bodies: Bodies) -> list[Block]:
    return [
        live("link_inertia", bodies.link_inertia()),
        live("link_velocity", bodies.link_velocity()),
        live("motor_force", bodies.motor_force()),
        live(CONTACT_FORCE, bodies.contact_force),
    ]
