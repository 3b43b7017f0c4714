"""One HTML page about a run, a tournament, or both: verdict first."""

from analysis.report.build import build_report

__all__ = ["build_report"]
