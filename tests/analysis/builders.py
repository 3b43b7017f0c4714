"""Tournament tables with known answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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


def write_run(folder: Path, rounds: int = 6, adversaries: int = 1, base: float = 1.5) -> Path:
    """A run directory of growing bursts: adversaries, then the victim, round by round."""
    folder.mkdir(parents=True)
    names = [f"adversary-{number}" for number in range(adversaries)]
    versions = dict.fromkeys(["victim", "normal", *names], 0)
    metrics: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = [{"event": "start", "iteration": 0, "time": 0.0}]
    iteration = steps = 0
    for burst in range(2 * rounds):
        role = ("adversary", "victim")[burst % 2]
        length = int(base ** (burst // 2) + 0.5)
        about = {"burst": burst, "role": role, "length": length, "unit": "iterations"}
        now = {name: {"version": version, "hash": "0"} for name, version in versions.items()}
        start = {"event": "burst_start", "iteration": iteration + 1, **about, "steps": steps}
        events.append({**start, "policies": now})
        for step in range(length):
            share = 0.2 + 0.6 * (step + 1) / length
            iteration += 1
            trained = names if role == "adversary" else ["victim"]
            steps += 16_384 * len(trained)
            for number, name in enumerate(trained):
                versions[name] += 1
                wins = int(50 * share) - 2 * number
                opponents = ["victim"] if role == "adversary" else [*names, "normal"]
                metrics.append(
                    {
                        "iteration": iteration,
                        **{"burst": burst, "role": role, "steps": steps, "policy": name},
                        "version": versions[name],
                        "against": {
                            opponent: {"episodes": 50, "wins": wins, "ties": 0}
                            for opponent in opponents
                        },
                        "reward": 20 * share - 10,
                        "ppo": {"value_loss": 2.0 / (step + 1)},
                    }
                )
    for file, rows in (("metrics.jsonl", metrics), ("events.jsonl", events)):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
