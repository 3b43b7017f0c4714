import io
import json

import pytest
from rich.console import Console

from common import progress
from common.rpc import sparring_pb2 as pb

STATUS = pb.Status(
    run="pbt2-001",
    preset="pbt2",
    game="YouShallNotPassHumans",
    state="playing",
    burst=2,
    bursts=30,
    role="adversary",
    iteration_of_burst=1,
    iterations_of_burst=2,
    iteration=3,
    steps=60_713,
    steps_per_second=7851.4,
    progress=0.1,
    seconds_left=3723,
    win_rates=[pb.WinRate(policy="adversary-0", opponent="victim", episodes=100, wins=5, ties=1)],
    workers=[pb.WorkerStatus(worker="a", host="h", resident_bytes=200 << 20)],
    counters={"tasks accepted": 9, "results rejected: not finite": 2},
)


def test_a_line_says_where_the_run_is() -> None:
    assert progress.line(STATUS) == (
        "burst 3/30 (adversary) iteration 1/2, 60,713 steps, 7,851 steps/s, 1 workers, "
        "1:02:03 left; adversary-0 5% against victim"
    )


def test_the_view_shows_win_rates_and_what_was_refused() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(progress.view(STATUS))
    text = console.export_text()
    for expected in ("2% to 11%", "1 on 1 host, at most 200 MB each", "2 results rejected"):
        assert expected in text


def test_json_has_numbers_as_numbers() -> None:
    plain = json.loads(progress.as_json(STATUS))
    assert plain["steps"] == 60_713
    assert plain["counters"]["tasks accepted"] == 9
    assert plain["win_rates"][0]["wins"] == 5


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "?"), (0, "0:00"), (59.6, "1:00"), (3600, "1:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
