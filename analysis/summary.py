"""Everything that a tournament says about its policies, found once for all who show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.clusters import Clusters, cluster, representatives
from analysis.cycles import Cycle, cycles, victory_graph
from analysis.nash import Nash, nash
from analysis.payoff import Payoff, ordered, payoff
from analysis.tables import Tournament
from analysis.transitivity import Decomposition, decompose
from common.errors import UserError
from common.statistics import Interval


@dataclass(frozen=True, eq=False)
class Summary:
    """What the analyses of a tournament found.

    Attributes:
        tournament: what was analysed.
        matrix: its payoff matrix with similar policies side by side.
        clusters: of the policies of side 0 and of side 1.
        graph: victories among the representatives of both sides.
        cycles: of that graph, the strongest first.
        decomposition: transitive and cyclic part; a sentence that says why where there is none.
        nash: the best mixtures of both sides.
    """

    tournament: Tournament
    matrix: Payoff
    clusters: tuple[Clusters, Clusters]
    graph: nx.DiGraph[str]
    cycles: list[Cycle]
    decomposition: Decomposition | str
    nash: Nash

    @property
    def certain_cycles(self) -> list[Cycle]:
        """Cycles that hold at 5 %, for all the pairs that were looked at."""
        return [cycle for cycle in self.cycles if cycle.p_adjusted < 0.05]

    def ordering(self, side: int) -> pd.DataFrame:
        """The policies of a side, the one that scores most first.

        Columns: policy, score (mean over opponents, ties count half), weight (in the Nash mixture),
        exploitability, worst_opponent, cluster (from 1; 0 where there are no clusters).
        """
        scores = self.tournament.scores(side)
        mixture = self.nash.mixtures[side]
        found = self.clusters[side]
        frame = pd.DataFrame(
            {
                "policy": self.tournament.policies[side],
                "score": scores.mean(axis=1 - side),
                **{c: mixture[c] for c in ("weight", "exploitability", "worst_opponent")},
                "cluster": found.labels + 1 if found.found else np.zeros(len(mixture), np.int64),
            }
        )
        frame = frame.sort_values(["score", "weight"], ascending=False, kind="stable")
        return frame.reset_index(drop=True)

    def to_json(self) -> dict[str, Any]:
        """The main results as a JSON-able object."""
        tournament = self.tournament
        sides = [
            {
                "side": tournament.sides[side],
                "policies": self.ordering(side).to_dict("records"),
                "clusters": self.clusters[side].count if self.clusters[side].found else 0,
                "why": self.clusters[side].reason,
            }
            for side in (0, 1)
        ]
        return {
            "game": tournament.game,
            "physics": tournament.physics,
            "sides": sides,
            "nash_value": _interval(self.nash.value),
            "cyclic_share": self._cyclic_share(),
            "cycles": [
                {
                    "players": cycle.players,
                    "weakest": _interval(cycle.weakest),
                    "p_adjusted": cycle.p_adjusted,
                }
                for cycle in self.cycles
            ],
        }

    def _cyclic_share(self) -> dict[str, float | None] | None:
        parts = self.decomposition
        if isinstance(parts, str):
            return None
        return {**_interval(parts.cyclic_share), "p_value": parts.p_value}


def _interval(interval: Interval) -> dict[str, float | None]:
    """NaN is no JSON."""
    return {key: None if np.isnan(x) else x for key, x in interval.to_json().items()}


def summarise(tournament: Tournament) -> Summary:
    """Runs all analyses that need nothing but the table.

    Raises:
        UserError: a match-up was not played.
    """
    # Threads gain nothing on such small tables, and lose much on a busy machine.
    with threadpool_limits(1):
        return _summary(tournament)


def _summary(tournament: Tournament) -> Summary:
    matrix = ordered(payoff(tournament))
    first, second = cluster(tournament, 0), cluster(tournament, 1)
    chosen = representatives(tournament, first), representatives(tournament, second)
    graph = victory_graph(tournament, *chosen)
    parts: Decomposition | str
    try:
        parts = decompose(tournament)
    except UserError as error:
        parts = str(error)
    return Summary(
        tournament, matrix, (first, second), graph, cycles(graph), parts, nash(tournament)
    )
