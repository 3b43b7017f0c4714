"""From run directories and tournaments to a report on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.folders import made
from analysis.report import sections
from analysis.report.heat_map import gather_videos, heat_map
from analysis.report.page import FigureFolder, Finding, Page, Section, render
from analysis.report.sources import Sources, read_sources
from analysis.report.verdicts import (
    derived_question,
    run_findings,
    tournament_findings,
    verdict_findings,
)
from analysis.summary import Summary, summarise
from analysis.verdict import Question, Verdict, verdict
from common.errors import UserError
from common.runs import atomic_write


def build_report(paths: Sequence[Path], out: Path, question: Question | None = None) -> Path:
    """Writes OUT/index.html, OUT/figures/*.png and *.svg; copies videos to OUT/videos.

    Args:
        paths: run directories and at most one tournament (its directory or table).
        out: made if it is not there.
        question: what the verdict is about; None: what the runs suggest, where they do.

    Returns:
        The page.

    Raises:
        UserError: the paths are not as above, hold too little, or OUT cannot be written.
    """
    sources = read_sources(paths)
    result = _verdict(sources, question)
    summary = summarise(sources.tournament) if sources.tournament else None
    folder = FigureFolder(made(out) / "figures")
    page = Page(
        title=_title(sources),
        subtitle=_subtitle(sources),
        outcome=result.outcome if result else None,
        findings=list(_findings(sources, result, summary)),
        sections=list(_sections(sources, result, summary, folder)),
    )
    index = out / "index.html"
    try:
        atomic_write(index, render(page).encode())
    except OSError as error:
        raise UserError(f"cannot write {index}: {error.strerror}") from error
    return index


def _verdict(sources: Sources, question: Question | None) -> Verdict | None:
    if sources.tournament is None:
        if question:
            raise UserError("a verdict needs a tournament: give one beside the run")
        return None
    derived = (derived_question(sources.tournament, run) for run in sources.runs)
    asked = question or next((found for found in derived if found), None)
    return verdict(sources.tournament, asked) if asked else None


def _title(sources: Sources) -> str:
    names = [run.name for run in sources.runs]
    if sources.folder and not names:
        names = [sources.folder.resolve().name]
    return f"Report on {', '.join(names)}"


def _subtitle(sources: Sources) -> str:
    tournament = sources.tournament
    games = {str(run.setting("game", "name") or "unknown game") for run in sources.runs}
    parts = [tournament.game] if tournament else sorted(games)
    parts += [f"run {run.name} in {run.setting('game', 'physics')} physics" for run in sources.runs]
    if tournament:
        size = " x ".join(str(len(policies)) for policies in tournament.policies)
        parts.append(f"tournament of {size} policies in {tournament.physics} physics")
    return ", ".join(parts)


def _findings(
    sources: Sources, result: Verdict | None, summary: Summary | None
) -> Iterator[Finding]:
    if result:
        yield from verdict_findings(result)
    for run in sources.runs:
        yield from run_findings(run)
    if summary:
        yield from tournament_findings(summary, sections.adversary_sides(sources))


def _sections(
    sources: Sources, result: Verdict | None, summary: Summary | None, folder: FigureFolder
) -> Iterator[Section]:
    if result:
        yield sections.verdict_section(result, folder)
    if summary:
        yield from _of_match_ups(sources, summary, folder)
    for run in sources.runs:
        yield sections.training_section(run, folder, several=len(sources.runs) > 1)
    yield sections.settings_section(sources)


def _of_match_ups(sources: Sources, summary: Summary, folder: FigureFolder) -> Iterator[Section]:
    tournament = summary.tournament
    videos = gather_videos(tournament, sources.folder, folder.path.parent)
    cells = heat_map(tournament, summary.matrix, videos)
    yield sections.payoff_section(summary, cells, folder)
    yield sections.strength_section(summary, folder)
    yield sections.clusters_section(summary, folder)
    yield sections.contacts_section(tournament, sections.adversary_sides(sources), folder)
    yield sections.nash_section(summary, folder)
    if past := sections.forgetting_section(sources, folder):
        yield past
