"""MatchingPennies."""

from __future__ import annotations

import numpy as np

from common.game import Discrete
from sampler.games import make_batched


def test_even_wins_when_the_coins_match() -> None:
    game, lanes = make_batched("MatchingPennies", "exact", 4), np.arange(4)
    game.reset(lanes, [0, 1, 2, 3])
    even = np.array([[0], [0], [1], [1]], np.float32)
    odd = np.array([[0], [1], [0], [1]], np.float32)
    result = game.step(lanes, [even, odd])
    assert result.winner.tolist() == [0, 1, 1, 0]
    assert result.outcome.tolist() == [[1, -1], [-1, 1], [-1, 1], [1, -1]]
    assert result.terminated.all()
    assert not result.dense.any()


def test_there_is_nothing_to_see() -> None:
    game, lanes = make_batched("MatchingPennies", "exact", 3), np.array([0, 2])
    for side, name in enumerate(("even", "odd")):
        assert game.observe(side, lanes).tolist() == [[1], [1]]
        assert game.description.sides[side].name == name
        assert game.description.sides[side].action == Discrete(2)
    assert game.description.max_steps == 1
