"""Forward passes of the networks that play, in NumPy.

Weights are stored as float32 and multiplied as float64: the matrices are small, and the result then
does not depend on how a BLAS splits its sums once it is rounded back to float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Network(Protocol):
    """Maps filtered observations (n, obs) and states (n, s) to heads (n, out) and states."""

    state_size: int

    def __call__(self, inputs: Float, state: NDArray[np.float32]) -> tuple[Float, NDArray[Any]]:
        """Heads (n, out) and next states (n, s) of n episodes."""
        ...


def sigmoid(x: Float) -> Float:
    """Logistic function, safe for large arguments."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _activation(name: str, x: Float) -> Float:
    return np.tanh(x, out=x) if name == "tanh" else np.maximum(x, 0.0, out=x)


class Mlp:
    """Dense layers `PREFIX/0 ... PREFIX/k`, each weight (in, out) and bias (out,); linear head."""

    state_size = 0

    def __init__(self, arrays: Mapping[str, NDArray[Any]], prefix: str, activation: str) -> None:
        self._activation = activation
        self._layers: list[tuple[Float, Float]] = []
        while f"{prefix}/{len(self._layers)}/weight" in arrays:
            layer = f"{prefix}/{len(self._layers)}"
            weight, bias = arrays[f"{layer}/weight"], arrays[f"{layer}/bias"]
            self._layers.append((weight.astype(np.float64), bias.astype(np.float64)))

    def __call__(self, inputs: Float, state: NDArray[np.float32]) -> tuple[Float, NDArray[Any]]:
        """See Network."""
        x = inputs
        for weight, bias in self._layers[:-1]:
            x = _activation(self._activation, x @ weight + bias)
        weight, bias = self._layers[-1]
        return x @ weight + bias, state


class Lstm:
    """The zoo's recurrent network: dense + ReLU, one BasicLSTM layer, linear head.

    Gates in the order i, j, f, o with forget bias 1 (TensorFlow's BasicLSTMCell). The state is the
    cell and the output, side by side: (n, 2 * units).
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
        self._embed = self._pair(arrays, f"{prefix}/embed")
        self._cell = self._pair(arrays, f"{prefix}/lstm")
        self._head = self._pair(arrays, f"{prefix}/head")
        units = self._head[0].shape[0]
        self._cell[1][2 * units : 3 * units] += 1.0  # forget bias
        self.state_size = 2 * units

    @staticmethod
    def _pair(arrays: Mapping[str, NDArray[Any]], layer: str) -> tuple[Float, Float]:
        weight, bias = arrays[f"{layer}/weight"], arrays[f"{layer}/bias"]
        return weight.astype(np.float64), bias.astype(np.float64)

    def __call__(self, inputs: Float, state: NDArray[np.float32]) -> tuple[Float, NDArray[Any]]:
        """See Network."""
        units = self.state_size // 2
        x = np.empty((len(inputs), self._cell[0].shape[0]))
        x[:, :units] = _activation("relu", inputs @ self._embed[0] + self._embed[1])
        x[:, units:] = state[:, units:]
        gates = x @ self._cell[0] + self._cell[1]
        i, j, f, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
        cell = state[:, :units] * sigmoid(f) + sigmoid(i) * np.tanh(j)
        output = np.tanh(cell) * sigmoid(o)
        after = np.empty_like(state)
        after[:, :units] = cell
        after[:, units:] = output
        return output @ self._head[0] + self._head[1], after
