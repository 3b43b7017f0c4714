"""A run's status as text: for people at a terminal, and as plain lines for logs."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.rpc import sparring_pb2 as pb
from common.statistics import wilson

COLOURS = {"adversary": "red", "victim": "green", "both": "yellow"}


def as_json(status: pb.Status) -> str:
    """The status as one JSON object; unlike protobuf's own form with numbers as numbers."""
    return json.dumps(_plain(status), indent=2)


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            plain[field.name] = dict(value)
        elif field.message_type:
            plain[field.name] = [_plain(item) for item in value]
        else:
            plain[field.name] = value
    return plain


def duration(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour; "?" if unknown (negative)."""
    if seconds < 0:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(status: pb.Status) -> str:
    """One line for logs."""
    rates = ", ".join(
        f"{r.policy} {r.wins / max(1, r.episodes):.0%} against {r.opponent or 'the game'}"
        for r in status.win_rates
    )
    return (
        f"burst {_burst(status)} ({status.role}) iteration {_iteration(status)}, "
        f"{status.steps:,} steps, {status.steps_per_second:,.0f} steps/s, "
        f"{len(status.workers)} workers, {duration(status.seconds_left)} left; {rates or '-'}"
    )


def _burst(status: pb.Status) -> str:
    return f"{min(status.burst + 1, status.bursts)}/{status.bursts}"


def _iteration(status: pb.Status) -> str:
    of = f"/{status.iterations_of_burst}" if status.iterations_of_burst else ""
    return f"{status.iteration_of_burst}{of}"


def view(status: pb.Status) -> Group:
    """A panel for a terminal that is drawn again and again."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column()
    role = Text(status.role or "-", style=COLOURS.get(status.role, ""))
    facts.add_row("run", f"{status.run} ({status.preset}), {status.game}, {status.physics}")
    facts.add_row("state", status.state + (f": {status.message}" if status.message else ""))
    facts.add_row("burst", Text.assemble(_burst(status), ", trains: ", role))
    facts.add_row("iteration", f"{_iteration(status)} of the burst, {status.iteration} in all")
    facts.add_row("steps", f"{status.steps:,} at {status.steps_per_second:,.0f} steps/s")
    facts.add_row("tasks", f"{status.tasks_done} done, {status.tasks_open} open")
    facts.add_row("workers", _workers(status))
    facts.add_row("time left", duration(status.seconds_left))
    if refused := _refused(status):
        facts.add_row("refused", refused)
    bar = ProgressBar(total=1.0, completed=max(0.0, status.progress), width=60)
    return Group(facts, bar, Text(), win_rates(status))


def _workers(status: pb.Status) -> str:
    hosts = {worker.host for worker in status.workers}
    megabytes = max((worker.resident_bytes for worker in status.workers), default=0) / 2**20
    memory = f", at most {megabytes:.0f} MB each" if megabytes else ""
    return f"{len(status.workers)} on {len(hosts)} host{'s' * (len(hosts) != 1)}{memory}"


def _refused(status: pb.Status) -> str:
    odd = {k: v for k, v in sorted(status.counters.items()) if "rejected" in k or "dropped" in k}
    return ", ".join(f"{count} {reason}" for reason, count in odd.items())


def win_rates(status: pb.Status) -> Table:
    """Last iteration's results of each policy in training against each opponent."""
    table = Table(box=None, padding=(0, 2), title="last iteration", title_justify="left")
    for heading in ("policy", "opponent", "episodes", "won", "95 % interval", "ties"):
        table.add_column(heading, justify="left" if heading in ("policy", "opponent") else "right")
    for rate in status.win_rates:
        interval = wilson(rate.wins, max(1, rate.episodes))
        table.add_row(
            rate.policy,
            rate.opponent or "-",
            str(rate.episodes),
            f"{interval.value:.0%}",
            f"{interval.low:.0%} to {interval.high:.0%}",
            str(rate.ties),
        )
    return table
