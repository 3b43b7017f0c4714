"""What importing a part loads: import-linter reads our imports, this sees everyone's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

LOADED = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    importlib.import_module(found.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def loaded_by(module: str) -> set[str]:
    """Top-level names in `sys.modules` once `module` and all that is below it are imported."""
    command = [sys.executable, "-c", LOADED, module]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("common", {"mujoco", "ray", "torch", "stable_baselines3"}),
        ("sampler", {"torch", "stable_baselines3"}),
        ("sampler.worker", {"torch", "stable_baselines3"}),
        ("sampler.games", {"ray", "grpc", "torch", "stable_baselines3"}),
        ("sampler.arena", {"ray", "grpc", "torch", "stable_baselines3"}),
        ("learner", {"mujoco", "ray"}),
        ("analysis", {"mujoco", "ray", "grpc", "torch", "stable_baselines3"}),
        ("sparring", {"mujoco", "ray", "grpc", "torch", "stable_baselines3"}),
    ],
)
def test_a_part_does_not_load_what_it_must_not_need(module: str, unwanted: set[str]) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"there is no {module} yet")
    assert not loaded_by(module) & unwanted
