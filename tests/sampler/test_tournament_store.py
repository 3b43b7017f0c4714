"""A tournament's directory: whatever happens to it, the same table comes out in the end."""

from __future__ import annotations

import builtins
import csv
import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from common.game import GameDescription
from common.match_table import COLUMNS, Entrant, MatchRow, match_row
from common.statistics import wilson
from sampler.games import describe
from sampler.match import Summaries, play_match
from sampler.tournament_plan import Chunk, Pair, Rule
from sampler.tournament_store import TournamentStore
from tests.sampler.tournaments import COINS, EVENS, ODDS, PAIRS, POLICIES, play, summary

FIXED, NARROW = Rule(40), Rule(32, until_width=0.25, max_episodes=200)


def table(episodes: Mapping[Pair, Summaries], seed: int = 0) -> list[MatchRow]:
    def entrant(key: str) -> Entrant:
        return Entrant(POLICIES[key].name, POLICIES[key].version, key)

    return [
        match_row(COINS, seed, (entrant(pair.side0), entrant(pair.side1)), played)
        for pair, played in episodes.items()
    ]


def lines(path: Path) -> list[str]:
    return (path / "episodes.jsonl").read_text().splitlines()


def test_a_row_is_what_a_match_of_the_same_seed_tells(tmp_path: Path) -> None:
    _, episodes = play(tmp_path, FIXED, seed=5)
    for row in table(episodes, seed=5):
        pair = {"even": POLICIES[row.hash0], "odd": POLICIES[row.hash1]}
        match = play_match("MatchingPennies", "exact", pair, 40, seed=5)
        assert {"even": row.wins0, "odd": row.wins1} == match.wins
        assert (row.episodes, row.ties, row.seed) == (40, match.ties, 5)
        assert (row.length, row.contacts) == (match.length, match.contacts)
        rate0, rate1 = match.win_rate["even"], match.win_rate["odd"]
        assert (row.win_rate0, row.low0, row.high0) == (rate0.value, rate0.low, rate0.high)
        assert (row.win_rate1, row.low1, row.high1) == (rate1.value, rate1.low, rate1.high)
        # Who wins gets 1 and the other -1, at the one step of an episode.
        assert row.outcome0 == -row.outcome1 == (row.wins0 - row.wins1) / 40
        assert (row.contactless_wins0, row.contactless_wins1) == (row.wins0, row.wins1)


def test_contacts_and_rewards_of_a_row() -> None:
    """The coins never touch each other and have no dense reward."""
    episodes = [
        replace(summary(winner, length), contacts=contacts, dense=dense, outcome=outcome)
        for winner, length, contacts, dense, outcome in [
            (0, 10, 0, (1.0, 2.0), (1.0, -1.0)),
            (0, 20, 3, (3.0, 4.0), (1.0, -1.0)),
            (1, 30, 0, (5.0, 6.0), (-1.0, 1.0)),
            (-1, 40, 5, (7.0, 8.0), (-1.0, -1.0)),
        ]
    ]
    row = match_row(COINS, 0, (Entrant("a", 1, "h0"), Entrant("b", 2, "h1")), episodes)
    assert (row.wins0, row.wins1, row.ties) == (2, 1, 1)
    assert (row.contactless_wins0, row.contactless_wins1) == (1, 1)
    assert (row.length, row.contacts) == (25, 2)
    assert (row.dense0, row.dense1, row.outcome0, row.outcome1) == (4, 5, 0, -0.5)
    assert (row.low1, row.high1) == (wilson(1, 4).low, wilson(1, 4).high)
    assert (row.policy0, row.version0, row.hash0) == ("a", 1, "h0")
    assert (row.policy1, row.version1, row.hash1) == ("b", 2, "h1")


@pytest.mark.parametrize("rule", [FIXED, NARROW])
@pytest.mark.parametrize("most", [1, 7])
def test_interruptions_change_nothing(rule: Rule, most: int, tmp_path: Path) -> None:
    expected = play(tmp_path / "whole", rule)
    drawn: list[Chunk] = []
    while more := play(tmp_path / "pieces", rule, most=most)[0]:
        drawn += more
    again, episodes = play(tmp_path / "pieces", rule)
    assert not again
    assert episodes == expected[1]
    assert sorted(drawn) == sorted(expected[0])


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_half_written_line_is_played_again(kept: int, tmp_path: Path) -> None:
    drawn, expected = play(tmp_path, FIXED)
    file = tmp_path / "episodes.jsonl"
    *whole, last = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole) + last[:kept])
    again, episodes = play(tmp_path, FIXED)
    assert again == drawn[-1:]
    assert episodes == expected
    assert file.read_bytes() == b"".join([*whole, last])


def test_more_episodes_play_only_the_rest(tmp_path: Path) -> None:
    play(tmp_path, Rule(32))
    drawn, episodes = play(tmp_path, Rule(70))
    assert {chunk.start for chunk in drawn} == {32, 48, 64}
    assert episodes == play(tmp_path / "at once", Rule(70))[1]


def test_a_last_chunk_that_was_short_is_played_in_full(tmp_path: Path) -> None:
    play(tmp_path, Rule(40))
    drawn, episodes = play(tmp_path, Rule(48))
    assert {chunk[1:] for chunk in drawn} == {(32, 16)}
    assert episodes == play(tmp_path / "at once", Rule(48))[1]


def test_more_policies_play_only_their_pairs(tmp_path: Path) -> None:
    play(tmp_path, FIXED, pairs=PAIRS[:2])
    drawn, episodes = play(tmp_path, FIXED, pairs=PAIRS)
    assert {chunk.pair for chunk in drawn} == set(PAIRS[2:])
    assert episodes == play(tmp_path / "at once", FIXED)[1]


def test_adaptive_goes_on_from_fixed(tmp_path: Path) -> None:
    play(tmp_path, FIXED)
    assert play(tmp_path, NARROW)[1] == play(tmp_path / "at once", NARROW)[1]


@pytest.mark.parametrize(
    ("description", "seed", "difference"),
    [
        (COINS, 1, "seed 0 (now 1)"),
        (describe("SumoHumans"), 0, "game 'MatchingPennies' (now 'SumoHumans')"),
        (replace(COINS, physics="fast"), 0, "physics 'exact' (now 'fast')"),
    ],
)
def test_another_tournament_is_refused(
    description: GameDescription, seed: int, difference: str, tmp_path: Path
) -> None:
    play(tmp_path, FIXED, pairs=PAIRS[:1])
    before = lines(tmp_path)
    with pytest.raises(UserError) as caught:
        TournamentStore(tmp_path, description, seed)
    assert f"{tmp_path} belongs to another tournament, with " in str(caught.value)
    assert difference in str(caught.value)
    assert lines(tmp_path) == before


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        TournamentStore(tmp_path, COINS, 0),
        pytest.raises(UserError, match="another tournament is being played into"),
    ):
        TournamentStore(tmp_path, COINS, 0)
    TournamentStore(tmp_path, COINS, 0).close()


@pytest.mark.parametrize(
    "line",
    [
        *("{}", "[]", "nonsense"),
        '{"pair":["a"],"start":0,"episodes":[]}',
        '{"pair":["a","b"],"start":0,"episodes":[[1,0]]}',
    ],
)
def test_a_line_that_nobody_can_read_is_named(line: str, tmp_path: Path) -> None:
    play(tmp_path, FIXED, pairs=PAIRS[:1])
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match="line 4 holds no episodes"):
        TournamentStore(tmp_path, COINS, 0)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "sparring-tournament-1"}'])
def test_a_directory_that_describes_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "tournament.json").write_text(content)
    with pytest.raises(UserError, match=r"tournament\.json does not describe a tournament"):
        TournamentStore(tmp_path, COINS, 0)


def test_episodes_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "episodes.jsonl").write_text("mine")
    with pytest.raises(UserError, match=r"has an episodes\.jsonl, but not of a tournament"):
        TournamentStore(tmp_path, COINS, 0)
    assert lines(tmp_path) == ["mine"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot keep a tournament in .*file"):
        TournamentStore(tmp_path / "file", COINS, 0)


def fill(path: Path, most: int) -> None:
    """Keeps chunks until a file may not grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with TournamentStore(path, COINS, 0) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
            for start in range(0, 160, 16):
                store.append(Chunk(PAIRS[0], start, 16), [summary()] * 16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_once_and_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*episodes\.jsonl: File too large"):
        fill(tmp_path, 1000)
    with TournamentStore(tmp_path, COINS, 0) as store:
        assert store.known == [(Chunk(PAIRS[0], 0, 16), [summary()] * 16)]


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    rows = table(play(tmp_path, FIXED)[1])
    with TournamentStore(tmp_path, COINS, 0) as store:
        files = store.write_tables(rows)
    assert files == [tmp_path / "table.csv", tmp_path / "table.parquet"]
    assert len(rows) == len(EVENS) * len(ODDS)
    expected = [asdict(row) for row in rows]
    parquet = pq.read_table(files[1])
    assert parquet.to_pylist() == expected
    assert tuple(parquet.column_names) == COLUMNS
    with files[0].open(newline="") as file:
        assert read(list(csv.DictReader(file))) == expected


def read(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Rows of a CSV with the types of the table."""
    types = {name: getattr(builtins, str(kind)) for name, kind in MatchRow.__annotations__.items()}
    return [{name: types[name](value) for name, value in row.items()} for row in rows]


def test_a_table_of_no_rows_has_the_columns(tmp_path: Path) -> None:
    with TournamentStore(tmp_path, COINS, 0) as store:
        store.write_tables([])
    assert (tmp_path / "table.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert tuple(pq.read_table(tmp_path / "table.parquet").column_names) == COLUMNS


def test_without_pyarrow_no_stale_parquet_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(play(tmp_path, FIXED, pairs=PAIRS[:1])[1])
    with TournamentStore(tmp_path, COINS, 0) as store:
        store.write_tables(rows)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert store.write_tables(rows) == [tmp_path / "table.csv"]
    assert not (tmp_path / "table.parquet").exists()


def test_a_line_holds_whole_episodes(tmp_path: Path) -> None:
    """Other tools may read it: length, winner, truncated, contacts, dense, outcome."""
    episodes = [replace(summary(-1, 7), truncated=True)]
    with TournamentStore(tmp_path, COINS, 0) as store:
        store.append(Chunk(Pair("a", "b"), 16, 1), episodes)
    (line,) = map(json.loads, lines(tmp_path))
    values = [[7, -1, True, 2, [0.25, 0.1], [1.0, -1.0]]]
    assert line == {"pair": ["a", "b"], "start": 16, "episodes": values}
    with TournamentStore(tmp_path, COINS, 0) as store:
        assert store.known == [(Chunk(Pair("a", "b"), 16, 1), episodes)]
