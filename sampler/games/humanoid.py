"""The humanoid of the public games: 13 links, 17 hinges, 17 motors, 39 kg.

Numbers from `humanoid_body.xml` of openai/multiagent-competition. Its two fixed tendons (hip and
knee) have no stiffness, limit or motor, so they are left out.
"""

from __future__ import annotations

from sampler.games.body import Body, Capsule, Hinge, Link, Motor, Skin, Sphere, Vector

# The original bends the two waist joints by this little; the policies know the difference.
_WAIST_TILT = (0.999998, 0.0, -0.002, 0.0)


def _leg(side: str, sign: float, hip_limit: float, hip_armature: float, knee: float) -> list[Link]:
    """Thigh, shin and foot; `sign` is +1 for the left leg (positive y)."""
    mirrored: Vector = (-sign, 0.0, 0.0)
    return [
        Link(
            f"{side}_thigh",
            "pelvis",
            (0.0, 0.1 * sign, -0.04),
            (Capsule((0.0, 0.0, 0.0), (0.0, -0.01 * sign, -0.34), 0.06),),
            (
                Hinge(f"{side}_hip_x", mirrored, (-25.0, 5.0), 10.0, 5.0, 0.01),
                Hinge(f"{side}_hip_z", (0.0, 0.0, -sign), (-60.0, 35.0), 10.0, 5.0, 0.01),
                Hinge(f"{side}_hip_y", (0.0, 1.0, 0.0), (hip_limit, 20.0), 20.0, 5.0, hip_armature),
            ),
        ),
        Link(
            f"{side}_shin",
            f"{side}_thigh",
            (0.0, -0.01 * sign, -0.403),
            (Capsule((0.0, 0.0, 0.0), (0.0, 0.0, -0.3), 0.049),),
            (
                Hinge(
                    f"{side}_knee",
                    (0.0, -1.0, 0.0),
                    (-160.0, -2.0),
                    knee,
                    1.0,
                    0.006,
                    anchor=(0.0, 0.0, 0.02),
                ),
            ),
        ),
        Link(f"{side}_foot", f"{side}_shin", (0.0, 0.0, -0.45), (Sphere((0.0, 0.0, 0.1), 0.075),)),
    ]


def _arm(side: str, sign: float, limits: tuple[float, float]) -> list[Link]:
    """Upper and lower arm; `sign` is +1 for the left arm (positive y)."""
    return [
        Link(
            f"{side}_upper_arm",
            "torso",
            (0.0, 0.17 * sign, 0.06),
            (Capsule((0.0, 0.0, 0.0), (0.16, 0.16 * sign, -0.16), 0.04),),
            (
                Hinge(f"{side}_shoulder1", (2.0, -sign, 1.0), limits, 1.0, 1.0, 0.0068),
                Hinge(f"{side}_shoulder2", (0.0, sign, 1.0), limits, 1.0, 1.0, 0.0051),
            ),
        ),
        Link(
            f"{side}_lower_arm",
            f"{side}_upper_arm",
            (0.18, 0.18 * sign, -0.18),
            (
                Capsule((0.01, -0.01 * sign, 0.01), (0.17, -0.17 * sign, 0.17), 0.031),
                Sphere((0.18, -0.18 * sign, 0.18), 0.04),
            ),
            (Hinge(f"{side}_elbow", (0.0, -1.0, -sign), (-90.0, 50.0), 0.0, 1.0, 0.0028),),
        ),
    ]


_TRUNK = [
    Link(
        "torso",
        None,
        (0.0, 0.0, 1.4),
        (
            Capsule((0.0, -0.07, 0.0), (0.0, 0.07, 0.0), 0.07),
            Sphere((0.0, 0.0, 0.19), 0.09),
            Capsule((-0.01, -0.06, -0.12), (-0.01, 0.06, -0.12), 0.06),
        ),
    ),
    Link(
        "lower_waist",
        "torso",
        (-0.01, 0.0, -0.26),
        (Capsule((0.0, -0.06, 0.0), (0.0, 0.06, 0.0), 0.06),),
        (
            Hinge("abdomen_z", (0.0, 0.0, 1.0), (-45.0, 45.0), 20.0, 5.0, 0.02, (0.0, 0.0, 0.065)),
            Hinge("abdomen_y", (0.0, 1.0, 0.0), (-75.0, 30.0), 10.0, 5.0, 0.02, (0.0, 0.0, 0.065)),
        ),
        _WAIST_TILT,
    ),
    Link(
        "pelvis",
        "lower_waist",
        (0.0, 0.0, -0.165),
        (Capsule((-0.02, -0.07, 0.0), (-0.02, 0.07, 0.0), 0.09),),
        (Hinge("abdomen_x", (1.0, 0.0, 0.0), (-35.0, 35.0), 10.0, 5.0, 0.02, (0.0, 0.0, 0.1)),),
        _WAIST_TILT,
    ),
]

# The legs differ a little in the original: hip range and armature, and the knee's spring.
HUMANOID = Body(
    name="humanoid",
    links=(
        *_TRUNK,
        *_leg("right", -1.0, hip_limit=-110.0, hip_armature=0.008, knee=0.0),
        *_leg("left", 1.0, hip_limit=-120.0, hip_armature=0.01, knee=1.0),
        *_arm("right", -1.0, (-85.0, 60.0)),
        *_arm("left", 1.0, (-60.0, 85.0)),
    ),
    motors=(
        Motor("abdomen_y", 100.0),
        Motor("abdomen_z", 100.0),
        Motor("abdomen_x", 100.0),
        Motor("right_hip_x", 100.0),
        Motor("right_hip_z", 100.0),
        Motor("right_hip_y", 300.0),
        Motor("right_knee", 200.0),
        Motor("left_hip_x", 100.0),
        Motor("left_hip_z", 100.0),
        Motor("left_hip_y", 300.0),
        Motor("left_knee", 200.0),
        Motor("right_shoulder1", 25.0),
        Motor("right_shoulder2", 25.0),
        Motor("right_elbow", 25.0),
        Motor("left_shoulder1", 25.0),
        Motor("left_shoulder2", 25.0),
        Motor("left_elbow", 25.0),
    ),
    control_limit=0.4,
    skin=Skin(density=1000.0, condim=1, friction=(1.0, 0.005, 0.0001), margin=0.001),
)
