"""What a victim sees, for the analysis of its activations."""

from pathlib import Path

import numpy as np
import pytest

from common.config import load
from common.errors import UserError
from sampler.activations import Watched, watched

GAME = "YouShallNotPassHumans"


def humans(opponents: list[str]) -> Watched:
    return watched("random", opponents, game=GAME, side="runner", physics="fast")


def test_steps_are_those_before_each_action_episode_by_episode() -> None:
    (seen,) = humans(["zero"]).play(3, seed=1)
    assert seen.opponent == "zero"
    assert seen.observations.shape == (len(seen.episodes), 380)
    assert list(np.unique(seen.episodes)) == [0, 1, 2]
    assert (np.diff(seen.episodes) >= 0).all()
    # The first number is the height of the torso: the runner starts upright and falls.
    starts = np.flatnonzero(np.diff(seen.episodes, prepend=-1))
    ends = np.append(starts[1:], len(seen.episodes)) - 1
    assert (seen.observations[starts, 0] > seen.observations[ends, 0]).all()


def test_all_opponents_meet_the_victim_on_the_same_seeds() -> None:
    first, second = humans(["zero", "random"]).play(2, seed=4)
    np.testing.assert_array_equal(first.observations[0, :24], second.observations[0, :24])
    assert not np.array_equal(first.observations[:20], second.observations[:20])
    (again,) = humans(["random"]).play(2, seed=4)
    np.testing.assert_array_equal(second.observations, again.observations)


def test_a_run_tells_game_and_side_of_its_victim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/mine")
    run.mkdir(parents=True)
    config = load("pbt2-scratch", ["game.name=MatchingPennies", "victim.side=odd"])
    (run / "config.yaml").write_text(config.to_yaml())
    # Game and side were found, so the policy is what is missing.
    with pytest.raises(UserError, match=r"there is no run mine|holds no policies"):
        watched("run:mine/victim@3", ["zero"])
    with pytest.raises(UserError, match="does not tell its side: give --side"):
        watched("run:mine/adversary-0", ["zero"])
