"""The table that a tournament writes and the analysis reads: one row a pair of policies, tidy."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from common.game import GameDescription
from common.statistics import wilson
from common.task import EpisodeSummary


@dataclass(frozen=True)
class Entrant:
    """A policy of a tournament.

    Attributes:
        name: as the user gave it, e.g. `run:attack-001/adversary-0@120`.
        version: of the policy.
        hash: SHA-256 of its content.
    """

    name: str
    version: int
    hash: str


@dataclass(frozen=True)
class MatchRow:
    """What the episodes of a pair came to. 0 and 1 are the sides, in the order of the game.

    Attributes:
        game: the game's name.
        physics: physics profile.
        seed: the seed of the tournament; episode e of every pair has the same seed.
        side0: name of side 0, e.g. `blocker`.
        side1: name of side 1.
        policy0: who played side 0, as the user named it.
        policy1: who played side 1.
        version0: version of that policy.
        version1: version of that policy.
        hash0: SHA-256 of that policy's content.
        hash1: SHA-256 of that policy's content.
        episodes: episodes counted.
        wins0: episodes that side 0 won.
        wins1: episodes that side 1 won.
        ties: episodes that nobody won.
        win_rate0: wins0 / episodes.
        low0: lower end of its 95 % Wilson interval.
        high0: upper end.
        win_rate1: wins1 / episodes.
        low1: lower end of its 95 % Wilson interval.
        high1: upper end.
        length: mean steps of an episode.
        contacts: mean over the episodes of the most contacts between the sides in any step.
        contactless_wins0: episodes that side 0 won and in which the sides never touched.
        contactless_wins1: the same of side 1.
        dense0: mean over the episodes of the sum of side 0's dense rewards.
        dense1: the same of side 1.
        outcome0: mean over the episodes of the sum of side 0's win/loss rewards.
        outcome1: the same of side 1.
    """

    game: str
    physics: str
    seed: int
    side0: str
    side1: str
    policy0: str
    policy1: str
    version0: int
    version1: int
    hash0: str
    hash1: str
    episodes: int
    wins0: int
    wins1: int
    ties: int
    win_rate0: float
    low0: float
    high0: float
    win_rate1: float
    low1: float
    high1: float
    length: float
    contacts: float
    contactless_wins0: int
    contactless_wins1: int
    dense0: float
    dense1: float
    outcome0: float
    outcome1: float


COLUMNS = tuple(field.name for field in fields(MatchRow))


def match_row(
    description: GameDescription,
    seed: int,
    entrants: tuple[Entrant, Entrant],
    summaries: Sequence[EpisodeSummary],
) -> MatchRow:
    """Counts the episodes of a pair.

    Args:
        description: a game with two sides.
        seed: of the tournament.
        entrants: who played sides 0 and 1.
        summaries: its episodes, at least one, in their order (the last bit of a mean depends on
            it).
    """
    first, second = entrants
    count = len(summaries)
    winners = [summary.winner for summary in summaries]
    untouched = [summary.winner for summary in summaries if summary.contacts == 0]
    rate0, rate1 = (wilson(winners.count(side), count) for side in (0, 1))
    return MatchRow(
        game=description.name,
        physics=description.physics,
        seed=seed,
        side0=description.sides[0].name,
        side1=description.sides[1].name,
        policy0=first.name,
        policy1=second.name,
        version0=first.version,
        version1=second.version,
        hash0=first.hash,
        hash1=second.hash,
        episodes=count,
        wins0=winners.count(0),
        wins1=winners.count(1),
        ties=winners.count(-1),
        win_rate0=rate0.value,
        low0=rate0.low,
        high0=rate0.high,
        win_rate1=rate1.value,
        low1=rate1.low,
        high1=rate1.high,
        length=_mean(summary.length for summary in summaries),
        contacts=_mean(summary.contacts for summary in summaries),
        contactless_wins0=untouched.count(0),
        contactless_wins1=untouched.count(1),
        dense0=_mean(summary.dense[0] for summary in summaries),
        dense1=_mean(summary.dense[1] for summary in summaries),
        outcome0=_mean(summary.outcome[0] for summary in summaries),
        outcome1=_mean(summary.outcome[1] for summary in summaries),
    )


def to_csv(rows: Iterable[MatchRow]) -> str:
    """The table as CSV with a heading; floats with all their digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
