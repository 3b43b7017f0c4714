"""What a tournament has to play: pairs, chunks of episodes, and how many each pair needs. Pure.

What a pair plays follows from the policies, the seed and the results of its own earlier episodes
alone; so the results depend neither on the number of workers nor on interruptions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, inf
from typing import NamedTuple

from common.errors import UserError
from common.game import GameDescription
from common.statistics import wilson
from common.task import Episode, EpisodeSummary, RolloutTask
from sampler.arena import DEFAULT_LANES
from sampler.match import EPISODES_PER_TASK, Summaries, episode_seed


class Pair(NamedTuple):
    """A match-up: content hashes of the policies of sides 0 and 1."""

    side0: str
    side1: str


class Chunk(NamedTuple):
    """Episodes `start` to `start + size - 1` of a pair, played as one rollout task."""

    pair: Pair
    start: int
    size: int


def all_pairs(hashes0: Iterable[str], hashes1: Iterable[str]) -> list[Pair]:
    """Every policy of side 0 against every policy of side 1, each pair once."""
    return [Pair(*pair) for pair in product(dict.fromkeys(hashes0), dict.fromkeys(hashes1))]


@dataclass(frozen=True)
class Rule:
    """How many episodes a pair plays; also options of the command.

    Attributes:
        episodes: Episodes of each pair; the least number with --until-width, which plays them in
            sixteens.
        until_width: Play each pair on until the 95 % intervals of both win rates are at most so
            wide, e.g. 0.1.
        max_episodes: But at most so many episodes of a pair.

    Raises:
        UserError: a number is out of its range.
    """

    episodes: int = 100
    until_width: float | None = None
    max_episodes: int | None = None

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"--episodes {self.episodes}: should be at least 1")
        if self.max_episodes is not None:
            if self.until_width is None:
                raise UserError("--max-episodes limits --until-width, which is not given")
            if self.max_episodes < self.episodes:
                raise UserError(
                    f"--max-episodes {self.max_episodes}: should be at least --episodes, "
                    f"which is {self.episodes}"
                )
        if self.until_width is not None and not 0 < self.until_width < 1:
            raise UserError(f"--until-width {self.until_width}: should be between 0 and 1")

    def target(self, winners: Sequence[int]) -> int:
        """How many episodes a pair should have, as far as its episodes so far can tell.

        With `until_width` a pair is looked at after a first round, and then after rounds that grow
        towards the number it seems to need. A look sees only the episodes of the rounds before it,
        whatever else has been played, so that it always comes to the same.

        Args:
            winners: of its first episodes: 0, 1, or -1 for a tie.
        """
        if self.until_width is None:
            return self.episodes
        target = self._limited(self.episodes)
        while len(winners) >= target:
            width = interval_width(winners[:target])
            following = self._limited(_next_look(target, width / self.until_width))
            if width <= self.until_width or following == target:
                break
            target = following
        return target

    def _limited(self, episodes: int) -> int:
        whole = ceil(episodes / EPISODES_PER_TASK) * EPISODES_PER_TASK
        return whole if self.max_episodes is None else min(whole, self.max_episodes)


def interval_width(winners: Sequence[int]) -> float:
    """Width of the wider of both sides' 95 % Wilson intervals."""
    intervals = (wilson(winners.count(side), len(winners)) for side in (0, 1))
    return max(interval.high - interval.low for interval in intervals)


def _next_look(episodes: int, excess: float) -> int:
    """When to look again. A width falls with the square root of the number of episodes.

    At most doubled, because the estimate may be far off; at least a tenth more, because looks that
    follow each other closely leave the workers idle.
    """
    return ceil(episodes * min(2.0, max(1.1, excess**2)))


def chunks(pair: Pair, target: int) -> list[Chunk]:
    """Cuts the first `target` episodes of a pair into chunks, as `sampler.match` does."""
    starts = range(0, target, EPISODES_PER_TASK)
    return [Chunk(pair, start, min(EPISODES_PER_TASK, target - start)) for start in starts]


def chunk_task(description: GameDescription, chunk: Chunk, seed: int) -> RolloutTask:
    """The rollout task of a chunk; episode e has the same seed in every pair."""
    numbers = range(chunk.start, chunk.start + chunk.size)
    return RolloutTask(
        task_id=chunk.start // EPISODES_PER_TASK,
        game=description.name,
        physics=description.physics,
        record=-1,
        lanes=DEFAULT_LANES,
        episodes=tuple(Episode(_seed(seed, number), tuple(chunk.pair)) for number in numbers),
        deterministic=(False,) * len(chunk.pair),
    )


_seed = lru_cache(maxsize=1 << 16)(episode_seed)


def task_chunk(task: RolloutTask) -> Chunk:
    """Inverse of `chunk_task`."""
    start = task.task_id * EPISODES_PER_TASK
    return Chunk(Pair(*task.episodes[0].policies), start, len(task.episodes))


class _Standing:
    """What is known of a pair, and what was asked for.

    Attributes:
        target: episodes it needs, as far as that is known yet.
        covered: how many of these have been played.
        steps: steps of all episodes played.
        episodes: all episodes played.
    """

    def __init__(self, pair: Pair, rule: Rule) -> None:
        self._pair = pair
        self._rule = rule
        self._chunks: dict[int, Summaries] = {}
        self._asked: set[Chunk] = set()
        self.target = rule.target(())
        self.covered = self.steps = self.episodes = 0

    def keep(self, chunk: Chunk, summaries: Summaries) -> None:
        """Takes in a chunk, unless a longer one with the same start is there already."""
        if len(summaries) <= len(self._chunks.get(chunk.start, ())):
            return
        self._chunks[chunk.start] = summaries
        self.steps += sum(summary.length for summary in summaries)
        self.episodes += len(summaries)
        self.target = self._rule.target([summary.winner for summary in self._gapless()])
        self.covered = sum(
            min(len(part), self.target - start)
            for start, part in self._chunks.items()
            if start < self.target
        )

    def missing(self) -> list[Chunk]:
        """Chunks that it needs and that were not told before."""
        fresh = [
            chunk
            for chunk in chunks(self._pair, self.target)
            if len(self._chunks.get(chunk.start, ())) < chunk.size and chunk not in self._asked
        ]
        self._asked.update(fresh)
        return fresh

    def played(self) -> list[EpisodeSummary]:
        """The episodes that count: without a gap from the first on, and no more than it needs."""
        return self._gapless()[: self.target]

    def _gapless(self) -> list[EpisodeSummary]:
        episodes: list[EpisodeSummary] = []
        while part := self._chunks.get(len(episodes)):
            episodes += part
        return episodes


class Agenda:
    """Hands out the chunks of a tournament, takes in what they came to, and knows what is left.

    Chunks go round the pairs, so that an interrupted tournament knows something of every pair and
    the time left can be told; the last few go longest first, so that the workers end together.

    Args:
        pairs: who plays whom.
        rule: how many episodes.
        known: chunks that were played before, of these pairs or others.
        last: so many chunks at the end are handed out longest first.

    Attributes:
        total: episodes that are needed, as far as that is known yet.
        done: how many of these have been played.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        rule: Rule,
        known: Iterable[tuple[Chunk, Summaries]] = (),
        last: int = 0,
    ) -> None:
        self._last = last
        self._standings = {pair: _Standing(pair, rule) for pair in pairs}
        for chunk, summaries in known:
            if standing := self._standings.get(chunk.pair):
                standing.keep(chunk, summaries)
        missing = [chunk for standing in self._standings.values() for chunk in standing.missing()]
        # Round the pairs; what the pairs end with, if it is shorter, after all else.
        self._waiting = deque(sorted(missing, key=lambda chunk: (-chunk.size, chunk.start)))
        self.total = sum(standing.target for standing in self._standings.values())
        self.done = sum(standing.covered for standing in self._standings.values())

    def draw(self) -> Chunk | None:
        """The chunk to play next; None if there is none now. What is still played may bring more.

        After that it is in the caller's hands: it is not handed out again.
        """
        if not self._waiting:
            return None
        if len(self._waiting) > self._last:
            return self._waiting.popleft()
        longest = max(self._waiting, key=self._expected_steps)
        self._waiting.remove(longest)
        return longest

    def add(self, chunk: Chunk, summaries: Summaries) -> None:
        """Takes in what a chunk came to."""
        standing = self._standings[chunk.pair]
        self.total -= standing.target
        self.done -= standing.covered
        standing.keep(chunk, summaries)
        self.total += standing.target
        self.done += standing.covered
        self._waiting.extend(standing.missing())

    def played(self, pair: Pair) -> list[EpisodeSummary]:
        """The episodes of a pair that count: without a gap, and no more than it needs."""
        return self._standings[pair].played()

    def _expected_steps(self, chunk: Chunk) -> float:
        standing = self._standings[chunk.pair]
        # A pair that nobody knows yet goes first: its episodes may be long.
        mean = standing.steps / standing.episodes if standing.episodes else inf
        return chunk.size * mean
