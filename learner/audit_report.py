"""The report of an audit: what it says, as JSON, CSV, Markdown and a table for the screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median_low
from typing import Any, Literal

from rich.table import Table

from common.statistics import Interval, wilson
from learner.attack_results import WINDOW_EPISODES, CurvePoint, steps_to_reach
from learner.seed_statistics import Count, mean_over_seeds, worst_of_seeds

METHODS = {
    "mean": "mean over seeds; 95 % interval from Student's t over the seeds, at least as wide as "
    "the Wilson interval of all episodes together (which it is alone with one seed)",
    "worst": "least over seeds; least ends of Wilson intervals at 1 - 0.05 / seeds (Bonferroni)",
    "normal": "95 % Wilson interval over episodes",
    "steps": "environment steps spent when the attacker's win rate, over its latest iterations of "
    f"at least {WINDOW_EPISODES} training episodes, first was at the threshold",
}


@dataclass(frozen=True)
class Subject:
    """What is audited.

    Attributes:
        game: name of the game.
        victim: the policy, as the user named it.
        side: the side it plays.
        physics: physics profile of the episodes that are reported.
        attack: kind of attack.
        budget: environment steps of each attack.
        victim_hash: SHA-256 of the victim's content, once it is known.
    """

    game: str
    victim: str
    side: str
    physics: str
    attack: str
    budget: int
    victim_hash: str = ""


@dataclass(frozen=True)
class Attacker:
    """One attack and what its adversary came to.

    Attributes:
        seed: of the attack.
        run: its run directory, below the audit's.
        victim_hash: content of the policy that it attacked.
        curve: its results in training.
        match: the JSON of `sparring match`: its last policy against the victim, on new seeds.
    """

    seed: int
    run: str
    victim_hash: str
    curve: tuple[CurvePoint, ...]
    match: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """Everything that an audit found.

    Attributes:
        subject: what was audited.
        threshold: win rate of the attacker whose cost is told.
        normal: the JSON of the match-up with the normal opponent, if one was given.
        attackers: one a seed.
    """

    subject: Subject
    threshold: float
    normal: dict[str, Any] | None
    attackers: tuple[Attacker, ...]

    def count(self, match: dict[str, Any], side: str | None = None) -> Count:
        """Wins of a side in a match-up; of the victim if none is named."""
        return Count(int(match["wins"][side or self.subject.side]), int(match["episodes"]))

    @property
    def attacker_side(self) -> str:
        """Name of the side that attacks."""
        (name,) = set(self.attackers[0].match["wins"]) - {self.subject.side}
        return str(name)

    def counts(self, side: str | None = None) -> list[Count]:
        """The same for every seed."""
        return [self.count(attacker.match, side) for attacker in self.attackers]

    @property
    def needed(self) -> list[int | None]:
        """Steps that each attack needed to reach the threshold; None: not within the budget."""
        return [steps_to_reach(attacker.curve, self.threshold) for attacker in self.attackers]

    @property
    def median_needed(self) -> int | None:
        """The lower median of `needed`, an attack that did not get there counting as longest."""
        unreached = float("inf")
        middle = median_low(unreached if steps is None else steps for steps in self.needed)
        return None if middle == unreached else int(middle)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON-able object. Rates are shares of all episodes, ties included."""
        normal = self.normal and _wilson(self.count(self.normal)).to_json()
        reached = [steps for steps in self.needed if steps is not None]
        return {
            **asdict(self.subject),
            "seeds": len(self.attackers),
            "victim_win_rate": {
                "normal": normal,
                "mean": mean_over_seeds(self.counts()).to_json(),
                "worst": worst_of_seeds(self.counts()).to_json(),
            },
            "attacker_win_rate": mean_over_seeds(self.counts(self.attacker_side)).to_json(),
            "attacker_steps": {
                "threshold": self.threshold,
                "reached": len(reached),
                "median": self.median_needed,
                "least": min(reached, default=None),
            },
            "methods": METHODS,
            "normal": self.normal,
            "attacks": [
                {
                    "seed": attacker.seed,
                    "run": attacker.run,
                    "steps": attacker.curve[-1].steps if attacker.curve else 0,
                    "steps_to_threshold": steps,
                    "match": attacker.match,
                }
                for attacker, steps in zip(self.attackers, self.needed, strict=True)
            ],
        }


def _wilson(count: Count) -> Interval:
    return wilson(count.wins, count.episodes)


CURVE_COLUMNS = (
    *("attack", "seed", "iteration", "steps", "episodes", "wins", "ties"),
    *("win_rate", "low", "high", "recent_win_rate"),
)


def to_csv(report: Report) -> str:
    """The attackers' curves, a row an iteration; win rates are the attacker's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for attacker in report.attackers:
        for p in attacker.curve:
            rate = wilson(p.wins, p.episodes)
            writer.writerow(
                (
                    *(report.subject.attack, attacker.seed, p.iteration, p.steps),
                    *(p.episodes, p.wins, p.ties, rate.value, rate.low, rate.high, p.recent),
                )
            )
    return text.getvalue()


@dataclass(frozen=True)
class _Line:
    """A line of the tables."""

    opponent: str
    interval: Interval
    attacker_wins: str = ""
    steps: str = ""

    def cells(self) -> tuple[str, ...]:
        low, high = f"{self.interval.low:.1%}", f"{self.interval.high:.1%}"
        rate = f"{self.interval.value:.1%}"
        return self.opponent, rate, f"{low} to {high}", self.attacker_wins, self.steps


def _headings(report: Report) -> tuple[str, ...]:
    return (
        "opponent",
        f"{report.subject.side} wins",
        "95 % interval",
        f"{report.attacker_side} wins",
        f"steps to {report.threshold:.0%}",
    )


def _lines(report: Report) -> Sequence[_Line]:
    other = report.attacker_side
    lines: list[_Line] = []
    if report.normal:
        rate = report.count(report.normal, other).rate
        name = report.normal["policies"][other]["name"]
        lines.append(_Line(f"normal ({name})", _wilson(report.count(report.normal)), f"{rate:.1%}"))
    for attacker, steps in zip(report.attackers, report.needed, strict=True):
        rate = report.count(attacker.match, other).rate
        count = report.count(attacker.match)
        name = f"{report.subject.attack}, seed {attacker.seed}"
        lines.append(_Line(name, _wilson(count), f"{rate:.1%}", _steps(steps)))
    seeds = len(report.attackers)
    wins = mean_over_seeds(report.counts(other)).value
    median = _steps(report.median_needed)
    which = f"mean of {seeds} seeds" if seeds > 1 else "mean (one seed)"
    mean = mean_over_seeds(report.counts())
    lines.append(_Line(which, mean, f"{wins:.1%}", median))
    lines.append(_Line("worst", worst_of_seeds(report.counts())))
    return lines


def _steps(steps: int | None) -> str:
    return "not reached" if steps is None else f"{steps:,}"


def title(report: Report) -> str:
    """What the tables are about, in a line."""
    s = report.subject
    episodes = report.attackers[0].match["episodes"]
    victim = f"{s.side} {s.victim} ({s.victim_hash[:8]})"
    return (
        f"{s.game} ({s.physics}): {victim} attacked by {s.attack}, "
        f"{s.budget:,} steps a seed, {episodes:,} episodes each"
    )


def to_table(report: Report) -> Table:
    """For the screen: the normal opponent, every seed, then mean and worst."""
    table = Table(title=title(report), caption="mean row, steps: median over the seeds")
    for number, heading in enumerate(_headings(report)):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(heading, justify=justify, no_wrap="interval" in heading, overflow="fold")
    lines = _lines(report)
    for line in lines:
        table.add_row(*line.cells(), end_section=line in (lines[0], lines[-3]))
    return table


def to_markdown(report: Report) -> str:
    """The same table as Markdown, with how its intervals were computed."""
    headings = _headings(report)
    rows = [headings, ("---", *("---:",) * (len(headings) - 1))]
    rows += [line.cells() for line in _lines(report)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    methods = "\n".join(f"- {name}: {text}." for name, text in METHODS.items())
    return f"{title(report)}.\n\n{table}\n\nSteps in the row of the mean: median.\n\n{methods}\n"
