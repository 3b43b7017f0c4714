"""Tournament tables with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.tables import Tournament, check_table
from common.match_table import MatchRow
from common.statistics import wilson

Counts = NDArray[np.int64]


def tournament_of(
    wins: Sequence[Sequence[int]] | Counts,
    episodes: int = 100,
    ties: Sequence[Sequence[int]] | Counts | None = None,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    contactless: tuple[float, float] = (0.0, 0.0),
) -> Tournament:
    """The checked table of `table_of`."""
    return check_table(table_of(wins, episodes, ties, names, contactless))


def table_of(
    wins: Sequence[Sequence[int]] | Counts,
    episodes: int = 100,
    ties: Sequence[Sequence[int]] | Counts | None = None,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    contactless: tuple[float, float] = (0.0, 0.0),
) -> pd.DataFrame:
    """The table in which policy i of side 0 won `wins[i][j]` of its episodes against j.

    Args:
        wins: of side 0.
        episodes: of each match-up.
        ties: none unless given.
        names: of the policies of the two sides; a0, a1, ... and b0, b1, ... unless given.
        contactless: share of the wins of side 0 and of side 1 without contact.
    """
    won = np.asarray(wins)
    tied = np.zeros_like(won) if ties is None else np.asarray(ties)
    m, n = won.shape
    first, second = names or ([f"a{i}" for i in range(m)], [f"b{j}" for j in range(n)])
    pairs = [(i, j) for i in range(m) for j in range(n)]
    rows = [
        _row((first[i], second[j]), int(won[i, j]), int(tied[i, j]), episodes, contactless)
        for i, j in pairs
    ]
    return pd.DataFrame([asdict(row) for row in rows])


def _row(
    names: tuple[str, str],
    wins: int,
    ties: int,
    episodes: int,
    contactless: tuple[float, float],
) -> MatchRow:
    losses = episodes - wins - ties
    rate0, rate1 = wilson(wins, episodes), wilson(losses, episodes)
    return MatchRow(
        game="Pushing",
        physics="fast",
        seed=1,
        side0="blocker",
        side1="runner",
        policy0=names[0],
        policy1=names[1],
        version0=0,
        version1=0,
        hash0=f"hash of {names[0]}",
        hash1=f"hash of {names[1]}",
        episodes=episodes,
        wins0=wins,
        wins1=losses,
        ties=ties,
        win_rate0=rate0.value,
        low0=rate0.low,
        high0=rate0.high,
        win_rate1=rate1.value,
        low1=rate1.low,
        high1=rate1.high,
        length=120.5,
        contacts=2.25,
        contactless_wins0=round(contactless[0] * wins),
        contactless_wins1=round(contactless[1] * losses),
        dense0=-10.0,
        dense1=12.5,
        outcome0=0.0,
        outcome1=0.0,
    )
