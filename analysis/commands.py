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
    from analysis.activations import Recording
    from analysis.density import Density
    from analysis.summary import Summary
    from analysis.verdict import Question
    from common.policy import Policy

EXTRA = frozenset(
    ("jinja2", "markupsafe", "matplotlib", "networkx", "pandas", "pyarrow", "scipy", "sklearn")
)

# One or more values after one option, which may also be repeated.
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


@contextmanager
def extra() -> Iterator[None]:
    """Tells how to install what an import lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise UserError(f"this needs {error.name}: pip install 'sparring[analysis]'") from error


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


def judge_activations(
    victim: Policy, recordings: list[Recording], base: str, out: Path, seed: int
) -> int:
    """Fits the density model on one opponent, judges the others, prints and writes the results.

    Args:
        victim: whose activations are judged.
        recordings: what it saw against each opponent.
        base: label of the normal opponent to fit on.
        out: a directory, for observations.npz, density.csv, episodes.csv, map.csv and figures.
        seed: of everything random.

    Raises:
        UserError: see `analysis.density.density`; or `out` cannot be written.
    """
    with extra():
        from analysis import figures
        from analysis.activations import write_recordings
        from analysis.density import Settings, activation_map, density
    result = density(victim, recordings, base, Settings(seed=seed))
    plane = activation_map(victim, recordings, result.model, seed=seed)
    try:
        write_recordings(out / "observations.npz", recordings)
        for name, frame in (
            ("density", result.opponents),
            ("episodes", result.episodes),
            ("map", plane),
        ):
            frame.to_csv(out / f"{name}.csv", index=False)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    figures.save(figures.density_figure(result), out / "density")
    figures.save(figures.activation_map_figure(plane), out / "activations")
    console = Console()
    console.print(_density_table(result))
    console.print(f"written to {out}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _density_table(result: Density) -> Table:
    model = result.model
    shown = Table(
        title=Text(f"How usual the victim's activations are, fitted on {result.base}"),
        caption=f"{model.components} Gaussians ({model.covariance}) over {model.dimensions} "
        f"principal components, {model.explained:.0%} of the variance. Nats per step, 95 % "
        "intervals over episodes. AUROC: how surely an episode is told from a normal one.",
    )
    shown.add_column("opponent", overflow="fold")
    for heading in ("episodes", "log-likelihood", "less than normal by", "AUROC"):
        shown.add_column(heading, justify="right")
    for row in result.opponents.to_dict("records"):
        gap = (-row["difference"], -row["difference_high"], -row["difference_low"])
        same = row["label"] == result.base
        shown.add_row(
            Text(f"{row['label']} (held out)" if same else row["label"]),
            str(row["episodes"]),
            "{:.2f} ({:.2f} to {:.2f})".format(row["log_likelihood"], row["low"], row["high"]),
            "" if same else "{:.2f} ({:.2f} to {:.2f})".format(*gap),
            "" if same else f"{row['auroc']:.2f}",
        )
    return shown
