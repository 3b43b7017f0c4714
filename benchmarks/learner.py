"""Trainer.train, all in, against Stable-Baselines3's PPO.train alone on the same data.

Ours filters observations, estimates values, normalises rewards, computes advantages, updates the
moments and fills the buffer on top; theirs starts from a buffer that is filled already.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from benchmarks import report
from common.game import Box, Side
from common.ppo_settings import PpoSettings
from learner.ppo import Trainer, TrainingBatch, set_threads

# A batch of the published attack on YouShallNotPassHumans.
STEPS, OBSERVATIONS, ACTIONS, EPISODES = 16_384, 380, 17, 128
ROUNDS = 15


def batch() -> TrainingBatch:
    """Noise in the shape of a batch."""
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.choice(np.arange(1, STEPS), EPISODES - 1, replace=False))
    return TrainingBatch(
        observations=rng.standard_normal((STEPS + EPISODES, OBSERVATIONS), np.float32),
        actions=rng.standard_normal((STEPS, ACTIONS), np.float32),
        rewards=rng.standard_normal(STEPS, np.float32),
        lengths=np.diff(cuts, prepend=0, append=STEPS).astype(np.int64),
        truncated=rng.random(EPISODES) < 0.1,
    )


class _Spaces(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATIONS,), np.float32)
    action_space = gymnasium.spaces.Box(-0.4, 0.4, (ACTIONS,), np.float32)


def plain(data: TrainingBatch) -> Callable[[], float]:
    """Times `PPO.train` on a RolloutBuffer that holds `data`."""
    ppo = PPO("MlpPolicy", _Spaces(), n_steps=STEPS, batch_size=4096, n_epochs=4, device="cpu")
    ppo.set_logger(Logger(None, []))
    observations = data.observations[data.step_rows]

    def fill() -> None:
        buffer = ppo.rollout_buffer
        buffer.reset()
        buffer.observations[:, 0] = observations
        buffer.actions[:, 0] = data.actions
        with torch.no_grad():
            values, log_probs, _ = ppo.policy.evaluate_actions(
                torch.tensor(observations), torch.tensor(data.actions)
            )
        buffer.values[:] = values.numpy()
        buffer.log_probs[:, 0] = log_probs.numpy()
        buffer.advantages[:, 0] = data.rewards
        buffer.returns[:] = buffer.values + buffer.advantages
        buffer.full = True

    def run() -> float:
        fill()
        # Its default, which Trainer switches off.
        torch.distributions.Distribution.set_default_validate_args(True)
        start = perf_counter()
        ppo.train()
        seconds = perf_counter() - start
        torch.distributions.Distribution.set_default_validate_args(False)
        return seconds

    return run


def ours(data: TrainingBatch) -> Callable[[], float]:
    """Times `Trainer.train` on `data`."""
    side = Side("any", OBSERVATIONS, Box(ACTIONS, -0.4, 0.4), (("any", OBSERVATIONS),))
    trainer = Trainer.fresh("any", side, PpoSettings(), seed=0)

    def run() -> float:
        start = perf_counter()
        trainer.train(data, iteration_seed=0)
        return perf_counter() - start

    return run


def measure() -> list[report.Row]:
    """Samples a second of both, with one and two torch threads."""
    data = batch()
    rows: list[report.Row] = []
    for threads in (1, 2):
        set_threads(threads)
        seconds = report.medians({"ours": ours(data), "plain": plain(data)}, ROUNDS)
        rows.append(
            {
                "case": f"{threads} torch thread{'s' if threads > 1 else ''}",
                "ratio": seconds["plain"] / seconds["ours"],
                "samples_per_second": STEPS / seconds["ours"],
                "samples_per_second_per_core": STEPS / seconds["ours"] / threads,
                "sb3_train_samples_per_second": STEPS / seconds["plain"],
            }
        )
    return rows


if __name__ == "__main__":
    report.main("learner", measure)
