"""The ant of the public games: 13 links, 8 hinges, 8 motors.

Numbers from `ant_body.xml` of openai/multiagent-competition. Links without a name there are called
feet here.
"""

from __future__ import annotations

from sampler.games.body import Body, Capsule, Hinge, Link, Motor, Skin, Sphere, Vector

_RADIUS = 0.08


def _leg(number: int, x: float, y: float, ankle_axis: Vector, low: float) -> list[Link]:
    """Hip, leg and foot in the quadrant (x, y); its ankle bends from `low` over 40 degrees."""
    out: Vector = (0.2 * x, 0.2 * y, 0.0)
    foot: Vector = (0.4 * x, 0.4 * y, 0.0)
    origin: Vector = (0.0, 0.0, 0.0)
    return [
        Link(f"hip_{number}", "torso", origin, (Capsule(origin, out, _RADIUS),)),
        Link(
            f"leg_{number}",
            f"hip_{number}",
            out,
            (Capsule(origin, out, _RADIUS),),
            (Hinge(f"hip_{number}", (0.0, 0.0, 1.0), (-30.0, 30.0), 0.0, 1.0, 1.0),),
        ),
        Link(
            f"foot_{number}",
            f"leg_{number}",
            out,
            (Capsule(origin, foot, _RADIUS),),
            (Hinge(f"ankle_{number}", ankle_axis, (low, low + 40.0), 0.0, 1.0, 1.0),),
        ),
    ]


ANT = Body(
    name="ant",
    links=(
        Link("torso", None, (0.0, 0.0, 0.75), (Sphere((0.0, 0.0, 0.0), 0.25),)),
        *_leg(1, 1.0, 1.0, (-1.0, 1.0, 0.0), 30.0),
        *_leg(2, -1.0, 1.0, (1.0, 1.0, 0.0), -70.0),
        *_leg(3, -1.0, -1.0, (-1.0, 1.0, 0.0), -70.0),
        *_leg(4, 1.0, -1.0, (1.0, 1.0, 0.0), 30.0),
    ),
    motors=tuple(
        Motor(f"{joint}_{leg}", 150.0) for leg in (4, 1, 2, 3) for joint in ("hip", "ankle")
    ),
    control_limit=1.0,
    skin=Skin(density=5.0, condim=3, friction=(1.0, 0.5, 0.5), margin=0.01),
)
