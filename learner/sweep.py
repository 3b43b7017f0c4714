"""`sparring sweep`: a preset at many settings, and what each came to.

OUT/
  sweep.yaml        what is varied; the same when a sweep goes on
  journal.log       the settings, kept by Optuna
  trial-NNN/seed-S/ a run directory each
  matches/          what each match-up came to
  sweep.json, sweep.csv   the report
  commands.log      what the commands said that it was made of
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from common import config as configuration
from common.config import Config
from common.errors import UserError
from common.game import GameDescription, Physics
from common.runs import RunDirectory, numbered
from learner.attack_results import VICTIM, is_finished, newest_policy
from learner.child import INTERRUPTED, Commands, commands_in
from learner.coordinator import NORMAL, roles_trained
from learner.evaluation import NEW_SEEDS, Referee, describe, write_text
from learner.seed_statistics import Count
from learner.sweep_report import Outcome, Row, ranked, to_csv, to_json, to_table
from learner.sweep_space import Range, Setting, Study, Values, parse_over

FORMAT = "sparring-sweep-1"


@dataclass(frozen=True)
class Scope:
    """What to try; also options of the command.

    Attributes:
        over: KEY=V1,V2,... or KEY=LOW..HIGH[:log], e.g. --over adversary.ppo.clip=0.1,0.2. May be
            repeated.
        grid: Try every combination of the values. The default.
        random: Draw so many settings instead.
        seeds: Runs of each setting.
        set_: KEY=VALUE for all settings. May be repeated.
    """

    over: Annotated[tuple[str, ...], Parameter(negative=())]
    grid: Annotated[bool, Parameter(negative=())] = False
    random: Annotated[int, Parameter(validator=Number(gte=1))] | None = None
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 1
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = ()


@dataclass(frozen=True)
class Judging:
    """How the last policies of a run are judged; also options of the command.

    Attributes:
        episodes: Episodes of each match-up, on seeds that no training has seen.
        physics: Their physics profile. Default: that of the training.
    """

    episodes: Annotated[int, Parameter(validator=Number(gte=1))] = 200
    physics: Physics | None = None


@dataclass(frozen=True)
class Place:
    """Where to work; also options of the command.

    Attributes:
        workers: Processes that play.
        zoo: Folder agent-zoo of the public policies.
        out: Directory of the sweep. Default: below sweeps/, named after what is varied.
        as_json: Print the report as JSON instead of a table.
    """

    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=4096))] = 1
    zoo: Annotated[Path | None, Parameter(env_var="SPARRING_ZOO")] = None
    out: Path | None = None
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False

    def options(self) -> tuple[str, ...]:
        """Options of every command that the sweep is made of."""
        zoo = ("--zoo", str(self.zoo)) if self.zoo else ()
        return ("--workers", str(self.workers), *zoo)


def sweep(
    preset: str,
    /,
    *,
    scope: Annotated[Scope, Parameter(name="*")],
    judging: Annotated[Judging, Parameter(name="*")] = Judging(),
    place: Annotated[Place, Parameter(name="*")] = Place(),
) -> int:
    """Train a preset at many settings and compare what comes out.

    The same command goes on where it was interrupted. More seeds, episodes or random settings can
    be asked of a directory; it runs only what it lacks.

    Args:
        preset: Name of a preset or path of a YAML file.
        scope: What to try.
        judging: How the last policies of a run are judged.
        place: Where to work.
    """
    dimensions = _dimensions(scope)
    base = _checked(preset, scope, dimensions)
    out = place.out or _default_directory(preset, dimensions, scope.random)
    console = Console()
    try:
        with commands_in(out) as commands:
            _check(out, base, scope)
            random = None if scope.random is None else scope.random
            study = Study(out / "journal.log", dimensions, random, base.seed)
            rows = _Sweep(preset, base, scope, judging, place, out, commands).run(study)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted: the same command goes on from here")
        return INTERRUPTED
    keys = [over.key for over in dimensions]
    write_text(out / "sweep.csv", to_csv(rows, keys))
    write_text(out / "sweep.json", json.dumps(to_json(rows), indent=2) + "\n")
    if place.as_json:
        print(json.dumps(to_json(rows), indent=2))
        return 0
    console.print(to_table(rows, keys, f"{preset}, {scope.seeds} seeds a setting"))
    for row in rows:
        if row.error:
            console.print(f"trial {row.number} failed: {row.error}", soft_wrap=True)
    console.print(f"written to {out}/sweep.csv, sweep.json", soft_wrap=True)
    return 0


def _dimensions(scope: Scope) -> list[Values | Range]:
    dimensions = [parse_over(text) for text in scope.over]
    if not dimensions:
        raise UserError("what is varied? Give --over KEY=V1,V2,...")
    keys = [over.key for over in dimensions]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise UserError(f"--over {', '.join(sorted(twice))}: comes twice")
    if "seed" in keys:
        raise UserError("--over seed: seeds are no setting; --seeds K runs each setting K times")
    if scope.grid and scope.random is not None:
        raise UserError("--grid and --random exclude each other")
    return dimensions


def _checked(preset: str, scope: Scope, dimensions: Sequence[Values | Range]) -> Config:
    """The preset; every value must be one that it can take. Raises UserError."""
    for over in dimensions:
        for text in over.samples():
            configuration.load(preset, [*scope.set_, f"{over.key}={text}"])
    base = configuration.load(preset, scope.set_)
    if base.seed >= NEW_SEEDS - scope.seeds:
        raise UserError(f"seed: {base.seed} should be below 2^31 - {scope.seeds}")
    return base


def _default_directory(
    preset: str, dimensions: Sequence[Values | Range], random: int | None
) -> Path:
    """The same for the same sweep, so that the same command finds what it did before."""
    kind = "grid" if random is None else "random"
    parts = [Path(preset).stem, kind, *(over.key for over in dimensions)]
    return Path("sweeps") / re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _check(out: Path, base: Config, scope: Scope) -> None:
    """What is varied is written once, before the first run; then it must stay."""
    kind = "grid" if scope.random is None else "random"
    mine = {"format": FORMAT, "kind": kind, "over": list(scope.over)}
    path, config = out / "sweep.yaml", out / "base.yaml"
    if not any(out.glob("trial-*/*/state/*.safetensors")):
        (out / "journal.log").unlink(missing_ok=True)
        write_text(config, base.to_yaml())
        write_text(path, yaml.safe_dump(mine, sort_keys=False))
        return
    try:
        theirs = dict(yaml.safe_load(path.read_text()))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} does not describe a sweep: {error!r}") from error
    different = [
        f"{key} ({theirs.get(key)!r} there, now {value!r})"
        for key, value in mine.items()
        if theirs.get(key) != value
    ]
    different += configuration.differences(configuration.from_yaml(config), base)
    if different:
        raise UserError(f"{out} holds another sweep: {'; '.join(different)}. Choose another --out")


class _Sweep:
    def __init__(
        self,
        preset: str,
        base: Config,
        scope: Scope,
        judging: Judging,
        place: Place,
        out: Path,
        commands: Commands,
    ) -> None:
        self._preset, self._base, self._scope, self._judging = preset, base, scope, judging
        self._options, self._out, self._commands = place.options(), out, commands
        self._console = Console(stderr=True)

    def run(self, study: Study) -> list[Row]:
        """Does what is missing; gives a row a setting, best first."""
        measured = "adversary" if roles_trained(self._base) == {"adversary"} else "victim"
        rows: list[Row] = []
        for number, setting in study.settings():
            row = self._row(number, setting)
            rows.append(row)
            if rate := row.rates()[measured]:
                study.tell(number, rate.value)
        return ranked(rows, measured)

    def _row(self, number: int, setting: Setting) -> Row:
        outcomes = []
        for k in range(self._scope.seeds):
            seed = self._base.seed + k
            run = RunDirectory(self._out / f"trial-{number:03d}" / f"seed-{seed}")
            try:
                self._train(run, setting, seed)
            except UserError as error:
                # A setting that diverges is a result; one that does not begin is a mistake.
                if not numbered(run.states):
                    raise
                return Row(number, setting, (), str(error))
            outcomes.append(self._outcome(run, f"{number:03d}-{seed}", NEW_SEEDS + seed))
        return Row(number, setting, tuple(outcomes))

    def _train(self, run: RunDirectory, setting: Setting, seed: int) -> None:
        if is_finished(run):
            return
        listed = ", ".join(f"{key} {text}" for key, text in setting.items())
        self._console.print(f"{listed}, seed {seed}: {run.path}", soft_wrap=True)
        if numbered(run.states):
            self._commands.show("train", "--resume", "--run", str(run.path), *self._options)
        else:
            chosen = [f"{key}={text}" for key, text in setting.items()]
            overrides = [f"--set={text}" for text in (*self._scope.set_, *chosen, f"seed={seed}")]
            self._commands.show(
                *("train", self._preset, "--run", str(run.path)), *overrides, *self._options
            )
        if not is_finished(run):
            raise KeyboardInterrupt

    def _outcome(self, run: RunDirectory, name: str, seed: int) -> Outcome:
        config = configuration.from_yaml(run.config)
        physics = self._judging.physics or config.game.physics
        game = self._game(config.game.name, physics)
        referee = Referee(
            self._commands,
            self._out / "matches",
            *(game.name, physics, self._judging.episodes),
            self._options,
        )
        side = config.victim.side
        players = {side: str(newest_policy(run, VICTIM))}
        if len(game.sides) == 1:
            return Outcome(_count(referee.judge(name, players, seed), side), None, None)
        other = game.sides[1 - game.side_index(side)].name

        def against(opponent: str) -> dict[str, Any]:
            policies = {**players, other: str(newest_policy(run, opponent))}
            return referee.judge(f"{name}-{opponent}", policies, seed)

        matches = [against(adversary) for adversary in last_adversaries(run, config)]
        return Outcome(
            victim=_total(_count(match, side) for match in matches),
            adversary=_total(_count(match, other) for match in matches),
            normal=_count(against(NORMAL), side) if config.normal else None,
        )

    def _game(self, name: str, physics: str) -> GameDescription:
        return describe(self._commands, name, physics)


def last_adversaries(run: RunDirectory, config: Config) -> list[str]:
    """Names of the adversaries that a run ended with, in their order."""
    names = [path.name for path in run.policies.iterdir() if path.name.startswith("adversary-")]
    names.sort(key=lambda name: int(name.rpartition("-")[2]))
    return names[-config.adversary.count :]


def _count(match: Mapping[str, Any], side: str) -> Count:
    return Count(int(match["wins"][side]), int(match["episodes"]))


def _total(counts: Any) -> Count:
    listed = list(counts)
    return Count(sum(c.wins for c in listed), sum(c.episodes for c in listed))
