"""The subcommands of `sparring` that read results. They need the extra `analysis`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.errors import UserError

if TYPE_CHECKING:
    from analysis.summary import Summary
    from analysis.verdict import Question

EXTRA = frozenset(
    (
        "jinja2",
        "markupsafe",
        "matplotlib",
        "networkx",
        "pandas",
        "pyarrow",
        "scipy",
        "sklearn",
        "threadpoolctl",
    )
)

# One or more values after one option, which may also be repeated.
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


@contextmanager
def extra() -> Iterator[None]:
    """Tells how to install what an import lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA:
            raise
        raise UserError(f"this needs {library}: pip install 'sparring[analysis]'") from error


@dataclass(frozen=True)
class Judged:
    """What the verdict is about, with names as in the tournament's table.

    Default: what the run suggests.

    Attributes:
        victim: The hardened victim.
        before: The same victim before it was hardened.
        normal: Normal opponents.
        met: Adversaries that it met in training.
        fresh: Adversaries trained against the hardened victim afterwards.
        budget: Environment steps that each fresh adversary was trained for.
        margin: How much of its win rate against normal opponents it may lose.
        floor: The win rate that it should reach against every adversary.
    """

    victim: str = ""
    before: str = ""
    normal: Names = ()
    met: Names = ()
    fresh: Names = ()
    budget: int = 0
    margin: float = 0.05
    floor: float = 0.5


def report(
    *sources: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    judged: Annotated[Judged, Parameter(name="*")] = Judged(),
) -> int:
    """Write one HTML page about a run, a tournament, or both: verdict first, no network needed.

    Args:
        sources: Run directories, and at most one tournament: its directory, table.parquet or
            table.csv. One in RUN/tournament is found by itself.
        out: Directory of the report: index.html, figures/ (PNG and SVG) and videos/.
        judged: What the verdict is about.
    """
    with extra():
        from analysis.report import build_report
    index = build_report(sources, out, _question(judged, sources))
    Console().print(f"written to {index}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _question(judged: Judged, sources: tuple[Path, ...]) -> Question | None:
    """The question that the options ask; None if they ask none. Raises UserError."""
    from analysis.report.sources import read_sources
    from analysis.verdict import Question

    if judged == Judged():
        return None
    if not (judged.victim and judged.before):
        raise UserError("a verdict needs --victim and --before, and opponents of theirs")
    tournament = read_sources(sources).tournament
    if tournament is None:
        raise UserError("a verdict needs a tournament: give one beside the run")
    side = int(judged.victim not in tournament.policies[0])
    tournament.check_policies(side, [judged.victim, judged.before])
    return Question(
        side=tournament.sides[side],
        victim=judged.victim,
        before=judged.before,
        normal=judged.normal,
        met=judged.met,
        fresh=judged.fresh,
        budget=judged.budget,
        margin=judged.margin,
        floor=judged.floor,
    )


def analyse(
    table: Path,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Print what a tournament says: ordering, clusters, cycles, Nash mixture.

    Args:
        table: Directory of a tournament, its table.parquet or table.csv.
        as_json: Print one JSON object instead of tables.
    """
    with extra():
        from analysis.summary import summarise
        from analysis.tables import load_tournament
    summary = summarise(load_tournament(table))
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        _show(summary, Console())
    return 0


def _show(summary: Summary, console: Console) -> None:
    from analysis.report.verdicts import tournament_findings

    for side, name in enumerate(summary.tournament.sides):
        numbers = ("score %", "Nash weight %", "exploitable", "cluster")
        shown = Table(title=Text(f"policies of the {name}, strongest first"))
        shown.add_column("policy", overflow="fold")
        for heading in numbers:
            shown.add_column(heading, justify="right")
        for row in summary.ordering(side).to_dict("records"):
            shares = (f"{100 * row[key]:.1f}" for key in ("score", "weight", "exploitability"))
            shown.add_row(Text(row["policy"]), *shares, str(row["cluster"] or ""))
        console.print(shown)
    for cycle in summary.certain_cycles[:10]:
        console.print(Text(f"cycle: {cycle}"), soft_wrap=True)
    for finding in tournament_findings(summary, (0, 1)):
        console.print(Text(finding.sentence), soft_wrap=True)
