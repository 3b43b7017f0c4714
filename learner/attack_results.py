"""What a run of an attack left: its curve, its last adversary, whether it is finished.

Reads run directories as `sparring train` and `sparring search` write them, without loading torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.runs import RunDirectory

ADVERSARY = "adversary-0"
VICTIM = "victim"

# The share of so many episodes is known to about +-10 percentage points.
WINDOW_EPISODES = 100


@dataclass(frozen=True)
class CurvePoint:
    """An attacker's results in one iteration of its training.

    Attributes:
        iteration: of its run, from 1.
        steps: environment steps spent so far, those of this iteration included.
        episodes: of this iteration.
        wins: of the attacker.
        ties: episodes that nobody won.
        recent: its win rate in the latest iterations that have `WINDOW_EPISODES` episodes together;
            None before there are so many.
    """

    iteration: int
    steps: int
    episodes: int
    wins: int
    ties: int
    recent: float | None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; a half line at the end, after a crash, is left out."""
    content = path.read_bytes() if path.exists() else b""
    try:
        for line in content[: content.rfind(b"\n") + 1].splitlines():
            yield json.loads(line)
    except ValueError as error:
        raise UserError(f"{path} holds a line that is no JSON: {error}") from error


def is_finished(run: RunDirectory) -> bool:
    """Whether the schedule of the run has come to its end."""
    return any(event["event"] == "end" for event in read_lines(run.events))


def victim_hash(run: RunDirectory) -> str:
    """Content hash of the frozen victim that the run attacked. Raises UserError if untold."""
    for event in read_lines(run.events):
        if event["event"] == "burst_start":
            return str(event["policies"][VICTIM]["hash"])
    raise UserError(f"{run.events} does not tell which victim was attacked")


def newest_policy(run: RunDirectory, name: str = ADVERSARY) -> Path:
    """File of the newest version of a policy. Raises UserError if there is none."""
    if not (versions := run.versions(name)):
        raise UserError(f"{run.path} holds no policy {name}")
    return run.policy(name, versions[-1])


def curve(run: RunDirectory) -> list[CurvePoint]:
    """The attacker's results, iteration by iteration."""
    points: list[CurvePoint] = []
    for row in read_lines(run.metrics):
        if row["policy"] != ADVERSARY:
            continue
        episodes, ties = int(row["episodes"]), int(row["ties"])
        wins = sum(int(count["wins"]) for count in row["against"].values())
        seen = [(point.episodes, point.wins) for point in points[: -WINDOW_EPISODES - 1 : -1]]
        steps = int(row["policy_steps"])
        recent = _recent([(episodes, wins), *seen])
        points.append(CurvePoint(int(row["iteration"]), steps, episodes, wins, ties, recent))
    return points


def _recent(latest_first: Sequence[tuple[int, int]]) -> float | None:
    episodes = wins = 0
    for played, won in latest_first:
        episodes, wins = episodes + played, wins + won
        if episodes >= WINDOW_EPISODES:
            return wins / episodes
    return None


def steps_to_reach(points: Sequence[CurvePoint], threshold: float) -> int | None:
    """Environment steps spent when the attacker's recent win rate first was at `threshold`.

    The measure of Czempin and Gleave, "Reducing Exploitability with Population Based Training",
    2022 (arXiv:2208.05083): steps of attacker training needed to exploit the victim. None if the
    budget did not suffice.
    """
    for point in points:
        if point.recent is not None and point.recent >= threshold:
            return point.steps
    return None
