"""How much of raw MuJoCo's speed is left once policies play: arena steps/s over mj_step steps/s.

The raw loop steps from the very states that the arena visits, with the same controls, because how
long a step takes depends on what touches what. One core.
"""

from __future__ import annotations

import os

# Read when NumPy is loaded, hence before the imports below.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from time import perf_counter  # noqa: E402
from typing import Any  # noqa: E402
from unittest.mock import patch  # noqa: E402

import mujoco  # noqa: E402
import mujoco.batch  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from common.game import GameDescription, Side  # noqa: E402
from common.policy import Policy, PolicySpec  # noqa: E402
from common.task import Episode, RolloutTask  # noqa: E402
from sampler.arena import DEFAULT_LANES, Arena  # noqa: E402

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
SUBSTEPS = 5


@dataclass(frozen=True)
class Replay:
    """The states (with controls) from which the arena's simulations were stepped, and the model."""

    model: mujoco.MjModel
    states: list[NDArray[np.float64]]

    def seconds(self) -> float:
        """Time that `mj_step` x 5 takes from all these states."""
        data = mujoco.MjData(self.model)
        total = 0.0
        for state in self.states:
            mujoco.mj_setState(self.model, data, state, STATE)
            start = perf_counter()
            mujoco.mj_step(self.model, data, SUBSTEPS)
            total += perf_counter() - start
        return total


@contextmanager
def recording() -> Iterator[list[Replay]]:
    """Collects, in one Replay, every step of a batch of simulations."""
    found: list[Replay] = []
    original = mujoco.batch.Batch.step

    def step(batch: Any, ids: Any = None, *args: Any, **kwargs: Any) -> None:
        if not found:
            found.append(Replay(batch.get_model(0), []))
        for lane in range(batch.nsim) if ids is None else ids:
            data = batch.get_data(int(lane))
            state = np.empty(mujoco.mj_stateSize(found[0].model, STATE))
            mujoco.mj_getState(found[0].model, data, state, STATE)
            found[0].states.append(state)
        original(batch, ids, *args, **kwargs)

    with patch.object(mujoco.batch.Batch, "step", step):
        yield found
