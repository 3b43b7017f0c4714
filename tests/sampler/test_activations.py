"""What a victim sees, for the analysis of its activations."""

from pathlib import Path

import numpy as np
import pytest

from common.config import load
from common.errors import UserError
from sampler.activations import Watched, watched
from sampler.match import LocalPlayer, match_tasks

GAME = "YouShallNotPassHumans"


def humans(opponents: list[str]) -> Watched:
    return watched("random", opponents, game=GAME, side="runner", physics="fast")


def test_steps_are_those_before_each_action_episode_by_episode() -> None:
    players = humans(["zero"])
    (seen,) = players.play(3, seed=1)
    assert seen.opponent == "zero"
    assert seen.observations.shape == (len(seen.episodes), 380)
    seats = {"blocker": players.opponents["zero"], "runner": players.victim}
    (task,) = match_tasks(players.description, seats, 3, 1)
    summaries = LocalPlayer().summaries(task, {policy.hash: policy for policy in seats.values()})
    lengths = [summary.length for summary in summaries]
    np.testing.assert_array_equal(seen.episodes, np.repeat([0, 1, 2], lengths))


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
