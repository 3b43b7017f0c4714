from dataclasses import replace

import numpy as np
import pytest

from analysis.activations import Recording
from analysis.density import Density, Settings, activation_map, density
from common.errors import UserError
from common.game import Box
from common.policy import Policy, PolicySpec

QUICK = Settings(components=(1, 2, 4), draws=500)


def victim() -> Policy:
    spec = PolicySpec("mlp", 6, Box(2, -1, 1), (8, 8))
    rng = np.random.default_rng(1)
    arrays = {
        name: (0.5 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in spec.shapes().items()
    }
    arrays["filter/mean"] *= 0
    arrays["filter/std"] = np.ones(6, np.float32)
    return Policy("victim", 0, spec, arrays)


def seen(label: str, shift: float = 0.0, episodes: int = 40, seed: int = 0) -> Recording:
    """Episodes of 25 steps that keep near a place of their own, all of it shifted by `shift`."""
    rng = np.random.default_rng(seed)
    places = 0.3 * rng.standard_normal((episodes, 1, 6)) + shift
    steps = places + 0.6 * rng.standard_normal((episodes, 25, 6))
    numbers = np.repeat(np.arange(episodes), 25)
    return Recording(label, steps.reshape(-1, 6).astype(np.float32), numbers)


@pytest.fixture(scope="module")
def result() -> Density:
    recordings = [seen("far", 1.5, seed=1), seen("normal"), seen("same", seed=2)]
    return density(victim(), recordings, base="normal", settings=QUICK)


def test_shifted_activations_are_less_likely(result: Density) -> None:
    far = result.opponents.set_index("label").loc["far"]
    assert far["difference_high"] < 0
    assert far["auroc"] > 0.95


def test_equal_activations_are_not_told_apart(result: Density) -> None:
    same = result.opponents.set_index("label").loc["same"]
    assert same["difference_low"] < 0 < same["difference_high"]
    assert 0.3 < same["auroc"] < 0.7


def test_the_base_is_judged_on_episodes_the_model_has_not_seen(result: Density) -> None:
    base = result.opponents.iloc[0]
    assert (base["label"], base["difference"], base["auroc"]) == ("normal", 0, 0.5)
    assert base["episodes"] == 40 - 20 - 8
    assert len(result.episodes) == 12 + 40 + 40
    assert (result.opponents["low"] < result.opponents["log_likelihood"]).all()
    assert (result.opponents["log_likelihood"] < result.opponents["high"]).all()


def test_the_candidate_that_held_out_steps_find_most_likely_is_chosen(result: Density) -> None:
    tried = result.model.tried
    best = tried.iloc[int(tried["log_likelihood"].to_numpy().argmax())]
    assert result.model.components == best["components"]
    assert result.model.covariance == best["covariance"]
    assert len(tried) == 6
    assert result.model.explained > 0.9


def test_it_is_repeatable(result: Density) -> None:
    recordings = [seen("far", 1.5, seed=1), seen("normal"), seen("same", seed=2)]
    again = density(victim(), recordings, base="normal", settings=QUICK)
    assert again.opponents.equals(result.opponents)
    other = density(victim(), recordings, base="normal", settings=replace(QUICK, seed=1))
    assert not other.opponents.equals(result.opponents)


def test_the_map_has_as_many_points_of_each_opponent(result: Density) -> None:
    recordings = [seen("normal"), seen("far", 4.0, seed=1)]
    points = activation_map(victim(), recordings, result.model, steps=40)
    assert list(points["label"].value_counts()) == [40, 40]
    plane = points[["x", "y"]].to_numpy()
    assert np.isfinite(plane).all()
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = points["label"].to_numpy()[distances.argmin(axis=1)]
    assert (nearest == points["label"]).mean() > 0.9


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no recording is called 'usual'; there are normal"):
        density(victim(), [seen("normal")], base="usual")
    with pytest.raises(UserError, match="two recordings have one label"):
        density(victim(), [seen("normal"), seen("normal")], base="normal")
    with pytest.raises(UserError, match="has 9 episodes; a density model needs at least 10"):
        density(victim(), [seen("normal", episodes=9)], base="normal")
    still = Recording("normal", np.ones((50, 6), np.float32), np.repeat(np.arange(10), 5))
    with pytest.raises(UserError, match="all the same"):
        density(victim(), [still], base="normal")
