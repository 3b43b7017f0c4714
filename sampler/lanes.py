"""What the arena keeps of the episodes in its lanes: who plays, what it saw and did, the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.policy import Float32, Policy
from common.task import Episode, EpisodeSummary, RolloutTask
from sampler.games.base import Lanes, StepResult

NOISE_BLOCK = 64
FIRST_CAPACITY = 128


@dataclass(eq=False)
class _Group:
    """The rows of one side that one policy plays, and their recurrent states (rows, s)."""

    policy: Policy
    rows: slice | NDArray[np.int64]
    state: Float32


class Seats:
    """One side of all lanes: its policies, with their noise and recurrent states."""

    def __init__(
        self, side: int, task: RolloutTask, policies: Mapping[str, Policy], lanes: int
    ) -> None:
        self._side = side
        # Their order here is the order of the groups: by first appearance in the task.
        self._policies = {
            key: policies[key]
            for key in dict.fromkeys(episode.policies[side] for episode in task.episodes)
        }
        self._width = max((p.spec.action_size for p in self._policies.values()), default=0)
        self._noise: Float32 | None = None
        if not task.deterministic[side]:
            self._noise = np.zeros((lanes, NOISE_BLOCK, self._width), np.float32)
        self._keys = [""] * lanes
        self._states: dict[int, Float32] = {}
        self._streams: dict[int, np.random.Generator] = {}
        self._groups: list[_Group] = []

    def start(self, lane: int, episode: Episode, seed: np.random.SeedSequence) -> None:
        """Seats the policy of a new episode, with a stream of noise of its own."""
        self._keys[lane] = episode.policies[self._side]
        self._states[lane] = self._policies[self._keys[lane]].initial_state(1)[0]
        self._streams[lane] = np.random.Generator(np.random.PCG64(seed))

    def gather(self, lanes: Lanes) -> None:
        """Forms the groups of these lanes, which then act together until `scatter`."""
        self._groups = []
        numbers = lanes.tolist()
        for key, policy in self._policies.items():
            rows = [row for row, lane in enumerate(numbers) if self._keys[lane] == key]
            if rows:
                state = np.stack([self._states[numbers[row]] for row in rows])
                # A slice, because the commonest case then needs no copies.
                whole = len(rows) == len(numbers)
                self._groups.append(_Group(policy, slice(None) if whole else np.array(rows), state))

    def scatter(self, lanes: Lanes) -> None:
        """Gives each of the lanes last gathered its recurrent state back."""
        for group in self._groups:
            for lane, state in zip(lanes[group.rows].tolist(), group.state, strict=True):
                self._states[lane] = state

    def act(self, lanes: Lanes, steps: Lanes, observations: Float32) -> Float32:
        """Actions (k, a) of the k lanes last gathered, one forward pass per group.

        Args:
            lanes: (k,).
            steps: (k,), steps that each lane has played.
            observations: (k, obs).
        """
        noise = None if self._noise is None else self._next_noise(self._noise, lanes, steps)
        if len(self._groups) == 1:
            (group,) = self._groups
            actions, group.state = group.policy.act(observations, group.state, noise)
            return actions
        actions = np.empty((len(lanes), self._width), np.float32)
        for group in self._groups:
            actions[group.rows], group.state = group.policy.act(
                observations[group.rows], group.state, None if noise is None else noise[group.rows]
            )
        return actions

    def _next_noise(self, blocks: Float32, lanes: Lanes, steps: Lanes) -> Float32:
        columns = steps % NOISE_BLOCK
        if np.count_nonzero(columns) < len(columns):
            for lane in lanes[columns == 0].tolist():
                policy = self._policies[self._keys[lane]]
                blocks[lane] = policy.noise(self._streams[lane], NOISE_BLOCK)
        noise: Float32 = blocks[lanes, columns]
        return noise


class Tape:
    """What one side of each lane saw and did; grows with the longest episode."""

    def __init__(
        self, side: int, sides: int, lanes: int, observation_size: int, action_size: int
    ) -> None:
        self.side = side
        self._observations = _buffer(lanes, observation_size)
        self._actions = _buffer(lanes, action_size)
        self._dense = _buffer(lanes, sides)
        self._outcome = _buffer(lanes, sides)

    def see(self, lanes: Lanes, steps: Lanes, observations: Float32) -> None:
        """Keeps what k lanes show after `steps` (k,) steps: observations (k, obs)."""
        if steps.max() >= self._observations.shape[1]:
            self._observations = _doubled(self._observations)
            self._actions = _doubled(self._actions)
            self._dense = _doubled(self._dense)
            self._outcome = _doubled(self._outcome)
        self._observations[lanes, steps] = observations

    def do(self, lanes: Lanes, steps: Lanes, actions: Float32, result: StepResult) -> None:
        """Keeps what k lanes did after `steps` (k,) steps, and what came of it."""
        self._actions[lanes, steps] = actions
        self._dense[lanes, steps] = result.dense
        self._outcome[lanes, steps] = result.outcome

    def cut(self, lane: int, length: int) -> tuple[Float32, Float32, Float32]:
        """Observations, actions and rewards of a lane's episode, as an EpisodeRecord has them."""
        outcome = self._outcome[lane, :length]
        rewards = np.zeros((length, 3), np.float32)
        rewards[:, 0] = self._dense[lane, :length, self.side]
        rewards[:, 1] = outcome[:, self.side]
        if outcome.shape[1] == 2:
            rewards[:, 2] = outcome[:, 1 - self.side]
        seen = self._observations[lane, : length + 1].copy()
        return seen, self._actions[lane, :length].copy(), rewards


def _buffer(lanes: int, width: int) -> Float32:
    return np.empty((lanes, FIRST_CAPACITY, width), np.float32)


def _doubled(buffer: Float32) -> Float32:
    lanes, capacity, width = buffer.shape
    larger = np.empty((lanes, 2 * capacity, width), np.float32)
    larger[:, :capacity] = buffer
    return larger


class Score:
    """The episodes being played, a row each: what they came to so far.

    Attributes:
        lanes: (k,), where each is played; ascending.
        index: (k,), its position in the task.
        steps: (k,), steps played.
    """

    def __init__(self, count: int, sides: int) -> None:
        self.lanes: Lanes = np.arange(count)
        self.index = np.zeros(count, np.int64)
        self.steps = np.zeros(count, np.int64)
        self._dense = np.zeros((count, sides))
        self._outcome = np.zeros((count, sides))
        self._contacts = np.zeros(count, np.int32)

    def start(self, row: int, index: int) -> None:
        """A new episode takes over a row and its lane."""
        self.index[row] = index
        for counted in (self.steps, self._dense, self._outcome, self._contacts):
            counted[row] = 0

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drops the rows (k,) that are false."""
        self.lanes, self.index, self.steps = self.lanes[rows], self.index[rows], self.steps[rows]
        self._dense, self._outcome = self._dense[rows], self._outcome[rows]
        self._contacts = self._contacts[rows]

    def count(self, result: StepResult) -> None:
        """Adds a step of all rows."""
        # A new array, because whoever holds the old one means the steps before this one.
        self.steps = self.steps + 1
        self._dense += result.dense
        self._outcome += result.outcome
        np.maximum(self._contacts, result.contacts, out=self._contacts)

    def summary(self, row: int, result: StepResult) -> EpisodeSummary:
        """What the episode of a row came to, given its last step."""
        return EpisodeSummary(
            length=int(self.steps[row]),
            winner=int(result.winner[row]),
            truncated=bool(result.truncated[row] and not result.terminated[row]),
            dense=tuple(self._dense[row].tolist()),
            outcome=tuple(self._outcome[row].tolist()),
            contacts=int(self._contacts[row]),
        )
