"""Who takes part in a tournament: from what the user asked for to loaded policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from common.errors import UserError
from common.game import GameDescription, Physics, Side
from common.match_table import Entrant
from common.policies import resolve
from common.policy import Policy
from sampler.games import describe
from sampler.picks import Pick, RunPicks, pick_from_run
from sampler.tournament_plan import Pair, all_pairs

# One or more values after one option, which may also be repeated.
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


@dataclass(frozen=True)
class Entry:
    """What the user asked for, as options of the command.

    Attributes:
        game: Name of the game, e.g. YouShallNotPassHumans. Default: that of the runs.
        run: Training runs that enter: the victim for its side, the others for the other side.
        pick: Which versions of the runs' policies: last, every:N, burst-ends or all.
        side: SIDE=POLICY, another way to say --SIDE POLICY.
        physics: The simulation as published, or one that is about 3.5 times cheaper.
        zoo: Clone of openai/multiagent-competition, for policies that start with `zoo:`.
    """

    game: str | None = None
    run: Names = ()
    pick: str = "last"
    side: Names = ()
    physics: Physics = "exact"
    zoo: Path | None = None


@dataclass(frozen=True)
class Field:
    """Who takes part.

    Attributes:
        description: the game.
        entrants: of side 0 and of side 1; no name comes twice on a side, a content may.
        policies: by content hash.
    """

    description: GameDescription
    entrants: tuple[tuple[Entrant, ...], tuple[Entrant, ...]]
    policies: Mapping[str, Policy]

    @property
    def pairs(self) -> list[Pair]:
        """Who plays whom, each pair of contents once."""
        first, second = ([entrant.hash for entrant in side] for side in self.entrants)
        return all_pairs(first, second)


def load_field(entry: Entry, policies: Mapping[str, Sequence[str]]) -> Field:
    """Finds and loads all policies.

    Args:
        entry: what the user asked for.
        policies: more names of policies, by side.

    Raises:
        UserError: no game, more than one, or one without two sides; a side that it does not have;
            a side without policies; a run or policy that cannot be had or does not fit.
    """
    pick = Pick.parse(entry.pick)
    picks = [pick_from_run(run, pick) for run in entry.run]
    description = describe(_one_game(entry.game, picks), entry.physics)
    if len(description.sides) != 2:
        raise UserError(f"{description.name} has one side: there is nobody to pair it with")
    names: dict[str, list[str]] = {side.name: [] for side in description.sides}
    for side, name in [*_listed(policies), *_assigned(entry.side)]:
        if side not in names:
            raise UserError(
                f"there is no option --{side}, and {description.name} has no such side; "
                f"its sides are {' and '.join(names)}"
            )
        names[side].append(name)
    for picked in picks:
        _add_picks(names, picked)
    loaded = [
        _load(description.name, side, names[side.name], entry.zoo) for side in description.sides
    ]
    by_hash = {policy.hash: policy for policies in loaded for policy in policies.values()}
    first, second = (
        tuple(Entrant(name, policy.version, policy.hash) for name, policy in policies.items())
        for policies in loaded
    )
    return Field(description, (first, second), by_hash)


def _one_game(game: str | None, picks: Sequence[RunPicks]) -> str:
    games = dict.fromkeys([*([game] if game else []), *(pick.game for pick in picks)])
    if not games:
        raise UserError("which game? Give --game, or --run for the game of a run")
    if len(games) > 1:
        raise UserError(f"a tournament is of one game, not of {' and '.join(games)}")
    (only,) = games
    return only


def _listed(policies: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    for side, names in policies.items():
        yield from ((side, name) for name in names)


def _assigned(assignments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for assignment in assignments:
        side, equals, name = assignment.partition("=")
        if not (side and equals and name):
            raise UserError(f"--side {assignment}: should be SIDE=POLICY")
        yield side, name


def _add_picks(names: Mapping[str, list[str]], pick: RunPicks) -> None:
    if pick.victim_side not in names:
        raise UserError(
            f"the run's victim plays {pick.victim_side}, but the sides of {pick.game} are "
            f"{' and '.join(names)}"
        )
    for side, there in names.items():
        there.extend(pick.victims if side == pick.victim_side else pick.opponents)


def _load(game: str, side: Side, names: Sequence[str], zoo: Path | None) -> dict[str, Policy]:
    """The policies of a side by name, each name once. Raises UserError."""
    if not names:
        raise UserError(f"no policy for side {side.name}: give --{side.name} POLICY or --run RUN")
    return {name: resolve(name, game=game, side=side, zoo=zoo) for name in names}
