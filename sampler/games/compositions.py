"""The six public games: what each is composed of."""

from __future__ import annotations

from functools import partial

from sampler.games import kick_and_defend, run_to_goal, sumo, you_shall_not_pass
from sampler.games.ant import ANT
from sampler.games.humanoid import HUMANOID
from sampler.games.kick_and_defend import KickAndDefend
from sampler.games.mujoco_game import Composition
from sampler.games.run_to_goal import RunToGoal
from sampler.games.sumo import Sumo
from sampler.games.you_shall_not_pass import YouShallNotPass

_ALIKE = ("left", "right")

COMPOSITIONS = (
    Composition(
        "YouShallNotPassHumans",
        ("blocker", "runner"),
        HUMANOID,
        you_shall_not_pass.SCENE,
        YouShallNotPass,
    ),
    Composition(
        "KickAndDefend", ("kicker", "keeper"), HUMANOID, kick_and_defend.SCENE, KickAndDefend
    ),
    Composition(
        "SumoHumans", _ALIKE, HUMANOID, sumo.HUMANS, partial(Sumo, wrestler=sumo.HUMAN_WRESTLER)
    ),
    Composition("SumoAnts", _ALIKE, ANT, sumo.ANTS, partial(Sumo, wrestler=sumo.ANT_WRESTLER)),
    Composition(
        "RunToGoalHumans",
        _ALIKE,
        HUMANOID,
        run_to_goal.HUMANS,
        partial(RunToGoal, runner=run_to_goal.HUMAN_RUNNER),
    ),
    Composition(
        "RunToGoalAnts",
        _ALIKE,
        ANT,
        run_to_goal.ANTS,
        partial(RunToGoal, runner=run_to_goal.ANT_RUNNER),
    ),
)
