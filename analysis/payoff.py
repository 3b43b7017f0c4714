"""The payoff matrix: win rates of all match-ups, with intervals, in an order that shows groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from analysis.tables import Tournament

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Payoff:
    """Win rates of one side in all match-ups.

    Attributes:
        rows: policies of side 0.
        columns: policies of side 1.
        sides: names of side 0 and side 1.
        winner: the side whose wins are counted, 0 or 1.
        rate: share of episodes that the winner side wins, (rows, columns).
        low, high: Wilson intervals of `rate`, 95 %.
        score: as `rate`, with ties counted half.
        episodes: episodes of each match-up.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    sides: tuple[str, str]
    winner: int
    rate: Float
    low: Float
    high: Float
    score: Float
    episodes: Float

    def frame(self) -> pd.DataFrame:
        """Win rates as a table, policies of side 0 as rows and of side 1 as columns."""
        index = pd.Index(self.rows, name=self.sides[0])
        return pd.DataFrame(self.rate, index, pd.Index(self.columns, name=self.sides[1]))

    def arranged(self, rows: Sequence[int], columns: Sequence[int]) -> Payoff:
        """The same with rows and columns in the given order of their indices."""
        grid = np.ix_(rows, columns)
        return Payoff(
            tuple(self.rows[i] for i in rows),
            tuple(self.columns[j] for j in columns),
            self.sides,
            self.winner,
            *(m[grid] for m in (self.rate, self.low, self.high, self.score, self.episodes)),
        )


def payoff(tournament: Tournament, winner: int = 0) -> Payoff:
    """The payoff matrix of a tournament, in the order of its table.

    Args:
        tournament: with every match-up played.
        winner: the side whose wins are counted, 0 or 1.

    Raises:
        UserError: a match-up was not played.
    """
    names = (f"win_rate{winner}", f"low{winner}", f"high{winner}")
    rate, low, high = (tournament.matrix(name) for name in names)
    return Payoff(
        *tournament.policies,
        tournament.sides,
        winner,
        rate,
        low,
        high,
        tournament.scores(winner),
        tournament.matrix("episodes"),
    )


def ordered(matrix: Payoff) -> Payoff:
    """The same with similar rows, and similar columns, next to each other; strong rows first."""
    rows = leaf_order(matrix.score)
    columns = leaf_order(matrix.score.T)
    return matrix.arranged(rows, columns)


def leaf_order(vectors: Float) -> list[int]:
    """Order of the rows of `vectors` (n, d) by clustering; the end with the higher mean first.

    Hierarchical clustering with average linkage of Euclidean distances; of the orders that its tree
    allows, the one with the least sum of distances between neighbours (Bar-Joseph et al. 2001,
    doi:10.1093/bioinformatics/17.suppl_1.S22).
    """
    if len(vectors) < 2:
        return list(range(len(vectors)))
    order = leaves_list(linkage(pdist(vectors), "average", optimal_ordering=True))
    half = len(order) // 2
    if vectors[order[:half]].mean() < vectors[order[-half:]].mean():
        order = order[::-1]
    return [int(i) for i in order]
