"""What a report's page is made of, and how it becomes HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.figures import save
from analysis.report.heat_map import HeatMap
from analysis.verdict import Outcome

Place = Literal["everywhere", "print"]


@dataclass(frozen=True)
class Finding:
    """A sentence at the top of the report; `outcome` where it answers a question."""

    sentence: str
    outcome: Outcome | None = None


@dataclass(frozen=True)
class FigureView:
    """A figure within the page, and where its files are.

    Attributes:
        stem: of its files, `figures/STEM.png` and `.svg`.
        picture: the SVG as a data URI.
        alt: what it shows, for those who do not see it.
        caption: below it.
        where: `print`: only on paper, where it stands for something interactive.
    """

    stem: str
    picture: str
    alt: str
    caption: str
    where: Place


@dataclass(frozen=True)
class TableView:
    """A table; columns whose heading is in `numbers` are set to the right."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: of its anchor.
        title: heading.
        paragraphs: sentences before everything else.
        heat_map: the interactive payoff matrix.
        figures: after it.
        tables: last.
    """

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    heat_map: HeatMap | None = None
    figures: Sequence[FigureView] = ()
    tables: Sequence[TableView] = ()


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    subtitle: str
    outcome: Outcome | None
    findings: Sequence[Finding]
    sections: Sequence[Section]


@dataclass(frozen=True)
class FigureFolder:
    """Saves figures, and gives them to the page."""

    path: Path

    def add(
        self, stem: str, figure: Figure, alt: str, caption: str, where: Place = "everywhere"
    ) -> FigureView:
        """Writes STEM.svg and STEM.png. Raises UserError if they cannot be written."""
        svg, _ = save(figure, self.path / stem)
        encoded = base64.b64encode(svg.read_bytes()).decode()
        return FigureView(stem, f"data:image/svg+xml;base64,{encoded}", alt, caption, where)


def render(page: Page) -> str:
    """The page as HTML: names and all other text escaped, everything it needs inside.

    Its content security policy lets nothing be loaded but data within the page and videos beside
    it, and no script run but its own.
    """
    # Autoescape is what keeps the names of policies from being HTML.
    environment = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_source(environment, name) for name in ("report.js", "report.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        page=page, script=Markup(script), script_digest=digest, style=Markup(style)
    )


def _source(environment: Environment, name: str) -> str:
    """A file of the templates folder, as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
