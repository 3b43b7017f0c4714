import numpy as np
import pytest

from analysis.cycles import cycles, duels, victory_graph
from analysis.tables import check_table
from common.errors import UserError
from tests.analysis.builders import table_of, tournament_of

SYMMETRIC = ["rock", "paper", "scissors"]


def test_edges_lead_from_winners_to_losers() -> None:
    graph = victory_graph(tournament_of([[80, 50], [30, 0]]))
    assert set(graph.edges) == {("a0", "b0"), ("b0", "a1"), ("b1", "a1")}
    assert graph.edges["a0", "b0"]["margin"] == pytest.approx(0.3)
    assert graph.edges["b0", "a1"]["score"] == pytest.approx(0.7)
    assert graph.nodes["a0"]["sides"] == ("blocker",)
    # 100 of 100: 2 ** -100.
    assert graph.edges["b1", "a1"]["p_value"] == pytest.approx(2.0**-100)


def test_a_planted_cycle_is_found_and_its_weakest_victory_named() -> None:
    # a0 > b0 > a1 > b1 > a0, by 90, 80, 85, 70.
    (found,) = cycles(victory_graph(tournament_of([[90, 30], [20, 85]])))
    assert str(found) == "b1 > a0 > b0 > a1 > b1"
    assert found.weakest.value == 0.7
    assert 0.58 < found.weakest.low < 0.66
    assert found.weakest.high < 0.8
    assert found.p_value == pytest.approx(3.9e-5, rel=0.05)  # 70 or more of 100 fair coins
    assert found.p_adjusted == pytest.approx(4 * found.p_value)


def test_the_cycle_with_the_strongest_weakest_victory_comes_first() -> None:
    wins = [[90, 10, 55], [10, 90, 45], [50, 50, 50]]
    found = cycles(victory_graph(tournament_of(wins)))
    values = [cycle.weakest.value for cycle in found]
    assert values == sorted(values, reverse=True)
    assert set(found[0].players) == {"a0", "a1", "b0", "b1"}
    assert len(found) > 1


def test_a_cycle_of_chance_is_not_significant() -> None:
    (found,) = cycles(victory_graph(tournament_of([[60, 48], [48, 60]])))
    assert found.weakest.low < 0.5
    assert found.p_adjusted > 0.5


def test_strength_alone_makes_no_cycle() -> None:
    chances = 1 / (1 + np.exp(-(np.linspace(-2, 2, 5)[:, None] - np.linspace(-2.2, 1.8, 5))))
    graph = victory_graph(tournament_of(np.round(100 * chances).astype(int)))
    assert cycles(graph, longest=10) == []


def test_policies_that_play_both_sides_make_cycles_of_three() -> None:
    # Rows beat columns: rock < paper < scissors < rock, from both seats.
    wins = [[50, 10, 80], [90, 50, 20], [30, 85, 50]]
    table = table_of(wins, names=(SYMMETRIC, SYMMETRIC))
    graph = victory_graph(check_table(table))
    assert graph.nodes["rock"]["sides"] == ("blocker", "runner")
    # Rock beats scissors with 80 of 100 from one seat and with 70 of 100 from the other.
    assert graph.edges["rock", "scissors"]["episodes"] == 200
    assert graph.edges["rock", "scissors"]["score"] == pytest.approx(0.75)
    (found,) = cycles(graph)
    assert str(found) == "rock > scissors > paper > rock"


def test_nobody_plays_itself() -> None:
    table = table_of(np.full((3, 3), 60), names=(SYMMETRIC, SYMMETRIC))
    frame = duels(check_table(table))
    assert len(frame) == 3
    assert (frame["wins"] == 100).all()  # 60 from one seat, 40 from the other
    assert (frame["episodes"] == 200).all()


def test_one_name_for_two_policies_gets_the_side_added() -> None:
    table = table_of([[80, 20], [20, 80]], names=(["random", "x"], ["random", "y"]))
    table["hash1"] = table["hash1"] + " of the runner"
    graph = victory_graph(check_table(table))
    assert {"random (blocker)", "random (runner)", "x", "y"} == set(graph.nodes)


def test_representatives_alone() -> None:
    graph = victory_graph(tournament_of(np.full((4, 4), 60)), ["a1"], ["b2", "b3"])
    assert set(graph.edges) == {("a1", "b2"), ("a1", "b3")}
    with pytest.raises(UserError, match="no policy 'b7'"):
        victory_graph(tournament_of(np.full((4, 4), 60)), ["a1"], ["b7"])


def test_no_victory_no_cycle() -> None:
    assert cycles(victory_graph(tournament_of(np.full((2, 2), 50)))) == []
