from itertools import takewhile

import pytest
from pydantic import TypeAdapter, ValidationError

from common.schedule import (
    Burst,
    Constant,
    Exponential,
    Phase,
    Schedule,
    Sequence,
    Simultaneous,
    Single,
    burst,
    burst_count,
    total_length,
)


def bursts(schedule: Schedule) -> list[Burst]:
    found = takewhile(lambda b: b is not None, (burst(schedule, k) for k in range(1000)))
    return [b for b in found if b is not None]


def test_exponential_bursts_grow_as_published() -> None:
    played = bursts(Exponential(base=1.5, rounds=9))
    assert [b.length for b in played[::2]] == [1, 2, 2, 3, 5, 8, 11, 17, 26]
    assert [b.length for b in played[1::2]] == [1, 2, 2, 3, 5, 8, 11, 17, 26]
    assert [b.role for b in played[:4]] == ["adversary", "victim", "adversary", "victim"]
    assert [b.index for b in played] == list(range(18))


def test_halves_round_up() -> None:
    assert [b.length for b in bursts(Exponential(base=2.5, rounds=3))[::2]] == [1, 3, 6]


def test_scale_multiplies_every_length() -> None:
    played = bursts(Exponential(base=1.5, rounds=4, scale=10, unit="steps"))
    assert [b.length for b in played[::2]] == [10, 20, 20, 30]
    assert {b.unit for b in played} == {"steps"}


def test_constant_bursts_alternate() -> None:
    played = bursts(Constant(length=7, rounds=2))
    assert [(b.role, b.length) for b in played] == [
        ("adversary", 7),
        ("victim", 7),
        ("adversary", 7),
        ("victim", 7),
    ]


def test_a_single_burst_may_be_endless() -> None:
    (only,) = bursts(Single(role="victim"))
    assert (only.role, only.length) == ("victim", None)
    assert not only.is_over(10**9, 10**12, 0.0)
    assert total_length(Single(role="victim")) is None


def test_both_sides_at_once() -> None:
    assert [(b.role, b.length) for b in bursts(Simultaneous(length=5))] == [("both", 5)]


def test_a_sequence_is_played_as_written() -> None:
    schedule = Sequence(
        phases=(
            Phase(role="adversary", length=3),
            Phase(role="victim", length=4),
            Phase(role="adversary", length=5, fresh=True),
        )
    )
    assert [(b.role, b.length, b.fresh) for b in bursts(schedule)] == [
        ("adversary", 3, False),
        ("victim", 4, False),
        ("adversary", 5, True),
    ]
    assert total_length(schedule) == 12


def test_the_final_attack_uses_fresh_adversaries() -> None:
    schedule = Constant(length=2, rounds=1, final_attack=9)
    *_, last = bursts(schedule)
    assert (last.role, last.length, last.fresh) == ("adversary", 9, True)
    assert burst_count(schedule) == 3
    assert last.until_win_rate is None


def test_a_burst_ends_early_once_the_win_rate_is_reached() -> None:
    first = bursts(Constant(length=10, rounds=1, until_win_rate=0.8))[0]
    assert not first.is_over(3, 300, 0.79)
    assert first.is_over(3, 300, 0.8)
    assert first.is_over(10, 1000, 0.0)
    assert not first.is_over(0, 0, 1.0)


def test_lengths_in_steps_count_steps() -> None:
    only = bursts(Single(role="adversary", length=1000, unit="steps"))[0]
    assert not only.is_over(5000, 999, 0.0)
    assert only.is_over(1, 1000, 0.0)


def test_there_is_no_burst_before_the_first() -> None:
    with pytest.raises(ValueError, match="no burst -1"):
        burst(Single(role="victim"), -1)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Schedule).validate_python({"kind": "cosine"})
