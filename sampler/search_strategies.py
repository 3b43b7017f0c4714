"""Searches for policies without gradients: they propose policies and are told how these did.

A strategy is deterministic: with the same seed and the same scores it proposes the same policies,
so that a search that was killed is brought back by telling it the scores again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import Arrays
from common.errors import UserError
from common.game import Box, Side
from common.policy import Float32, Policy, PolicySpec
from common.statistics import wilson

NAME = "adversary-0"

# Policies of a search play their mode: e^-20 is no noise. A logit that stands so far above the
# others that their probability is 0 in float64.
NO_NOISE = -20.0
CERTAIN = 1000.0

OBSERVATION_CLIP = 10.0
LEAST_STD = 1e-2

# Constant actions that play again in every round, so that a lucky one is found out.
ELITES = 4

# Beyond so many parameters a full covariance matrix costs more than playing.
FULL_COVARIANCE = 200


@dataclass(frozen=True)
class Score:
    """How a policy did in the episodes of a round.

    Attributes:
        episodes: played.
        wins: of them.
        ties: of them.
        value: mean over the episodes of the opponent's loss, a win of the opponent being -1.
    """

    episodes: int
    wins: int
    ties: int
    value: float


class Strategy(Protocol):
    """Proposes policies, round by round."""

    def incumbent(self) -> Policy:
        """What the search would answer now."""

    def propose(self) -> list[Policy]:
        """The policies to try in this round."""

    def learn(self, scores: Sequence[Score]) -> None:
        """Takes the scores of the policies proposed last, in their order."""


def mlp(side: Side, game: str, hidden: tuple[int, ...], arrays: Mapping[str, Float32]) -> Policy:
    """A policy of zeros but for `arrays`; it plays its mode."""
    spec = PolicySpec("mlp", side.observation_size, side.action, hidden, clip=OBSERVATION_CLIP)
    every: Arrays = {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
    every["filter/std"] += 1
    if "log_std" in every:
        every["log_std"] += NO_NOISE
    return Policy(NAME, 0, spec, {**every, **arrays}, game)


class ConstantActions:
    """Random search over constant actions, each a linear policy without weights.

    Every round tries fresh actions, uniform over the action space, and the best so far again, on
    new episodes. The best is the one with the highest lower end of the Wilson interval over all its
    episodes: few lucky ones do not suffice.

    Args:
        game: its name.
        side: the side to play.
        candidates: policies of a round; 0: 16.
        seed: decides the actions.
    """

    def __init__(self, game: str, side: Side, candidates: int, seed: int) -> None:
        self._game, self._side = game, side
        self._count = candidates or 16
        self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4,)))
        self._known: dict[tuple[float, ...], tuple[int, int]] = {}
        self._proposed: list[tuple[float, ...]] = []
        middle = (side.action.low + side.action.high) / 2 if isinstance(side.action, Box) else 0.0
        size = side.action.size if isinstance(side.action, Box) else 1
        self._first = (middle,) * size

    def incumbent(self) -> Policy:
        """See Strategy. Before the first round the middle of the box, or action 0."""
        best = self._best(1)
        return self._policy(best[0] if best else self._first)

    def propose(self) -> list[Policy]:
        """See Strategy."""
        elites = self._best(min(ELITES, self._count - 1))
        fresh = [self._draw() for _ in range(self._count - len(elites))]
        self._proposed = list(dict.fromkeys([*elites, *fresh]))
        return [self._policy(action) for action in self._proposed]

    def learn(self, scores: Sequence[Score]) -> None:
        """See Strategy."""
        for action, score in zip(self._proposed, scores, strict=True):
            wins, episodes = self._known.get(action, (0, 0))
            self._known[action] = wins + score.wins, episodes + score.episodes
        kept = self._best(ELITES)
        self._known = {action: self._known[action] for action in kept}

    def _best(self, count: int) -> list[tuple[float, ...]]:
        def low(action: tuple[float, ...]) -> float:
            wins, episodes = self._known[action]
            return wilson(wins, episodes).low

        return sorted(self._known, key=low, reverse=True)[:count]

    def _draw(self) -> tuple[float, ...]:
        action = self._side.action
        if isinstance(action, Box):
            drawn = self._rng.uniform(action.low, action.high, action.size)
            return tuple(drawn.astype(np.float32).tolist())
        return (float(self._rng.integers(action.n)),)

    def _policy(self, action: tuple[float, ...]) -> Policy:
        if isinstance(self._side.action, Box):
            bias = np.array(action, np.float32)
        else:
            bias = np.zeros(self._side.action.n, np.float32)
            bias[int(action[0])] = CERTAIN
        return mlp(self._side, self._game, (), {"policy/0/bias": bias})


class Evolution:
    """CMA-ES over the weights of a linear policy or an MLP (Hansen, arXiv:1604.00772).

    With more than `FULL_COVARIANCE` weights the covariance matrix is diagonal (sep-CMA-ES: Ros and
    Hansen, PPSN 2008). A step of one is, for every layer alike, a weight that moves the layer's
    output by about one, or by half the range of a continuous action.

    Args:
        game: its name.
        side: the side to play.
        hidden: widths of the hidden layers; empty: linear.
        candidates: policies of a round; 0: as CMA-ES recommends, 4 + 3 ln(weights).
        seed: decides what is tried.
        observations: (n, obs) of that side; the policy's observation filter follows from them.

    Raises:
        UserError: the library cma is not installed.
    """

    def __init__(
        self,
        game: str,
        side: Side,
        hidden: tuple[int, ...],
        candidates: int,
        seed: int,
        observations: Float32,
    ) -> None:
        cma = _cma()
        self._game, self._side, self._hidden = game, side, hidden
        self._filter = {
            "filter/mean": observations.mean(axis=0, dtype=np.float64).astype(np.float32),
            "filter/std": np.maximum(observations.std(axis=0, dtype=np.float64), LEAST_STD).astype(
                np.float32
            ),
        }
        blank = mlp(side, game, hidden, {}).arrays
        self._shapes = {n: a.shape for n, a in blank.items() if n.startswith("policy/")}
        size = sum(array.size for n, array in blank.items() if n in self._shapes)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4,)))
        options: dict[str, Any] = {
            # A seed of nan leaves NumPy's global generator alone; the one given is used instead.
            "seed": np.nan,
            "randn": lambda *shape: rng.standard_normal(shape),
            "verbose": -10,
            "CMA_diagonal": size > FULL_COVARIANCE,
        }
        if candidates:
            options["popsize"] = candidates
        self._strategy: Any = cma.CMAEvolutionStrategy(np.zeros(size), 0.5, options)
        self._proposed: list[NDArray[np.float64]] = []

    def incumbent(self) -> Policy:
        """See Strategy: the mean of the search distribution; at first weights of zero."""
        return self._policy(self._strategy.mean)

    def propose(self) -> list[Policy]:
        """See Strategy."""
        self._proposed = self._strategy.ask()
        return [self._policy(weights) for weights in self._proposed]

    def learn(self, scores: Sequence[Score]) -> None:
        """See Strategy."""
        self._strategy.tell(self._proposed, [-score.value for score in scores])

    def _policy(self, weights: NDArray[np.float64]) -> Policy:
        arrays = dict(self._filter)
        start = 0
        head = f"policy/{len(self._hidden)}/"
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            part = weights[start : start + size].reshape(shape) / sqrt(shape[0] if shape[1:] else 1)
            if name.startswith(head) and isinstance(self._side.action, Box):
                part = part * (self._side.action.high - self._side.action.low) / 2
            arrays[name] = part.astype(np.float32)
            start += size
        return mlp(self._side, self._game, self._hidden, arrays)


def _cma() -> Any:
    try:
        # A library that only this search needs.
        import cma  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "the evolution strategy needs the library cma: pip install 'sparring[search]'"
        ) from error
    return cma
