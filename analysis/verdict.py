"""Is a hardened victim better? Three questions, each answered yes, no, or not yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.tables import Tournament
from analysis.uncertainty import newcombe
from common.errors import UserError
from common.statistics import Interval, wilson

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Question:
    """Who is judged, and against whom. Names as in the tournament table.

    Attributes:
        side: name of the victim's side.
        victim: the hardened victim.
        before: the same victim before it was hardened.
        normal: normal opponents.
        met: every adversary it met in training.
        fresh: adversaries trained against the hardened victim afterwards.
        budget: environment steps that each fresh adversary was trained for.
        margin: how much of its win rate against normal opponents it may lose.
        floor: the win rate that it should reach against every adversary.
        confidence: of the intervals.
    """

    side: str
    victim: str
    before: str
    normal: Sequence[str]
    met: Sequence[str]
    fresh: Sequence[str]
    budget: int
    margin: float = 0.05
    floor: float = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.victim == self.before:
            raise UserError(f"the victim and the victim before are both {self.victim}")
        for name in ("margin", "floor", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, should be between 0 and 1")
        if self.fresh and self.budget < 1:
            raise UserError(f"the budget of the fresh adversaries is {self.budget} steps")


@dataclass(frozen=True, eq=False)
class Part:
    """One of the three answers.

    Attributes:
        name: `normal opponents`, `met adversaries` or `fresh adversaries trained for N steps`.
        outcome: pass if every opponent's interval lies at or above the threshold; fail if one lies
            below it even when widened for the number of opponents (Bonferroni); else inconclusive.
        threshold: what `value` should reach.
        opponents: one row an opponent: opponent, episodes, wins, value, low, high; for normal
            opponents also episodes_before and wins_before, and value is the difference of the win
            rates; otherwise it is the win rate.
        worst: the least value and its interval; None where nobody was played.
        sentence: the answer in words.
    """

    name: str
    outcome: Outcome
    threshold: float
    opponents: pd.DataFrame
    worst: Interval | None
    sentence: str


@dataclass(frozen=True, eq=False)
class Verdict:
    """The three answers, and all of them together: fail if one fails, pass if all pass."""

    question: Question
    normal: Part
    met: Part
    fresh: Part

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        """Normal opponents, adversaries met in training, fresh adversaries."""
        return self.normal, self.met, self.fresh

    @property
    def outcome(self) -> Outcome:
        """The answer to all three questions."""
        outcomes = {part.outcome for part in self.parts}
        if "fail" in outcomes:
            return "fail"
        return "pass" if outcomes == {"pass"} else "inconclusive"


def verdict(tournament: Tournament, question: Question) -> Verdict:
    """Answers the three questions from a tournament.

    1. Against each normal opponent, win rate now less win rate before: not below -margin
       (Newcombe's interval of a difference of proportions; a non-inferiority test).
    2. Against each adversary met in training, win rate: not below the floor (Wilson's interval).
    3. The same against fresh adversaries of the given budget.

    Raises:
        UserError: an unknown side or policy; a match-up was not played.
    """
    side = tournament.side_index(question.side)
    tournament.check_policies(side, [question.victim, question.before])
    record = _Record(tournament, side)
    change, rate = _Change(record, question), _Rate(record, question)
    fresh = "fresh adversaries"
    if question.fresh:
        fresh += f" trained for {question.budget:,} steps"
    return Verdict(
        question,
        _part("normal opponents", question.normal, change, -question.margin, question.confidence),
        _part("met adversaries", question.met, rate, question.floor, question.confidence),
        _part(fresh, question.fresh, rate, question.floor, question.confidence),
    )


@dataclass(frozen=True, eq=False)
class _Record:
    tournament: Tournament
    side: int

    def of(self, victim: str, opponent: str) -> tuple[int, int]:
        """Wins and episodes."""
        names = (victim, opponent) if self.side == 0 else (opponent, victim)
        row = self.tournament.match_up(*names)
        return int(row[f"wins{self.side}"]), int(row["episodes"])


@dataclass(frozen=True, eq=False)
class _Change:
    record: _Record
    question: Question

    def __call__(self, opponent: str, confidence: float) -> tuple[Interval, dict[str, Any]]:
        wins, episodes = self.record.of(self.question.victim, opponent)
        wins_before, before = self.record.of(self.question.before, opponent)
        return newcombe(wins, episodes, wins_before, before, confidence), {
            "episodes": episodes,
            "wins": wins,
            "episodes_before": before,
            "wins_before": wins_before,
        }


@dataclass(frozen=True, eq=False)
class _Rate:
    record: _Record
    question: Question

    def __call__(self, opponent: str, confidence: float) -> tuple[Interval, dict[str, Any]]:
        wins, episodes = self.record.of(self.question.victim, opponent)
        return wilson(wins, episodes, confidence), {"episodes": episodes, "wins": wins}


_Measure = Callable[[str, float], tuple[Interval, dict[str, Any]]]


def _part(
    name: str, opponents: Sequence[str], measure: _Measure, threshold: float, confidence: float
) -> Part:
    if not opponents:
        sentence = f"{name}: none were played"
        return Part(name, "inconclusive", threshold, pd.DataFrame(), None, sentence)
    rows, widened = [], []
    for opponent in opponents:
        interval, counted = measure(opponent, confidence)
        # Among many opponents one would look too bad by chance.
        widened.append(measure(opponent, 1 - (1 - confidence) / len(opponents))[0])
        rows.append({"opponent": opponent, **counted, **interval.to_json()})
    frame = pd.DataFrame(rows)
    outcome: Outcome = "inconclusive"
    if (frame["low"] >= threshold).all():
        outcome = "pass"
    elif any(interval.high < threshold for interval in widened):
        outcome = "fail"
    least = frame.iloc[int(frame["value"].to_numpy().argmin())]
    worst = Interval(float(least["value"]), float(least["low"]), float(least["high"]))
    sentence = (
        f"{name}: {outcome}; worst against {least['opponent']}, {worst.value:+.1%} "
        f"({worst.low:+.1%} to {worst.high:+.1%}), should be at least {threshold:+.1%}"
        if threshold < 0
        else f"{name}: {outcome}; worst against {least['opponent']}, {worst.value:.1%} "
        f"({worst.low:.1%} to {worst.high:.1%}), should be at least {threshold:.1%}"
    )
    return Part(name, outcome, threshold, frame, worst, sentence)
