"""Tournaments of a game of one step whose win rates can be computed, without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.policy import Policy, PolicySpec
from common.task import EpisodeSummary
from sampler.games import describe
from sampler.match import LocalPlayer, Summaries
from sampler.tournament_plan import Agenda, Chunk, Pair, Rule, all_pairs, chunk_task
from sampler.tournament_store import TournamentStore

COINS = describe("MatchingPennies")


def coin(side: int, heads: float) -> Policy:
    """Shows action 0 with that probability; `even` wins when both show the same."""
    seat = COINS.sides[side]
    spec = PolicySpec("mlp", 1, seat.action)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
    arrays["filter/std"] += 1
    arrays["policy/0/bias"][:] = np.log([heads, 1 - heads])
    return Policy(f"heads {heads:g}", 3, spec, arrays)


EVENS = [coin(0, heads) for heads in (0.5, 0.8, 0.99)]
ODDS = [coin(1, heads) for heads in (0.3, 0.7)]
POLICIES = {policy.hash: policy for policy in (*EVENS, *ODDS)}
PAIRS = all_pairs([policy.hash for policy in EVENS], [policy.hash for policy in ODDS])


def summary(winner: int = 0, length: int = 1) -> EpisodeSummary:
    """An episode that was never played."""
    return EpisodeSummary(length, winner, False, (0.25, 0.1), (1.0, -1.0), 2)


def played(chunk: Chunk, seed: int = 0, player: LocalPlayer | None = None) -> Summaries:
    """What a chunk comes to."""
    return (player or LocalPlayer()).summaries(chunk_task(COINS, chunk, seed), POLICIES)


def play(
    path: Path, rule: Rule, *, pairs: list[Pair] = PAIRS, seed: int = 0, most: int = 10**6
) -> tuple[list[Chunk], Mapping[Pair, Summaries]]:
    """Plays into a directory as the command does, at most so many chunks.

    Returns:
        the chunks that had to be played, and the episodes that count now.
    """
    player, drawn = LocalPlayer(), list[Chunk]()
    with TournamentStore(path, COINS, seed) as store:
        agenda = Agenda(pairs, rule, store.known)
        while len(drawn) < most and (chunk := agenda.draw()):
            drawn.append(chunk)
            episodes = played(chunk, seed, player)
            store.append(chunk, episodes)
            agenda.add(chunk, episodes)
    return drawn, {pair: agenda.played(pair) for pair in pairs}
