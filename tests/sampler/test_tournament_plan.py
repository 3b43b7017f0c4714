"""What a tournament plays: the episodes of matches, as many as the rule says, in any order."""

from __future__ import annotations

import random
from itertools import repeat

import pytest

from common.errors import UserError
from common.statistics import wilson
from sampler.match import EPISODES_PER_TASK, Summaries, episode_seed, match_tasks
from sampler.tournament_plan import (
    Agenda,
    Chunk,
    Pair,
    Rule,
    all_pairs,
    chunk_task,
    chunks,
    interval_width,
    task_chunk,
)
from tests.sampler.tournaments import COINS, EVENS, ODDS, PAIRS, played, summary

A, B = Pair("a", "x"), Pair("b", "x")
NARROW = Rule(32, until_width=0.25, max_episodes=400)


def finish(agenda: Agenda, workers: int = 1, seed: int = 0) -> list[Chunk]:
    """Plays what an agenda wants; of up to `workers` running chunks a random one ends first."""
    chance, running, drawn = random.Random(seed), list[Chunk](), list[Chunk]()
    while True:
        while len(running) < workers and (chunk := agenda.draw()):
            running.append(chunk)
            drawn.append(chunk)
        if not running:
            return drawn
        chunk = running.pop(chance.randrange(len(running)))
        agenda.add(chunk, played(chunk))


def test_every_policy_of_a_side_meets_every_policy_of_the_other_once() -> None:
    assert all_pairs(["a", "b", "a"], ["x", "y", "x"]) == [
        *(("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"))
    ]


def test_chunks_are_the_tasks_of_a_match() -> None:
    policies = {"even": EVENS[0], "odd": ODDS[0]}
    tasks = [chunk_task(COINS, chunk, 7) for chunk in chunks(PAIRS[0], 40)]
    assert tasks == match_tasks(COINS, policies, 40, 7)


def test_episodes_have_the_same_seeds_in_all_pairs() -> None:
    for pair in PAIRS:
        tasks = [chunk_task(COINS, chunk, 7) for chunk in chunks(pair, 40)]
        seeds = [episode.seed for task in tasks for episode in task.episodes]
        assert seeds == [episode_seed(7, number) for number in range(40)]


@pytest.mark.parametrize("target", [1, 15, 16, 17, 100])
def test_a_task_tells_its_chunk(target: int) -> None:
    cut = chunks(A, target)
    assert sum(chunk.size for chunk in cut) == target
    assert [task_chunk(chunk_task(COINS, chunk, 0)) for chunk in cut] == cut


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, None, None), "--episodes 0: should be at least 1"),
        ((10, None, 20), "--max-episodes limits --until-width, which is not given"),
        ((10, 0.1, 9), "--max-episodes 9: should be at least --episodes, which is 10"),
        ((10, 0.0, None), "--until-width 0.0: should be between 0 and 1"),
        ((10, 1.0, None), "--until-width 1.0: should be between 0 and 1"),
        ((10, float("nan"), None), "--until-width nan: should be between 0 and 1"),
    ],
)
def test_rules_that_cannot_be_kept(
    numbers: tuple[int, float | None, int | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Rule(*numbers)


class TestRule:
    def test_a_fixed_number(self) -> None:
        assert Rule(100).target([]) == Rule(100).target([0] * 500) == 100

    def test_stops_at_the_first_look_that_is_narrow(self) -> None:
        rule = Rule(32, until_width=0.25)
        assert interval_width([0] * 32) < 0.25
        assert rule.target([0] * 32) == rule.target([0] * 500) == 32

    def test_goes_on_while_an_interval_is_wide(self) -> None:
        rule, winners = Rule(32, until_width=0.25), [0, 1] * 200
        target = rule.target(winners)
        assert interval_width(winners[:target]) <= 0.25
        # sqrt(n) >= 2 * 1.96 * 0.5 / 0.25 needs about 61 episodes less the Wilson correction.
        assert 48 <= target <= 80

    def test_both_sides_must_be_narrow(self) -> None:
        ties = [-1] * 32
        assert interval_width(ties) == wilson(0, 32).high
        halves = [-1, 1] * 16
        assert interval_width(halves) == wilson(16, 32).high - wilson(16, 32).low

    def test_the_most_is_the_most(self) -> None:
        rule = Rule(10, until_width=0.01, max_episodes=100)
        assert rule.target([0, 1] * 500) == 100

    def test_rounds_are_whole_tasks(self) -> None:
        assert Rule(10, until_width=0.5).target([]) == EPISODES_PER_TASK

    def test_a_look_sees_nothing_that_came_after_it(self) -> None:
        """Rare wins make the width go up and down; what was played on top must not matter."""
        chance = random.Random(3)
        for _ in range(50):
            share = chance.random()
            winners = [int(chance.random() < share) for _ in range(400)]
            target = NARROW.target(winners)
            assert NARROW.target(winners[:target]) == target
            assert target == 400 or interval_width(winners[:target]) <= 0.25


class TestAgenda:
    @pytest.mark.parametrize("rule", [Rule(40), NARROW])
    @pytest.mark.parametrize("workers", [2, 5])
    def test_the_order_in_which_chunks_end_changes_nothing(self, rule: Rule, workers: int) -> None:
        alone, together = Agenda(PAIRS, rule), Agenda(PAIRS, rule, last=4 * workers)
        first, second = finish(alone), finish(together, workers, seed=workers)
        assert sorted(first) == sorted(second)
        for pair in PAIRS:
            assert alone.played(pair) == together.played(pair)

    def test_pairs_get_as_many_episodes_as_they_need(self) -> None:
        agenda = Agenda(PAIRS, NARROW)
        finish(agenda)
        counts = [len(agenda.played(pair)) for pair in PAIRS]
        assert len(set(counts)) > 1
        for pair in PAIRS:
            assert interval_width([episode.winner for episode in agenda.played(pair)]) <= 0.25
        assert sum(counts) == agenda.done == agenda.total

    def test_no_chunk_is_handed_out_twice(self) -> None:
        drawn = finish(Agenda(PAIRS, NARROW), workers=3)
        assert len(drawn) == len(set(drawn))

    def test_goes_round_the_pairs(self) -> None:
        agenda = Agenda([A, B], Rule(40))
        drawn = [agenda.draw() for _ in range(6)]
        assert drawn == [
            *(Chunk(pair, start, 16) for start in (0, 16) for pair in (A, B)),
            *(Chunk(pair, 32, 8) for pair in (A, B)),
        ]
        assert agenda.draw() is None

    def test_the_last_ones_go_longest_first(self) -> None:
        agenda = Agenda([A, B], Rule(48), last=4)
        for pair, length in ((A, 10), (B, 500)):
            chunk = agenda.draw()
            assert chunk == Chunk(pair, 0, 16)
            agenda.add(chunk, [summary(length=length)] * 16)
        assert [chunk.pair for chunk in iter(agenda.draw, None)] == [B, B, A, A]

    def test_what_is_known_is_not_played(self) -> None:
        known = [(chunk, played(chunk)) for chunk in chunks(PAIRS[0], 40)]
        agenda = Agenda(PAIRS[:2], Rule(40), known)
        assert (agenda.done, agenda.total) == (40, 80)
        assert {chunk.pair for chunk in finish(agenda)} == {PAIRS[1]}

    def test_a_longer_chunk_takes_the_place_of_a_shorter(self) -> None:
        short, long = (Chunk(PAIRS[0], 0, size) for size in (5, 16))
        for order in ([short, long], [long, short]):
            agenda = Agenda(PAIRS[:1], Rule(16), [(chunk, played(chunk)) for chunk in order])
            assert agenda.played(PAIRS[0]) == played(long)
            assert agenda.draw() is None

    def test_fewer_episodes_are_the_first_ones(self) -> None:
        known = [(chunk, played(chunk)) for chunk in chunks(PAIRS[0], 40)]
        agenda = Agenda(PAIRS[:1], Rule(20), known)
        whole: Summaries = [episode for _, episodes in known for episode in episodes]
        assert agenda.draw() is None
        assert agenda.played(PAIRS[0]) == whole[:20]

    def test_episodes_behind_a_gap_do_not_count(self) -> None:
        """Else it would depend on the workers which episodes an interrupted pair has."""
        first, second, third = chunks(A, 48)
        agenda = Agenda([A], Rule(48), [(first, [summary(0)] * 16), (third, [summary(1)] * 16)])
        assert agenda.played(A) == [summary(0)] * 16
        agenda.add(second, [summary(-1)] * 16)
        winners = [episode.winner for episode in agenda.played(A)]
        assert winners == [*repeat(0, 16), *repeat(-1, 16), *repeat(1, 16)]
