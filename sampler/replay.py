"""Episodes played again with every position kept, so that they can be looked at.

They are the episodes of a match-up of as many episodes with the same seed (`sampler.match`): the
same tasks, so the same steps to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.game import GameDescription
from common.policy import Policy
from common.task import EpisodeSummary
from sampler.arena import DEFAULT_LANES, Arena
from sampler.games import make_batched
from sampler.games.base import Floats, Lanes, StepResult
from sampler.games.mujoco_game import MujocoGame
from sampler.match import EPISODES_PER_TASK, match_tasks

PickRule = Literal["first", "win", "loss", "median"]

# So many episodes are searched for wins or losses, or for those of median length.
MOST_SEARCHED = 10 * EPISODES_PER_TASK
MEDIAN_OF = 2 * EPISODES_PER_TASK


@dataclass(frozen=True, eq=False)
class Replay:
    """An episode with everything needed to draw it.

    Attributes:
        number: which episode of the match-up.
        start: the seed of the game's start.
        positions: (length + 1, nq), `qpos` before the first step and after each.
        dense: (length, 2), each side's dense reward of each step.
        contacts: (length,), contacts between the two bodies in each step.
        summary: what the episode came to.
    """

    number: int
    start: int
    positions: NDArray[np.float64]
    dense: NDArray[np.float32]
    contacts: NDArray[np.int32]
    summary: EpisodeSummary


@dataclass
class _Tape:
    start: int
    positions: list[NDArray[np.float64]]
    dense: list[NDArray[np.float32]] = field(default_factory=list)
    contacts: list[int] = field(default_factory=list)

    def replay(self, number: int, summary: EpisodeSummary) -> Replay:
        return Replay(
            number,
            self.start,
            np.stack(self.positions),
            np.stack(self.dense),
            np.array(self.contacts, np.int32),
            summary,
        )


class RecordingGame:
    """A game with bodies that keeps what happens in its lanes. See `BatchedGame`.

    Attributes:
        ended: tapes of the episodes that have ended, in the order in which the arena tells of them.
    """

    def __init__(self, game: MujocoGame) -> None:
        self._game = game
        self._tapes: dict[int, _Tape] = {}
        self.ended: list[_Tape] = []

    @property
    def description(self) -> GameDescription:
        """See `BatchedGame`."""
        return self._game.description

    @property
    def lanes(self) -> int:
        """See `BatchedGame`."""
        return self._game.lanes

    def reset(self, lanes: Lanes, seeds: Sequence[int]) -> None:
        """See `BatchedGame`."""
        self._game.reset(lanes, seeds)
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            self._tapes[lane] = _Tape(seed, [self._game.get_state(lane)[0]])

    def observe(self, side: int, lanes: Lanes) -> Floats:
        """See `BatchedGame`."""
        return self._game.observe(side, lanes)

    def step(self, lanes: Lanes, actions: Sequence[Floats]) -> StepResult:
        """See `BatchedGame`."""
        result = self._game.step(lanes, actions)
        over = result.terminated | result.truncated
        for row, lane in enumerate(lanes.tolist()):
            tape = self._tapes[lane]
            tape.positions.append(self._game.get_state(lane)[0])
            tape.dense.append(result.dense[row])
            tape.contacts.append(int(result.contacts[row]))
            if over[row]:
                self.ended.append(tape)
        return result


def bodies(game: str, physics: str, lanes: int = 1) -> MujocoGame:
    """A game with bodies. Raises UserError if there is none of that name, or nothing to be seen."""
    made = make_batched(game, physics, lanes)
    if not isinstance(made, MujocoGame):
        raise UserError(f"{game} has no bodies: there is nothing to be seen")
    return made


def scene(game: str, physics: str, replay: Replay) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Model and data at the start of an episode, with what its seed decides (the sumo ring)."""
    made = bodies(game, physics)
    made.reset(np.zeros(1, np.int64), [replay.start])
    return made.snapshot(0)


def replays(
    game: str, physics: str, policies: Mapping[str, Policy], episodes: int, seed: int
) -> Iterator[Replay]:
    """The episodes of a match-up in their order, played when they are asked for.

    Args:
        game: a game with bodies.
        physics: physics profile.
        policies: one for each side, by the side's name.
        episodes: of the match-up.
        seed: of the match-up.

    Raises:
        UserError: the game has no bodies; else as `match_tasks`.
        ArenaError: as `Arena.play`.
    """
    recording: list[RecordingGame] = []

    def make(name: str, profile: str, lanes: int) -> RecordingGame:
        recording.append(RecordingGame(bodies(name, profile, lanes)))
        return recording[-1]

    arena = Arena(game, physics, DEFAULT_LANES, make)
    by_hash = {policy.hash: policy for policy in policies.values()}
    for task in match_tasks(arena.description, policies, episodes, seed):
        recording[-1].ended.clear()
        start = task.task_id * EPISODES_PER_TASK
        records = list(arena.play(task, by_hash))
        played = zip(records, recording[-1].ended, strict=True)
        for record, tape in sorted(played, key=lambda both: both[0].index):
            yield tape.replay(start + record.index, record.summary)


def searched(number: int, rule: PickRule) -> int:
    """Of how many episodes a match-up must be for `choose` to find so many by that rule."""
    if rule == "first":
        return number
    return max(MEDIAN_OF, number) if rule == "median" else MOST_SEARCHED


def choose(
    episodes: Iterator[Replay], number: int, rule: PickRule, side: int, name: str
) -> list[Replay]:
    """Picks episodes to show, in their order.

    Args:
        episodes: of a match-up of `searched(number, rule)` episodes.
        number: how many.
        rule: the first; those that the side wins or loses; those whose length is nearest to the
            median.
        side: the side meant by `win` and `loss`.
        name: its name.

    Raises:
        UserError: there are not so many among the first `MOST_SEARCHED`.
    """
    if rule == "first":
        return list(islice(episodes, number))
    if rule == "median":
        candidates = list(episodes)
        middle = median(episode.summary.length for episode in candidates)
        nearest = sorted(candidates, key=lambda e: abs(e.summary.length - middle))[:number]
        return sorted(nearest, key=lambda episode: episode.number)
    winner = side if rule == "win" else 1 - side
    found = list(islice((e for e in episodes if e.summary.winner == winner), number))
    if len(found) < number:
        verb = "won" if rule == "win" else "lost"
        raise UserError(f"{name} {verb} {len(found)} of {MOST_SEARCHED} episodes, not {number}")
    return found
