"""Figures fit for a paper: each function takes a result and gives a matplotlib Figure."""

from analysis.figures.densities import activation_map_figure, density_figure
from analysis.figures.judgement import verdict_figure
from analysis.figures.matrices import forgetting_figure, payoff_figure
from analysis.figures.populations import clusters_figure, contacts_figure, nash_figure
from analysis.figures.style import save
from analysis.figures.training import curves_figure
from analysis.figures.victories import cycles_figure, decomposition_figure, victories_figure

__all__ = [
    "activation_map_figure",
    "clusters_figure",
    "contacts_figure",
    "curves_figure",
    "cycles_figure",
    "decomposition_figure",
    "density_figure",
    "forgetting_figure",
    "nash_figure",
    "payoff_figure",
    "save",
    "verdict_figure",
    "victories_figure",
]
