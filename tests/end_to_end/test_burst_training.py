"""The whole loop, over real gRPC and real Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.game import Discrete, Side
from common.policy import Policy, PolicySpec
from tests.end_to_end.services import policy_bytes, rows, run_command, settings

PENNIES = {
    "game.name": "MatchingPennies",
    "victim.side": "even",
    "victim.reward": "{outcome: 1.0}",
    "adversary.reward": "{outcome: 1.0}",
    "batch": "{steps: 1000, lanes: 250, episodes_per_task: 250, first_length: 1}",
}
QUICK = (
    "{learning_rate: 0.02, hidden: [], normalize_rewards: false, normalize_observations: none, "
    "gamma: 0, entropy_coefficient: %s}"
)


def biased(path: Path, side: Side, logit: float) -> str:
    """A policy file that prefers one of two actions; returns its name for a configuration."""
    spec = PolicySpec("mlp", side.observation_size, side.action)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
    arrays["filter/std"] += 1
    arrays["policy/0/bias"][:] = (logit, -logit)
    path.write_bytes(Policy(path.stem, 0, spec, arrays).to_bytes())
    return str(path)


def heads(run: Path, name: str) -> list[float]:
    """How often each version of a policy shows heads."""
    shares = []
    for path in sorted((run / "policies" / name).glob("*.safetensors")):
        policy = Policy.from_bytes(path.read_bytes(), name)
        noise = policy.noise(np.random.default_rng(0), 4000)
        observations = np.ones((4000, policy.observation_size), np.float32)
        actions, _ = policy.act(observations, policy.initial_state(4000), noise)
        shares.append(float((actions == 0).mean()))
    return shares


@pytest.fixture
def pennies_side() -> Side:
    from sampler.games import describe

    side = describe("MatchingPennies", "exact").sides[0]
    assert side.action == Discrete(2)
    return side


@pytest.mark.slow
def test_both_at_once_find_the_equilibrium_of_matching_pennies(
    tmp_path: Path, pennies_side: Side
) -> None:
    victim = biased(tmp_path / "victim.safetensors", pennies_side, 1.0)
    adversary = biased(tmp_path / "adversary.safetensors", pennies_side, 1.0)
    values = {
        **PENNIES,
        "victim.policy": victim,
        "adversary.policies": f"[{adversary}]",
        "victim.ppo": QUICK % 0.5,
        "adversary.ppo": QUICK % 0.5,
        "schedule": "{kind: simultaneous, unit: iterations, length: 40}",
        "keep.last": 100,
    }
    run = tmp_path / "run"
    done = run_command("train", "pbt0", "--run", str(run), "--workers", "2", *settings(values))
    assert done.returncode == 0, done.stderr
    # Gradient play circles around the equilibrium, half heads; its average over time reaches it.
    for name in ("victim", "adversary-0"):
        shares = heads(run, name)
        assert shares[0] == pytest.approx(0.88, abs=0.02)
        assert np.mean(shares[20:]) == pytest.approx(0.5, abs=0.07)
    wins = [r["win_rate"] for r in rows(run / "metrics.jsonl") if r["policy"] == "victim"]
    assert wins[0] > 0.7
    assert np.mean(wins[20:]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_bursts_train_one_side_and_leave_the_other_as_it_is(
    tmp_path: Path, pennies_side: Side
) -> None:
    victim = biased(tmp_path / "victim.safetensors", pennies_side, 1.0)
    values = {
        **PENNIES,
        "victim.policy": victim,
        "normal.policy": "random",
        "adversary.count": 2,
        "victim.ppo": QUICK % 0.0,
        "adversary.ppo": QUICK % 0.0,
        "schedule": "{kind: constant, length: 6, rounds: 2}",
        "keep.last": 2,
    }
    run = tmp_path / "run"
    done = run_command("train", "pbt2", "--run", str(run), "--workers", "2", *settings(values))
    assert done.returncode == 0, done.stderr
    events = rows(run / "events.jsonl")
    bursts = [e for e in events if e["event"] in ("burst_start", "burst_end")]
    assert [e["role"] for e in bursts[::2]] == ["adversary", "victim", "adversary", "victim"]
    for start, end in zip(bursts[::2], bursts[1::2], strict=True):
        for name, policy in start["policies"].items():
            trains = name.startswith("adversary") == (start["role"] == "adversary")
            changed = policy["hash"] != end["policies"][name]["hash"]
            assert changed == (trains and name != "normal"), (start["burst"], name)
    attack = [r for r in rows(run / "metrics.jsonl") if r["burst"] == 0]
    assert {r["policy"] for r in attack} == {"adversary-0", "adversary-1"}
    assert {name for r in attack for name in r["against"]} == {"victim"}
    # The best response to a victim that shows heads wins more than the equilibrium's half.
    assert min(r["win_rate"] for r in attack[-2:]) > 0.75
    defence = [r for r in rows(run / "metrics.jsonl") if r["burst"] == 1]
    assert set(defence[0]["against"]) == {"normal", "adversary-0", "adversary-1"}
    assert defence[-1]["win_rate"] > defence[0]["win_rate"]


@pytest.mark.slow
def test_a_run_leaves_what_is_needed_to_understand_it(tmp_path: Path) -> None:
    values = {**PENNIES, "schedule": "{kind: exponential, rounds: 2}"}
    options = ("train", "pbt2-scratch", "--runs", str(tmp_path / "runs"), "--workers", "1")
    for _ in range(2):
        done = run_command(*options, *settings(values))
        assert done.returncode == 0, done.stderr
    first, second = sorted((tmp_path / "runs").iterdir())
    assert (first.name, second.name) == ("pbt2-scratch-001", "pbt2-scratch-002")
    info = json.loads((first / "run.json").read_text())
    assert "train pbt2-scratch" in info["command"]
    assert info["versions"]["stable-baselines3"]
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
    assert len(rows(first / "metrics.jsonl")) == 6
    assert (first / "metrics.csv").read_text().count("\n") == 7
    assert list((first / "tensorboard").iterdir())
    assert policy_bytes(first).keys() == {"adversary-0", "victim"}
    # The same configuration and seed give the same weights, to the bit.
    assert policy_bytes(first) == policy_bytes(second)
