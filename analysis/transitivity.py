"""How much of a payoff matrix is "better and worse", and how much "rock, paper, scissors".

Take the match-ups as the edges of a graph between the policies of side 0 and of side 1, and on each
edge the advantage x_ij of row i over column j. Hodge's theorem splits any such flow in two parts
that are orthogonal (Jiang et al. 2011, doi:10.1007/s10107-010-0419-x; for log-odds of win rates
Balduzzi et al. 2018, arXiv:1806.02643):

    x_ij = (s_i - t_j)  +  e_ij

the gradient of a strength of every policy, and a rest that has no sources and sinks: in every row
and column it sums to 0, so it can only run in circles. In the gradient we keep apart what all
match-ups share, the advantage of the side: s_i - t_j = mean + (r_i - c_j), with r and c of mean 0.
The differences between match-ups are then transitive, r_i - c_j, or cyclic, e_ij.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from analysis.tables import Tournament
from analysis.uncertainty import counts, percentiles
from common.errors import UserError
from common.statistics import Interval

Float = NDArray[np.float64]
Scale = Literal["log-odds", "payoff"]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Transitive and cyclic part of a tournament.

    Attributes:
        scale: what is decomposed: log-odds of the score, or score - 1/2.
        side_advantage: mean advantage of side 0, in `scale`.
        strength0: by policy of side 0, how far it is above the mean of its side (r_i).
        strength1: the same for side 1 (c_j).
        cyclic_part: e_ij, policies of side 0 as rows.
        transitive: mean square of r_i - c_j, less what chance adds.
        cyclic: mean square of e_ij, less what chance adds; not below 0.
        cyclic_share: cyclic / (transitive + cyclic) with a bootstrap interval, 95 %; NaN where the
            match-ups differ no more than by chance.
        p_value: how often tables of purely transitive policies have a cyclic part as large.
    """

    scale: Scale
    side_advantage: float
    strength0: pd.Series[float]
    strength1: pd.Series[float]
    cyclic_part: pd.DataFrame
    transitive: float
    cyclic: float
    cyclic_share: Interval
    p_value: float


def decompose(
    tournament: Tournament, scale: Scale = "log-odds", draws: int = 1000, seed: int = 0
) -> Decomposition:
    """Splits the payoff matrix into a transitive and a cyclic part.

    Chance makes cycles of its own, and log-odds of few episodes are cut off at the ends. What both
    add to the cyclic part is measured on tables drawn from the transitive model that fits best
    (log-odds of winning = mean + r_i - c_j, by maximum likelihood; Bradley & Terry 1952), and taken
    off. The share of tables with at least the observed cyclic part is the p-value.

    Raises:
        UserError: fewer than two policies on a side; a match-up was not played.
    """
    outcomes = counts(tournament)
    m, n = outcomes.shape[:2]
    if min(m, n) < 2:
        raise UserError(
            f"{tournament.source}: cycles need two or more policies on each side, there are "
            f"{m} and {n}"
        )
    rng = np.random.default_rng(seed)
    advantage = _advantage(outcomes, scale)
    observed = _mean_squares(advantage)
    null = _simulated(_transitive_model(outcomes), outcomes, scale, draws, rng)
    again = _simulated(_smoothed_scores(outcomes), outcomes, scale, draws, rng)
    # Drawing again adds as much to the mean squares as the first playing did.
    drawn = again - (again.mean(axis=0) - observed)
    chance = np.array([again[:, 0].mean() - observed[0], null[:, 1].mean()])
    transitive, cyclic = np.maximum(observed - chance, 0.0)
    rows, columns, rest = _parts(advantage)
    return Decomposition(
        scale=scale,
        side_advantage=float(advantage.mean()),
        strength0=pd.Series(rows, tournament.policies[0]),
        strength1=pd.Series(columns, tournament.policies[1]),
        cyclic_part=pd.DataFrame(rest, tournament.policies[0], tournament.policies[1]),
        transitive=float(transitive),
        cyclic=float(cyclic),
        cyclic_share=percentiles(
            float(_share(np.array([[transitive, cyclic]]))[0]),
            _share(np.maximum(drawn - chance, 0.0)),
        ),
        p_value=float((1 + (null[:, 1] >= observed[1] - 1e-12).sum()) / (1 + draws)),
    )


def _advantage(outcomes: Float, scale: Scale) -> Float:
    """Advantage of side 0 (..., m, n) from wins, ties and losses (..., m, n, 3)."""
    won = outcomes[..., 0] + outcomes[..., 1] / 2
    lost = outcomes[..., 2] + outcomes[..., 1] / 2
    if scale == "payoff":
        payoff: Float = won / (won + lost) - 0.5
        return payoff
    # A half added to both keeps 0 wins finite and the bias small (Haldane 1956, Anscombe 1956).
    odds: Float = np.log((won + 0.5) / (lost + 0.5))
    return odds


def _parts(advantage: Float) -> tuple[Float, Float, Float]:
    """Strengths r (..., m) and c (..., n) and the rest e (..., m, n), by least squares."""
    mean = advantage.mean(axis=(-2, -1), keepdims=True)
    rows = advantage.mean(axis=-1) - mean[..., 0]
    columns = mean[..., 0] - advantage.mean(axis=-2)
    rest = advantage - mean - rows[..., :, None] + columns[..., None, :]
    return rows, columns, rest


def _mean_squares(advantage: Float) -> Float:
    """Mean squares (..., 2) of the transitive and the cyclic part."""
    rows, columns, rest = _parts(advantage)
    transitive = (rows**2).mean(axis=-1) + (columns**2).mean(axis=-1)
    return np.stack([transitive, (rest**2).mean(axis=(-2, -1))], axis=-1)


def _share(squares: Float) -> Float:
    total = squares.sum(axis=-1)
    share = np.full(len(squares), np.nan)
    np.divide(squares[:, 1], total, out=share, where=total > 0)
    return share


def _smoothed_scores(outcomes: Float) -> Float:
    won = outcomes[..., 0] + outcomes[..., 1] / 2
    scores: Float = (won + 0.5) / (outcomes.sum(axis=-1) + 1)
    return scores


def _simulated(
    scores: Float, outcomes: Float, scale: Scale, draws: int, rng: np.random.Generator
) -> Float:
    """Mean squares (draws, 2) of tables with these expected scores and as many episodes."""
    episodes = outcomes.sum(axis=-1)
    ties = np.minimum(outcomes[..., 1] / episodes, 2 * np.minimum(scores, 1 - scores))
    wins = np.clip(scores - ties / 2, 0, 1)
    losses = np.clip(1 - wins - ties, 0, 1)
    shares = np.stack([wins, ties, losses], axis=-1)
    shares /= shares.sum(axis=-1, keepdims=True)
    drawn = rng.multinomial(episodes.astype(np.int64), shares, (draws, *episodes.shape))
    return _mean_squares(_advantage(drawn.astype(np.float64), scale))


def _transitive_model(outcomes: Float, ridge: float = 1e-2) -> Float:
    """Scores (m, n) of the best model log-odds = mean + r_i - c_j; ties count half a win.

    The ridge is a weak prior on the strengths: without it they are infinite where a policy won
    every episode.
    """
    m, n = outcomes.shape[:2]
    won = outcomes[..., 0] + outcomes[..., 1] / 2
    episodes = outcomes.sum(axis=-1)

    def loss(parameters: Float) -> tuple[float, Float]:
        logits = parameters[0] + parameters[1 : m + 1, None] - parameters[None, m + 1 :]
        wrong = episodes * expit(logits) - won
        value = (episodes * np.logaddexp(0, logits) - won * logits).sum()
        gradient = np.concatenate([[wrong.sum()], wrong.sum(axis=1), -wrong.sum(axis=0)])
        return value + ridge * (parameters**2).sum() / 2, gradient + ridge * parameters

    best = minimize(loss, np.zeros(1 + m + n), jac=True, method="L-BFGS-B").x
    scores: Float = expit(best[0] + best[1 : m + 1, None] - best[None, m + 1 :])
    return scores
