"""`sparring tournament`: all pairs of policies, counted into one table."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from common.errors import UserError
from common.game import GameDescription, Physics
from common.match_table import Entrant, MatchRow, match_row
from common.policies import resolve
from common.policy import Policy
from sampler.arena import ArenaError
from sampler.games import describe
from sampler.picks import Pick, pick_from_run
from sampler.play_progress import PlayProgress
from sampler.tournament_plan import Agenda, Chunk, Pair, Rule, all_pairs, chunk_task
from sampler.tournament_store import TournamentStore

log = logging.getLogger(__name__)

# So many policies of side 1 fit beside each other on a screen.
MATRIX_WIDTH = 8
MATRIX_HEIGHT = 50

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


def tournament(
    *,
    game: str | None = None,
    run: Names = (),
    pick: str = "last",
    side: Names = (),
    episodes: int = 100,
    until_width: float | None = None,
    max_episodes: int | None = None,
    physics: Physics = "exact",
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 0,
    ray_address: str | None = None,
    out: Path | None = None,
    zoo: Path | None = None,
    **policies: Names,
) -> int:
    """Play every policy of one side against every policy of the other, and count who wins.

    Episodes played are kept at once. The same command goes on where it was interrupted, and plays
    nothing again that the directory holds; more policies or episodes can be added at any time.

    Args:
        game: Name of the game, e.g. YouShallNotPassHumans. Default: that of the runs.
        run: Training runs whose policies enter: its victim on its side, the others on the other.
        pick: Which versions of a run's policies: last, every:N, burst-ends or all.
        side: SIDE=POLICY, as an alternative to --SIDE POLICY.
        episodes: Episodes of each pair.
        until_width: Play each pair on until its 95 % intervals are at most so wide, e.g. 0.1.
        max_episodes: But at most so many episodes of a pair.
        physics: The simulation as published, or one that is about 3.5 times cheaper.
        seed: Decides the starts of the games and the noise of the policies: the same in all pairs.
        workers: Processes that play, one CPU each. Default: one for every core of this machine.
        ray_address: HOST:PORT of a Ray cluster, or auto. Default: a Ray of its own.
        out: Directory of the tournament. Default: tournaments/GAME-PHYSICS-seedSEED.
        zoo: Clone of openai/multiagent-competition, for policies that start with `zoo:`.
        policies: Policies of a side, called as in the game: --blocker POLICY... --runner POLICY...
    """
    rule = Rule(episodes, until_width, max_episodes)
    field = _field(game, physics, run, Pick.parse(pick), [*_named(policies), *_assigned(side)], zoo)
    out = out or _default_directory(field.description, seed)
    with TournamentStore(out, field.description, seed) as store:
        _play(field, rule, seed, store, workers or os.cpu_count() or 1, ray_address)
    return 0


@dataclass(frozen=True)
class Field:
    """Who takes part.

    Attributes:
        description: the game.
        entrants: of side 0 and of side 1; names differ within a side, contents may not.
        policies: by content hash.
    """

    description: GameDescription
    entrants: tuple[list[Entrant], list[Entrant]]
    policies: Mapping[str, Policy]

    @property
    def pairs(self) -> list[Pair]:
        """Who plays whom: pairs of contents."""
        first, second = ([entrant.hash for entrant in side] for side in self.entrants)
        return all_pairs(first, second)

    def rows(self, agenda: Agenda, seed: int) -> list[MatchRow]:
        """A row for each pair of names that has played."""
        return [
            match_row(self.description, seed, (first, second), played)
            for first in self.entrants[0]
            for second in self.entrants[1]
            if (played := agenda.played(Pair(first.hash, second.hash)))
        ]


def _named(policies: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    for side, names in policies.items():
        yield from ((side, name) for name in names)


def _assigned(assignments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for assignment in assignments:
        side, equals, name = assignment.partition("=")
        if not (side and equals and name):
            raise UserError(f"--side {assignment}: should be SIDE=POLICY")
        yield side, name


def _field(
    game: str | None,
    physics: Physics,
    runs: Sequence[str],
    pick: Pick,
    named: Sequence[tuple[str, str]],
    zoo: Path | None,
) -> Field:
    """Loads all policies. Raises UserError if a side has none, or one that cannot play it."""
    picked = [pick_from_run(run, pick) for run in runs]
    games = dict.fromkeys([*([game] if game else []), *(picks.game for picks in picked)])
    if len(games) != 1:
        raise UserError(
            f"a tournament is of one game, not of {' and '.join(games)}"
            if games
            else "which game? Give --game, or --run for that of a run"
        )
    description = describe(next(iter(games)), physics)
    if len(description.sides) != 2:
        raise UserError(f"{description.name} has {len(description.sides)} side, not two to pair")
    names: dict[str, list[str]] = {side.name: [] for side in description.sides}
    for side, name in named:
        if side not in names:
            raise UserError(
                f"there is no option --{side}, nor has {description.name} such a side; "
                f"its sides are {' and '.join(names)}"
            )
        names[side].append(name)
    for picks in picked:
        (other,) = (side for side in names if side != picks.victim_side)
        names[picks.victim_side] += picks.victims
        names[other] += picks.opponents
    return _loaded(description, names, zoo)


def _loaded(
    description: GameDescription, names: Mapping[str, Sequence[str]], zoo: Path | None
) -> Field:
    entrants: tuple[list[Entrant], list[Entrant]] = ([], [])
    policies: dict[str, Policy] = {}
    for side, here in zip(description.sides, entrants, strict=True):
        if not names[side.name]:
            raise UserError(
                f"no policy for the {side.name}: give --{side.name} POLICY..., or --run RUN..."
            )
        for name in dict.fromkeys(names[side.name]):
            policy = resolve(name, game=description.name, side=side, zoo=zoo)
            policies[policy.hash] = policy
            here.append(Entrant(name, policy.version, policy.hash))
    return Field(description, entrants, policies)


def _default_directory(description: GameDescription, seed: int) -> Path:
    """The same for the same tournament, so that the same command finds what it played before."""
    name = re.sub(r"[^\w.-]+", "-", description.name)
    return Path("tournaments") / f"{name}-{description.physics}-seed{seed}"


def _play(
    field: Field,
    rule: Rule,
    seed: int,
    store: TournamentStore,
    workers: int,
    ray_address: str | None,
) -> None:
    agenda = Agenda(field.pairs, rule, store.known, last=4 * workers)
    begun = agenda.done
    try:
        if agenda.done < agenda.total:
            _play_missing(field, agenda, seed, store, workers, ray_address)
    except ArenaError as error:
        raise UserError(f"{error}; what was played before is kept in {store.path}") from error
    finally:
        rows = field.rows(agenda, seed)
        files = store.write_tables(rows)
    console = Console()
    console.print(_matrix(rows) if _fits(field) else f"{len(rows)} pairs")
    console.print(f"{agenda.total} episodes of {len(field.pairs)} pairs, {begun} of them from before")
    console.print(" and ".join(map(str, files)), soft_wrap=True)
    if len(files) == 1:
        log.warning(
            "no Parquet: PyArrow is not installed; pip install 'sparring[analysis]' brings it"
        )


def _play_missing(
    field: Field,
    agenda: Agenda,
    seed: int,
    store: TournamentStore,
    workers: int,
    ray_address: str | None,
) -> None:
    # Starting Ray takes seconds, and a tournament that has all its episodes does without it.
    from ray.exceptions import RayActorError  # noqa: PLC0415

    from sampler.tournament import MatchPool  # noqa: PLC0415

    start, pool = monotonic(), None
    drawn = Drawn(field.description, agenda, seed)
    try:
        with MatchPool(workers, ray_address) as pool, PlayProgress(agenda) as progress:
            for task, summaries in pool.work(drawn.draw, field.policies):
                chunk = drawn.chunk(task)
                store.append(chunk, summaries)
                agenda.add(chunk, summaries)
                progress.update()
    except RayActorError as error:
        raise UserError("") from error
