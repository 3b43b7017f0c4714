"""The public agent zoo: policies published with openai/multiagent-competition, as ours.

A file is one flat float32 array. The orders of its parts below are those of the zoo's own networks
(`policy.py` of that repository); lengths, filters and clip are in `Architecture`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.array_pickle import read_array
from common.arrays import Arrays
from common.errors import UserError
from common.game import Box
from common.policy import MEAN_REST, Policy, PolicySpec

PREFIX = "zoo:"
ENVIRONMENT_VARIABLE = "SPARRING_ZOO"
MAX_FILE_BYTES = 16 * 2**20

_FILE_NAME = re.compile(r"(?P<agent>\w+?)_parameters-(?P<version>v\d+)\.?pkl")
_HUMANOID = Box(17, -0.4, 0.4)
_ANT = Box(8, -1.0, 1.0)

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Architecture:
    """A network of the zoo.

    Attributes:
        kind: `mlp`: tanh 64-64, policy and value apart. `lstm`: dense 128 + ReLU, LSTM 128, head.
        observation_size: length of the raw observation.
        action: 17 torques of a humanoid or 8 of an ant.
    """

    kind: Literal["mlp", "lstm"]
    observation_size: int
    action: Box

    @property
    def spec(self) -> PolicySpec:
        """The shape of its policies."""
        hidden = (64, 64) if self.kind == "mlp" else (128,)
        return PolicySpec(self.kind, self.observation_size, self.action, hidden, clip=5.0)

    @property
    def filters_length(self) -> int:
        """Numbers before the weights: sum, sum of squares and count of returns, then of obs."""
        return 3 + 2 * self.observation_size + 1

    def parts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the arrays after the filters, in the order of the file."""
        shapes = self.spec.shapes()
        order = ("value/", "policy/", "log_std")
        return [(name, shapes[name]) for part in order for name in shapes if name.startswith(part)]

    @property
    def length(self) -> int:
        """Numbers in a file."""
        return self.filters_length + sum(int(np.prod(shape)) for _, shape in self.parts())

    def __str__(self) -> str:
        network = "MLP 64-64" if self.kind == "mlp" else "LSTM 128"
        return f"{network}, {self.observation_size} observations, {self.action.size} actions"


@dataclass(frozen=True)
class ZooFolder:
    """A folder of the zoo.

    Attributes:
        path: below `agent-zoo`.
        game: the game its policies play.
        sides: the side of each kind of file, e.g. agent1 -> blocker; `agent` plays both.
        architecture: of all its policies.
    """

    path: str
    game: str
    sides: Mapping[str, tuple[str, ...]]
    architecture: Architecture


_HUMANOID_MLP = Architecture("mlp", 380, _HUMANOID)
_LEFT_RIGHT = {"agent1": ("left",), "agent2": ("right",)}

FOLDERS = (
    ZooFolder(
        "you-shall-not-pass",
        "YouShallNotPassHumans",
        {"agent1": ("blocker",), "agent2": ("runner",)},
        _HUMANOID_MLP,
    ),
    ZooFolder(
        "kick-and-defend/kicker",
        "KickAndDefend",
        {"agent1": ("kicker",)},
        Architecture("lstm", 384, _HUMANOID),
    ),
    ZooFolder(
        "kick-and-defend/defender",
        "KickAndDefend",
        {"agent2": ("keeper",)},
        Architecture("lstm", 384, _HUMANOID),
    ),
    ZooFolder(
        "sumo/humans",
        "SumoHumans",
        {"agent": ("left", "right")},
        Architecture("lstm", 395, _HUMANOID),
    ),
    ZooFolder(
        "sumo/ants", "SumoAnts", {"agent": ("left", "right")}, Architecture("lstm", 137, _ANT)
    ),
    ZooFolder("run-to-goal/humans", "RunToGoalHumans", _LEFT_RIGHT, _HUMANOID_MLP),
    ZooFolder("run-to-goal/ants", "RunToGoalAnts", _LEFT_RIGHT, Architecture("mlp", 122, _ANT)),
)


def zoo_folder(given: Path | None) -> Path:
    """The folder `agent-zoo`: the one given (it or its clone), else that of SPARRING_ZOO.

    Raises UserError, saying how to get the zoo, if there is none.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE) or None
    place = given or (Path(named) if named else None)
    if place is None:
        raise UserError(f"no agent zoo is known: {_HOW_TO_GET}")
    try:
        place = place.expanduser()
    except RuntimeError as error:
        raise UserError(f"there is no agent zoo at {place}: {error}") from error
    folder = place / "agent-zoo" if (place / "agent-zoo").is_dir() else place
    if not folder.is_dir():
        raise UserError(f"there is no agent zoo at {place}: {_HOW_TO_GET}")
    return folder


_HOW_TO_GET = (
    "clone https://github.com/openai/multiagent-competition and name its folder agent-zoo "
    f"with --zoo, {ENVIRONMENT_VARIABLE} or `zoo` in the configuration"
)


def zoo_policies(folder: Path) -> dict[str, Path]:
    """Names (without `zoo:`) and files of the policies in a folder `agent-zoo`."""
    found: dict[str, Path] = {}
    for known in FOLDERS:
        for path in sorted((folder / known.path).glob("*pkl")):
            if match := _FILE_NAME.fullmatch(path.name):
                found[f"{known.path}/{match['agent']}-{match['version']}"] = path
    return found


def load_zoo_policy(name: str, zoo: Path | None) -> Policy:
    """The policy of a name like `zoo:you-shall-not-pass/agent1-v1`.

    Args:
        name: its path below `agent-zoo`, with `_parameters-vN.pkl` folded into `-vN`.
        zoo: the folder `agent-zoo` or its clone; None: as SPARRING_ZOO says.

    Raises:
        UserError: there is no zoo or no such policy in it.
        ValueError: the file cannot be read or is no policy of its game.
    """
    folder = zoo_folder(zoo)
    policies = zoo_policies(folder)
    short = name.removeprefix(PREFIX)
    if short not in policies:
        raise UserError(_unknown(name, folder, policies))
    known = next(f for f in FOLDERS if f.path == short.rpartition("/")[0])
    numbers = _read_file(policies[short])
    if len(numbers) != known.architecture.length:
        raise ValueError(
            f"{policies[short]} holds {len(numbers)} numbers, but a policy for {known.game} has "
            f"{known.architecture.length} ({known.architecture})"
        )
    return _policy(PREFIX + short, known.game, known.architecture, numbers, str(policies[short]))


def zoo_sides(name: str) -> tuple[str, ...]:
    """The sides that a zoo policy was trained for; () if its name is unknown."""
    folder, _, agent = name.removeprefix(PREFIX).rpartition("/")
    sides = [f.sides.get(agent.partition("-")[0], ()) for f in FOLDERS if f.path == folder]
    return sides[0] if sides else ()


def _unknown(name: str, folder: Path, policies: dict[str, Path]) -> str:
    if not policies:
        return f"{folder} holds no policies of the zoo, so not {name}: {_HOW_TO_GET}"
    close = difflib.get_close_matches(name.removeprefix(PREFIX), policies, n=4, cutoff=0.6)
    names = ", ".join(PREFIX + policy for policy in close or policies)
    return f"the zoo at {folder} has no {name}; {'close to it' if close else 'it has'}: {names}"


def load_zoo_file(path: Path) -> Policy:
    """The policy in a file of the zoo's format, wherever it lies; its length tells its kind.

    Raises ValueError if it cannot be read or has a length that no policy of the zoo has. The game
    is left open ("") where several games share the architecture.
    """
    numbers = _read_file(path)
    owners = [folder for folder in FOLDERS if folder.architecture.length == len(numbers)]
    if not owners:
        raise ValueError(
            f"{path} holds {len(numbers)} numbers; policies of the zoo hold {_known_lengths()}"
        )
    games = sorted({folder.game for folder in owners})
    game = games[0] if len(games) == 1 else ""
    return _policy(
        path.name.removesuffix("pkl").removesuffix("."),
        game,
        owners[0].architecture,
        numbers,
        str(path),
    )


def _known_lengths() -> str:
    games: dict[Architecture, list[str]] = {}
    for folder in FOLDERS:
        owners = games.setdefault(folder.architecture, [])
        if folder.game not in owners:
            owners.append(folder.game)
    return "; ".join(f"{a.length} ({', '.join(names)}: {a})" for a, names in games.items())


def _read_file(path: Path) -> NDArray[np.float32]:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(
                f"{path} has {size} bytes; the limit for policies of the zoo is {MAX_FILE_BYTES}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_array(data, str(path))


def _policy(
    name: str, game: str, architecture: Architecture, numbers: NDArray[np.float32], source: str
) -> Policy:
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise ValueError(f"{source} holds NaN or infinity, first at position {wrong[0]}")
    split = architecture.filters_length
    filters = numbers[:split].astype(np.float64)
    size = architecture.observation_size
    return_mean, return_std = _mean_std(filters[:1], filters[1:2], filters[2], source)
    mean, std = _mean_std(filters[3 : 3 + size], filters[3 + size : -1], filters[-1], source)
    arrays: Arrays = dict(_cut(architecture, numbers[split:].astype(np.float64)))
    head = "value/2" if architecture.kind == "mlp" else "value/head"
    arrays[f"{head}/weight"] = arrays[f"{head}/weight"] * return_std
    arrays[f"{head}/bias"] = arrays[f"{head}/bias"] * return_std + return_mean
    with np.errstate(over="ignore", invalid="ignore"):  # Policy refuses what becomes infinite
        # A mean like 8.322 rounded to float32 moves actions by 1e-5 where std is as small as 0.1.
        rest = mean - mean.astype(np.float32)
        arrays |= {"filter/mean": mean, MEAN_REST: rest, "filter/std": std}
        rounded = {key: array.astype(np.float32) for key, array in arrays.items()}
    return Policy(name, 0, architecture.spec, rounded, game)


def _mean_std(
    total: Float64, squares: Float64, count: np.float64, source: str
) -> tuple[Float64, Float64]:
    """Mean and standard deviation of a running filter, with the zoo's floor of 1e-2 (variance)."""
    if count <= 0:
        raise ValueError(f"{source} is no policy of the zoo: a filter has seen {count} numbers")
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 1e-2))


def _cut(architecture: Architecture, numbers: Float64) -> Iterator[tuple[str, Float64]]:
    start = 0
    for name, shape in architecture.parts():
        end = start + int(np.prod(shape))
        yield name, numbers[start:end].reshape(shape)
        start = end
