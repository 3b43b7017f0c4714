from __future__ import annotations

import numpy as np
import pytest

from learner.normalizers import RewardNormalizer, RunningMoments


@pytest.mark.parametrize(("size", "rows"), [(380, 5000), (3, 17), (1, 1)])
def test_moments_equal_those_of_all_rows_at_once(size: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    # Far off centre: squares of raw float32 numbers would cancel.
    data = (rng.standard_normal((rows, size)) * np.linspace(0.01, 5, size) + 300).astype(np.float32)
    moments = RunningMoments.empty(size)
    for part in np.array_split(data, [rows // 3, rows // 2]):
        moments = moments.updated(part)
    exact = data.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, exact.var(axis=0), rtol=1e-5)
    assert moments.count == rows


def test_empty_moments_leave_numbers_as_they_are() -> None:
    moments = RunningMoments.empty(2)
    assert moments.mean.tolist() == [0, 0]
    assert moments.std == pytest.approx([1, 1])


def test_an_update_leaves_the_old_moments_alone() -> None:
    frozen = RunningMoments.empty(2)
    frozen.updated(np.ones((3, 2)))
    assert (frozen.mean.tolist(), frozen.variance.tolist(), frozen.count) == ([0, 0], [1, 1], 0)


def test_a_constant_observation_has_a_positive_std() -> None:
    moments = RunningMoments.empty(1).updated(np.full((1000, 1), 1 / 3, np.float32))
    assert moments.std.tolist() == [1e-4]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_moments_tell_that_a_number_was_not_finite(poison: float) -> None:
    data = np.zeros((10, 2), np.float32)
    data[4, 1] = poison
    with np.errstate(invalid="ignore"):
        assert not RunningMoments.empty(2).updated(data).finite


def test_moments_survive_as_arrays() -> None:
    moments = RunningMoments.empty(3).updated(np.random.default_rng(0).random((9, 3)))
    copy = RunningMoments.from_arrays(moments.to_arrays(), 3)
    assert np.array_equal(copy.mean, moments.mean)
    assert np.array_equal(copy.variance, moments.variance)
    assert copy.count == moments.count


@pytest.mark.parametrize(
    "change",
    [{"mean": np.zeros(2)}, {"extra": np.zeros(1)}, {"variance": np.array([1.0, np.nan, 1.0])}],
)
def test_moments_of_another_shape_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="moments"):
        RunningMoments.from_arrays({**RunningMoments.empty(3).to_arrays(), **change}, 3)


def test_rewards_are_divided_by_the_std_of_the_discounted_return() -> None:
    rewards, lengths = np.array([1, -2, 3, 50, -4], np.float32), np.array([3, 2])
    returns = [1, -2 + 0.9, 3 + 0.9 * (-2 + 0.9), 50, -4 + 0.9 * 50]
    normalizer = RewardNormalizer.empty(0.9).updated(rewards, lengths)
    np.testing.assert_allclose(normalizer(rewards), rewards / np.std(returns), rtol=1e-6)
    again = normalizer.updated(rewards[:1], np.array([1]))
    np.testing.assert_allclose(again(rewards), rewards / np.std([*returns, 1]), rtol=1e-6)


def test_normalised_rewards_are_clipped() -> None:
    normalizer = RewardNormalizer.empty(0.9)
    assert normalizer(np.array([-1e6, 2, 1e6], np.float32)).tolist() == [-10, 2, 10]


def test_a_reward_normalizer_survives_as_arrays() -> None:
    rewards = np.array([1, -2, 3], np.float32)
    normalizer = RewardNormalizer.empty(0.9).updated(rewards, np.array([3]))
    copy = RewardNormalizer.empty(0.9).with_arrays(normalizer.to_arrays())
    assert np.array_equal(copy(rewards), normalizer(rewards))
