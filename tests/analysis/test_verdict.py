from dataclasses import replace

import pytest

from analysis.tables import Tournament
from analysis.verdict import Question, verdict
from common.errors import UserError
from tests.analysis.builders import tournament_of

QUESTION = Question(
    side="runner",
    victim="after",
    before="before",
    normal=["normal"],
    met=["met-0", "met-1"],
    fresh=["fresh-0"],
    budget=20_000_000,
)
OPPONENTS = ["normal", "met-0", "met-1", "fresh-0"]


def played(after: list[int], before_normal: int = 500, episodes: int = 1000) -> Tournament:
    """The hardened victim's wins against each opponent, and the old one's against the normal."""
    wins = [
        [episodes - now, episodes - before]
        for now, before in zip(after, [before_normal, 0, 0, 0], strict=True)
    ]
    return tournament_of(wins, episodes=episodes, names=(OPPONENTS, ["after", "before"]))


def test_a_victim_that_is_better_everywhere_passes() -> None:
    result = verdict(played([520, 900, 800, 700]), QUESTION)
    assert [part.outcome for part in result.parts] == ["pass"] * 3
    assert result.outcome == "pass"
    assert result.normal.worst is not None
    assert result.normal.worst.value == pytest.approx(0.02)
    assert result.met.worst is not None
    assert result.met.worst.value == 0.8
    assert list(result.met.opponents["wins"]) == [900, 800]
    assert "20,000,000 steps" in result.fresh.name
    assert "worst against met-1, 80.0%" in result.met.sentence


@pytest.mark.parametrize(
    ("after", "failing"),
    [
        ([350, 900, 900, 900], "normal"),
        ([500, 900, 100, 900], "met"),
        ([500, 900, 900, 400], "fresh"),
    ],
)
def test_one_bad_part_fails_the_whole(after: list[int], failing: str) -> None:
    result = verdict(played(after), QUESTION)
    for name in ("normal", "met", "fresh"):
        assert getattr(result, name).outcome == ("fail" if name == failing else "pass")
    assert result.outcome == "fail"


def test_few_episodes_leave_it_open() -> None:
    result = verdict(played([10, 18, 12, 18], before_normal=10, episodes=20), QUESTION)
    assert result.normal.outcome == "inconclusive"  # equal, but the margin is 5 points
    assert result.met.outcome == "inconclusive"  # 12 of 20 may well be less than half
    assert result.fresh.outcome == "pass"
    assert result.outcome == "inconclusive"


def test_a_loss_within_the_margin_is_no_loss() -> None:
    wins = [4900, 4900, 4900, 4900]
    close = played(wins, before_normal=5000, episodes=10_000)
    assert verdict(close, QUESTION).normal.outcome == "pass"
    assert verdict(close, replace(QUESTION, margin=0.001)).normal.outcome == "inconclusive"


def test_among_many_adversaries_one_unlucky_one_does_not_fail() -> None:
    # 40 of 100 is below one half with 95 % confidence, but not as the worst of 20.
    names = [f"met-{number}" for number in range(20)]
    wins = [[50, 50], *[[40, 50]] * 19, [60, 50]]
    tournament = tournament_of(wins, names=(["normal", *names], ["after", "before"]))
    question = replace(QUESTION, met=names, fresh=[], budget=0)
    assert verdict(tournament, question).met.outcome == "inconclusive"
    alone = replace(question, met=names[-1:])
    assert verdict(tournament, alone).met.outcome == "fail"


def test_what_was_not_played_is_open() -> None:
    result = verdict(played([900] * 4), replace(QUESTION, fresh=[], budget=0))
    assert result.fresh.outcome == "inconclusive"
    assert result.fresh.sentence == "fresh adversaries: none were played"
    assert result.outcome == "inconclusive"


def test_mistakes_in_the_question() -> None:
    with pytest.raises(UserError, match="are both after"):
        replace(QUESTION, before="after")
    with pytest.raises(UserError, match=r"margin is 5, should be between 0 and 1"):
        replace(QUESTION, margin=5)
    with pytest.raises(UserError, match="budget of the fresh adversaries is 0 steps"):
        replace(QUESTION, budget=0)
    with pytest.raises(UserError, match="no policy 'other' on the side runner"):
        verdict(played([900] * 4), replace(QUESTION, victim="other"))
    with pytest.raises(UserError, match="no policy 'met-7' on the side blocker"):
        verdict(played([900] * 4), replace(QUESTION, met=["met-7"]))
