from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer

from learner.advantages import advantages_and_returns, discounted_past, discounted_sums

GAMMA, LAM = 0.99, 0.95


def recursion(
    rewards: Any, values: Any, last: Any, lengths: Any, truncated: Any
) -> NDArray[np.float64]:
    """Equation 16 of the GAE paper, episode by episode and backwards."""
    advantages: list[float] = []
    start = 0
    for length, last_value, cut in zip(lengths, last, truncated, strict=True):
        following, gae, episode = (float(last_value) if cut else 0.0), 0.0, []
        for step in reversed(range(start, start + length)):
            delta = float(rewards[step]) + GAMMA * following - float(values[step])
            gae = delta + GAMMA * LAM * gae
            following = float(values[step])
            episode.append(gae)
        advantages += reversed(episode)
        start += length
    return np.array(advantages)


def example(lengths: tuple[int, ...]) -> tuple[Any, Any, Any, Any, Any]:
    rng = np.random.default_rng(len(lengths))
    steps, episodes = sum(lengths), len(lengths)
    return (
        rng.standard_normal(steps, np.float32),
        rng.standard_normal(steps, np.float32),
        rng.standard_normal(episodes, np.float32),
        np.array(lengths, np.int64),
        rng.random(episodes) < 0.5,
    )


@pytest.mark.parametrize(
    "lengths", [(1,), (7,), (1, 1, 1), (3, 1, 8, 2), (1000,), tuple(range(1, 60)), (1,) * 3000]
)
def test_equals_the_recursion(lengths: tuple[int, ...]) -> None:
    inputs = example(lengths)
    advantages, returns = advantages_and_returns(*inputs, GAMMA, LAM)
    np.testing.assert_allclose(advantages, recursion(*inputs), rtol=1e-6, atol=1e-6)
    assert np.array_equal(returns, advantages + inputs[1])
    assert advantages.dtype == returns.dtype == np.float32


def test_equals_stable_baselines3_on_whole_episodes() -> None:
    rewards, values, last, lengths, _ = example((5, 9, 1, 20))
    space = gymnasium.spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(35, space, space, "cpu", gae_lambda=LAM, gamma=GAMMA)
    starts = np.zeros(35, np.float32)
    starts[np.cumsum(lengths)[:-1]] = 1
    for step in range(35):
        buffer.add(
            np.zeros(1),
            np.zeros(1),
            rewards[step],
            starts[step],
            torch.tensor(values[step]),
            torch.tensor(0.0),
        )
    buffer.compute_returns_and_advantage(torch.tensor(last[-1:]), np.ones(1))
    advantages, returns = advantages_and_returns(
        rewards, values, last, lengths, np.zeros(4, np.bool_), GAMMA, LAM
    )
    np.testing.assert_allclose(advantages, buffer.advantages[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(returns, buffer.returns[:, 0], rtol=1e-5, atol=1e-6)


def test_truncation_bootstraps_and_termination_does_not() -> None:
    def first(truncated: bool, last_value: float) -> float:
        advantages, _ = advantages_and_returns(
            np.array([1.0], np.float32),
            np.array([0.25], np.float32),
            np.array([last_value], np.float32),
            np.array([1]),
            np.array([truncated]),
            GAMMA,
            LAM,
        )
        return float(advantages[0])

    assert first(truncated=True, last_value=2.0) == pytest.approx(1.0 + GAMMA * 2.0 - 0.25)
    assert first(truncated=False, last_value=2.0) == first(truncated=False, last_value=-7.0) == 0.75


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_discounted_sums_look_ahead_and_back_within_an_episode(discount: float) -> None:
    values, lengths = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([3, 2])
    ahead = [1 + discount * (2 + 4 * discount), 2 + 4 * discount, 4, 8 + 16 * discount, 16]
    back = [1, 2 + discount, 4 + discount * (2 + discount), 8, 16 + 8 * discount]
    np.testing.assert_allclose(discounted_sums(values, lengths, discount), ahead)
    np.testing.assert_allclose(discounted_past(values, lengths, discount), back)
