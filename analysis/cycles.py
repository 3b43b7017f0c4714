"""Who beats whom, and in which circles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.tables import Tournament
from analysis.uncertainty import drawn_scores, percentiles
from common.statistics import Interval


@dataclass(frozen=True)
class Cycle:
    """Policies of which each beats the next, and the last the first.

    Attributes:
        players: starting with the winner of the weakest victory; the second lost that.
        weakest: score of the winner in the weakest victory, with its bootstrap interval: the
            interval of the least score along the cycle, so that a low end above 1/2 means that the
            cycle holds.
        p_value: of "some victory of the cycle is none": the largest p-value of its victories, each
            the exact one-sided sign test of wins against losses (an intersection-union test; Berger
            1982, doi:10.1080/00401706.1982.10487790).
        p_adjusted: for having looked at every pair (Bonferroni over the edges of the graph).
    """

    players: tuple[str, ...]
    weakest: Interval
    p_value: float
    p_adjusted: float

    def __str__(self) -> str:
        return " > ".join((*self.players, self.players[0]))


def duels(tournament: Tournament) -> pd.DataFrame:
    """One row a pair of policies: first, second, wins, ties, losses (of the first), episodes.

    A policy that plays both sides (same name, same hash) is one player: its episodes in both seats
    count together, and none against itself. Where one name stands for two policies, the side is
    added to it.
    """
    table = tournament.table
    names = _player_names(tournament)
    frame = pd.DataFrame(
        {
            "first": [names[0][name] for name in table["policy0"]],
            "second": [names[1][name] for name in table["policy1"]],
            "wins": table["wins0"],
            "ties": table["ties"],
            "losses": table["wins1"],
        }
    )
    frame = frame[frame["first"] != frame["second"]]
    places = {name: place for place, name in enumerate(dict.fromkeys(_in_order(names)))}
    turned = frame["first"].map(places) > frame["second"].map(places)
    mirrored = {"first": "second", "second": "first", "wins": "losses", "losses": "wins"}
    frame = pd.concat([frame[~turned], frame[turned].rename(columns=mirrored)])
    summed = frame.groupby(["first", "second"], sort=False, as_index=False).sum()
    summed["episodes"] = summed[["wins", "ties", "losses"]].sum(axis=1)
    return summed


def _in_order(names: tuple[dict[str, str], dict[str, str]]) -> Iterator[str]:
    for side in names:
        yield from side.values()


def _player_names(tournament: Tournament) -> tuple[dict[str, str], dict[str, str]]:
    table = tournament.table
    hashes = [dict(zip(table[f"policy{s}"], table[f"hash{s}"], strict=True)) for s in (0, 1)]

    def player(side: int, name: str) -> str:
        other = hashes[1 - side].get(name)
        distinct = other is not None and other != hashes[side][name]
        return f"{name} ({tournament.sides[side]})" if distinct else name

    first, second = ({name: player(side, name) for name in hashes[side]} for side in (0, 1))
    return first, second


def victory_graph(
    tournament: Tournament,
    players0: Sequence[str] | None = None,
    players1: Sequence[str] | None = None,
) -> nx.DiGraph[str]:
    """The graph of victories: an edge from each winner to whom it beats.

    Nodes have `sides`, the names of the sides that the policy plays. Edges have `score` (above 1/2;
    ties count half), `margin` (score - 1/2), `wins`, `ties`, `losses`, `episodes` and `p_value`
    (exact one-sided sign test, ties left out).

    Args:
        tournament: the match-ups.
        players0: policies of side 0, e.g. `clusters.representatives`; None: all.
        players1: of side 1.

    Raises:
        UserError: an unknown policy.
    """
    chosen = tournament.select(
        tournament.policies[0] if players0 is None else players0,
        tournament.policies[1] if players1 is None else players1,
    )
    graph: nx.DiGraph[str] = nx.DiGraph()
    for side, names in enumerate(_player_names(chosen)):
        for name in names.values():
            sides = graph.nodes[name]["sides"] if name in graph else ()
            graph.add_node(name, sides=(*sides, chosen.sides[side]))
    for row in duels(chosen).to_dict("records"):
        _add_victory(graph, row["first"], row["second"], (row["wins"], row["ties"], row["losses"]))
    return graph


def _add_victory(
    graph: nx.DiGraph[str], first: str, second: str, outcome: tuple[int, int, int]
) -> None:
    wins, ties, losses = map(int, outcome)
    if wins == losses:
        return
    if losses > wins:
        first, second, wins, losses = second, first, losses, wins
    episodes = wins + ties + losses
    score = (wins + ties / 2) / episodes
    graph.add_edge(
        first,
        second,
        score=score,
        margin=score - 0.5,
        wins=wins,
        ties=ties,
        losses=losses,
        episodes=episodes,
        p_value=float(binomtest(wins, wins + losses, 0.5, "greater").pvalue),
    )


def cycles(
    graph: nx.DiGraph[str], longest: int = 4, draws: int = 2000, seed: int = 0
) -> list[Cycle]:
    """Cycles of a victory graph, the one with the strongest weakest victory first.

    Args:
        graph: of `victory_graph`, best of some twenty players at most: the number of cycles grows
            with the power `longest` of theirs.
        longest: most policies in a cycle. Between two sides, cycles have 4 (or 6, 8, ...); where
            policies play both sides, 3 and more.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    edges = list(graph.edges)
    place = {edge: index for index, edge in enumerate(edges)}
    fields = ("wins", "ties", "losses")
    outcomes = np.array([[graph.edges[e][f] for f in fields] for e in edges]).reshape(-1, 3)
    drawn = drawn_scores(outcomes.astype(np.float64), draws, np.random.default_rng(seed))
    found = []
    for players in nx.simple_cycles(graph, length_bound=longest):
        along = _edges_along(_weakest_first(graph, players))
        scores = [graph.edges[edge]["score"] for edge in along]
        p_value = max(graph.edges[edge]["p_value"] for edge in along)
        least = drawn[:, [place[edge] for edge in along]].min(axis=1)
        found.append(
            Cycle(
                players=tuple(winner for winner, _ in along),
                weakest=percentiles(min(scores), least),
                p_value=p_value,
                p_adjusted=min(1.0, p_value * len(edges)),
            )
        )
    return sorted(found, key=lambda cycle: (-cycle.weakest.value, cycle.players))


def _edges_along(players: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(players, [*players[1:], players[0]], strict=True))


def _weakest_first(graph: nx.DiGraph[str], players: Sequence[str]) -> list[str]:
    along = _edges_along(players)
    start = min(range(len(along)), key=lambda i: (graph.edges[along[i]]["score"], along[i]))
    return [*players[start:], *players[:start]]
