"""Burst schedules: which side trains in burst k, and for how long. Pure functions.

Round k of the exponential schedule gives b_k = round(base^k) iterations to the adversaries, then
b_k to the victim. With base 1.5: 1, 2, 2, 3, 5, 8, 11, 17, 26, ...
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["adversary", "victim", "both"]
Unit = Literal["iterations", "steps"]


@dataclass(frozen=True)
class Burst:
    """The stretch in which one side trains and the other is frozen.

    Attributes:
        index: position in the schedule, from 0.
        role: who trains; `both` for training without bursts.
        length: in `unit`; None is endless.
        unit: iterations, or environment steps of the policies in training.
        fresh: adversaries start anew, as new members of the population.
        until_win_rate: the burst ends early once every policy in training wins this share of the
            episodes of an iteration; None never.
    """

    index: int
    role: Role
    length: int | None
    unit: Unit
    fresh: bool = False
    until_win_rate: float | None = None

    def is_over(self, iterations: int, steps: int, lowest_win_rate: float) -> bool:
        """Whether the burst ends after so many iterations, steps, and this last win rate."""
        target = self.until_win_rate
        if iterations and target is not None and lowest_win_rate >= target:
            return True
        done = iterations if self.unit == "iterations" else steps
        return self.length is not None and done >= self.length


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Schedule(_Settings):
    unit: Unit = Field("iterations", description="what lengths count")
    until_win_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="a burst ends early once the side in training wins this share"
    )
    final_attack: int = Field(
        0, ge=0, description="length of a last burst of fresh adversaries against the last victim"
    )


class Exponential(_Schedule):
    """Rounds of growing bursts: adversaries, then victim."""

    kind: Literal["exponential"] = "exponential"
    base: float = Field(1.5, ge=1.0, le=10.0, description="round k lasts round(base^k)")
    rounds: int = Field(10, ge=1, le=60)
    scale: int = Field(1, ge=1, description="multiplies every length")


class Constant(_Schedule):
    """Rounds of equal bursts: adversaries, then victim."""

    kind: Literal["constant"] = "constant"
    length: int = Field(10, ge=1)
    rounds: int = Field(10, ge=1)


class Simultaneous(_Schedule):
    """Both sides train all the time."""

    kind: Literal["simultaneous"] = "simultaneous"
    length: int | None = Field(None, ge=1, description="None: until stopped")


class Single(_Schedule):
    """One burst: an attack, or a recovery."""

    kind: Literal["single"] = "single"
    role: Literal["adversary", "victim"]
    length: int | None = Field(None, ge=1, description="None: until stopped")


class Phase(_Settings):
    """One burst of a sequence."""

    role: Literal["adversary", "victim"]
    length: int = Field(ge=1)
    fresh: bool = Field(False, description="the adversaries of this phase start anew")


class Sequence(_Schedule):
    """Bursts written out one by one, e.g. attack, recover, attack again."""

    kind: Literal["sequence"] = "sequence"
    phases: tuple[Phase, ...] = Field(min_length=1)


Schedule = Annotated[
    Exponential | Constant | Simultaneous | Single | Sequence, Field(discriminator="kind")
]


def round_length(schedule: Exponential | Constant, k: int) -> int:
    """Length b_k of the two bursts of round k. Halves round up."""
    if isinstance(schedule, Constant):
        return schedule.length
    return schedule.scale * floor(schedule.base**k + 0.5)


def burst_count(schedule: Schedule) -> int:
    """How many bursts the schedule has, the final attack included."""
    if isinstance(schedule, Exponential | Constant):
        regular = 2 * schedule.rounds
    else:
        regular = len(schedule.phases) if isinstance(schedule, Sequence) else 1
    return regular + (1 if schedule.final_attack else 0)


def burst(schedule: Schedule, index: int) -> Burst | None:
    """Burst `index` of the schedule, None after the last one. Raises ValueError below 0."""
    if index < 0:
        raise ValueError(f"there is no burst {index}; bursts count from 0")
    count = burst_count(schedule)
    if index >= count:
        return None
    if schedule.final_attack and index == count - 1:
        return Burst(index, "adversary", schedule.final_attack, schedule.unit, fresh=True)
    role, length, fresh = _regular(schedule, index)
    return Burst(index, role, length, schedule.unit, fresh, schedule.until_win_rate)


def _regular(schedule: Schedule, index: int) -> tuple[Role, int | None, bool]:
    if isinstance(schedule, Exponential | Constant):
        role: Role = "adversary" if index % 2 == 0 else "victim"
        return role, round_length(schedule, index // 2), False
    if isinstance(schedule, Sequence):
        phase = schedule.phases[index]
        return phase.role, phase.length, phase.fresh
    if isinstance(schedule, Single):
        return schedule.role, schedule.length, False
    return "both", schedule.length, False


def total_length(schedule: Schedule) -> int | None:
    """Sum of all lengths in the schedule's unit, None if it is endless."""
    total = 0
    for index in range(burst_count(schedule)):
        length = burst(schedule, index).length  # type: ignore[union-attr]
        if length is None:
            return None
        total += length
    return total
