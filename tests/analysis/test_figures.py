"""Every figure can be drawn and saved, also of results with nothing in them."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import figures
from analysis.clusters import cluster, policy_map
from analysis.contacts import contacts
from analysis.curves import load_run
from analysis.cycles import cycles, victory_graph
from analysis.density import Density, DensityModel
from analysis.forgetting import forgetting
from analysis.nash import nash
from analysis.payoff import ordered, payoff
from analysis.tables import Tournament
from analysis.transitivity import decompose
from analysis.verdict import Question, verdict
from common.errors import UserError
from tests.analysis.builders import tournament_of, write_run


def tournament(m: int = 6, n: int = 5) -> Tournament:
    return tournament_of(np.random.default_rng(0).integers(5, 95, (m, n)), contactless=(0.4, 0.1))


def texts(figure: Figure) -> set[str]:
    """Everything that is written in a figure."""
    return {text.get_text() for text in figure.findobj(Text)}


def saved(figure: Figure, folder: Path) -> None:
    svg, png = figures.save(figure, folder / "deep" / "figure.v1")
    assert svg.name == "figure.v1.svg"
    assert svg.read_bytes().startswith(b"<?xml")
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(1, 3), (6, 5), (14, 12), (30, 26)])
def test_payoff_of_every_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    figure = figures.payoff_figure(ordered(payoff(tournament(*shape))))
    saved(figure, tmp_path)
    assert {"blocker", "runner", "win rate of the blocker (%)"} <= texts(figure)


@pytest.mark.parametrize("rows", [3, 12])
def test_clusters(tmp_path: Path, rows: int) -> None:
    wins = np.repeat([[90, 10, 10], [10, 90, 10], [10, 10, 90]], rows // 3, axis=0)
    few = tournament_of(wins + np.random.default_rng(0).integers(-3, 4, wins.shape))
    clusters = cluster(few, 0)
    figure = figures.clusters_figure(clusters, policy_map(few, 0))
    saved(figure, tmp_path)
    assert ("No clusters" in texts(figure)) != clusters.found


def test_victories_and_cycles(tmp_path: Path) -> None:
    graph = victory_graph(tournament())
    found = cycles(graph)
    saved(figures.victories_figure(graph, ("blocker", "runner")), tmp_path)
    saved(figures.victories_figure(graph, ("blocker", "runner"), found[0]), tmp_path)
    saved(figures.cycles_figure(found), tmp_path)
    assert "no cycles" in texts(figures.cycles_figure([]))


def test_victories_of_policies_that_play_both_sides(tmp_path: Path) -> None:
    names = ["rock", "paper", "scissors"]
    both = tournament_of([[50, 10, 80], [90, 50, 20], [30, 85, 50]], names=(names, names))
    graph = victory_graph(both)
    figure = figures.victories_figure(graph, both.sides, cycles(graph)[0])
    saved(figure, tmp_path)
    assert set(names) <= texts(figure)


@pytest.mark.parametrize("wins", [[[80, 20], [30, 70]], [[50, 50], [50, 50]]])
def test_decomposition(tmp_path: Path, wins: list[list[int]]) -> None:
    parts = decompose(tournament_of(wins), draws=50)
    saved(figures.decomposition_figure(parts, ("blocker", "runner")), tmp_path)


def test_nash(tmp_path: Path) -> None:
    saved(figures.nash_figure(nash(tournament(), draws=20), ("blocker", "runner")), tmp_path)


def test_contacts(tmp_path: Path) -> None:
    saved(figures.contacts_figure(contacts(tournament(), 0)), tmp_path)
    saved(figures.contacts_figure(contacts(tournament_of([[0, 0], [0, 100]]), 0)), tmp_path)


def test_verdict_says_what_came_out(tmp_path: Path) -> None:
    played = tournament_of(np.full((22, 2), 20))
    opponents = [f"a{number}" for number in range(1, 22)]
    question = Question("runner", "b0", "b1", ["a0"], opponents, [], 0, margin=0.2)
    figure = figures.verdict_figure(verdict(played, question))
    saved(figure, tmp_path)
    assert {"PASS", "INCONCLUSIVE", "none were played", "and 6 better ones"} <= texts(figure)


@pytest.mark.parametrize("adversaries", [1, 5])
def test_curves(tmp_path: Path, adversaries: int) -> None:
    run = load_run(write_run(tmp_path / "run", rounds=9, adversaries=adversaries))
    figure = figures.curves_figure(run)
    saved(figure, tmp_path)
    wanted = {"adversaries train", "victim trains", "victim against normal", "adversary-0"}
    assert wanted <= texts(figure)
    red, green = figure.axes[0].patches[:2]
    assert red.get_facecolor() != green.get_facecolor()
    assert len(figure.axes[0].patches) == 18


def test_forgetting(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", rounds=4))
    names = ([f"run:run/adversary-0@{v}" for v in (1, 3)], [f"run:run/victim@{v}" for v in (1, 3)])
    past = forgetting(tournament_of([[20, 40], [60, 30]], names=names), "runner", [run])
    saved(figures.forgetting_figure(past), tmp_path)


def test_density(tmp_path: Path) -> None:
    row = {"episodes": 3, "steps": 30, "log_likelihood": -5.0, "low": -6.0, "high": -4.0}
    gap = {"difference": -1.0, "difference_low": -2.0, "difference_high": 0.5, "auroc": 0.7}
    labels = ["normal", "adversary $1"]
    result = Density(
        "normal",
        DensityModel(1, "full", 2, 0.9, pd.DataFrame(), None, None),
        pd.DataFrame([{"label": label, **row, **gap} for label in labels]),
        pd.DataFrame({"label": labels, "episode": [0, 0], "log_likelihood": [-5.0, -6.0]}),
    )
    figure = figures.density_figure(result)
    saved(figure, tmp_path)
    assert {"normal (held out)", "adversary $1", "AUROC 0.70"} <= texts(figure)
    points = pd.DataFrame({"label": labels, "episode": [0, 0], "x": [0.0, 1], "y": [1.0, 0]})
    saved(figures.activation_map_figure(points), tmp_path)


def test_equal_figures_give_equal_files(tmp_path: Path) -> None:
    files = [
        figures.save(figures.payoff_figure(payoff(tournament())), tmp_path / name)
        for name in ("one", "two")
    ]
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert files[0][1].read_bytes() == files[1][1].read_bytes()


def test_the_settings_of_the_notebook_stay_as_they_were() -> None:
    before = dict(mpl.rcParams)
    figures.payoff_figure(payoff(tournament()))
    assert dict(mpl.rcParams) == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the figure"):
        figures.save(figures.payoff_figure(payoff(tournament())), tmp_path / "file" / "figure")
