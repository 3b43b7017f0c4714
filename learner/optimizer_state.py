"""State of Adam as named arrays, so that no pickle is needed to go on from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy

from common.arrays import Arrays
from common.policy import PolicySpec
from learner.conversion import oriented, parameter_names

_MOMENTS = ("exp_avg", "exp_avg_sq")


def export_adam(spec: PolicySpec, network: ActorCriticPolicy) -> Arrays:
    """Copies of each parameter's moments and step count, named `ARRAY/exp_avg`, `ARRAY/step`, ...

    ARRAY is the name in the Policy; weights are (in, out), as there. Empty before the first update.
    """
    parameters = dict(network.named_parameters())
    arrays: Arrays = {}
    for name, theirs in parameter_names(spec).items():
        if state := network.optimizer.state.get(parameters[theirs]):
            for key in _MOMENTS:
                array = oriented(name, state[key].cpu().numpy())
                arrays[f"{name}/{key}"] = np.array(array, order="C")
            arrays[f"{name}/step"] = np.array([state["step"].item()], np.float32)
    return arrays


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    # torch.tensor keeps a transposed order in memory. Fused Adam goes by the parameter's order.
    return torch.tensor(np.array(array, order="C"))


def import_adam(spec: PolicySpec, arrays: Arrays, network: ActorCriticPolicy) -> None:
    """Inverse of `export_adam`. Raises ValueError if `arrays` are not of `spec`."""
    names = parameter_names(spec)
    shapes = spec.shapes()
    expected = {f"{n}/{k}": shapes[n] for n in names for k in _MOMENTS} if arrays else {}
    expected |= {f"{n}/step": (1,) for n in names} if arrays else {}
    found = {name: array.shape for name, array in arrays.items()}
    if odd := sorted(n for n in expected | found if expected.get(n) != found.get(n)):
        raise ValueError(f"optimiser state: arrays missing, unknown or misshapen: {odd}")
    optimizer = network.optimizer
    numbers = {theirs: number for number, (theirs, _) in enumerate(network.named_parameters())}
    states = {
        numbers[theirs]: {
            **{key: _tensor(oriented(name, arrays[f"{name}/{key}"])) for key in _MOMENTS},
            "step": torch.tensor(arrays[f"{name}/step"].item(), dtype=torch.float32),
        }
        for name, theirs in names.items()
        if arrays
    }
    optimizer.load_state_dict(
        {"state": states, "param_groups": optimizer.state_dict()["param_groups"]}
    )
