from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.tables import check_table, load_tournament
from common.errors import UserError
from tests.analysis.builders import table_of, tournament_of

WINS = [[10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("as_directory", [False, True])
def test_a_table_comes_back_from_a_file_or_directory(
    tmp_path: Path, suffix: str, as_directory: bool
) -> None:
    table = table_of(WINS)
    table["hash0"] = table["hash0"].map({"hash of a0": "12e45", "hash of a1": "007"})
    file = tmp_path / f"table.{suffix}"
    table.to_csv(file, index=False) if suffix == "csv" else table.to_parquet(file)
    loaded = load_tournament(tmp_path if as_directory else file)
    pd.testing.assert_frame_equal(loaded.table, table, check_dtype=False)
    assert loaded.policies == (("a0", "a1"), ("b0", "b1", "b2"))
    assert loaded.sides == ("blocker", "runner")
    assert (loaded.game, loaded.physics) == ("Pushing", "fast")


def test_matrices_have_side_0_as_rows_whatever_the_order_of_the_table() -> None:
    shuffled = table_of(WINS).sample(frac=1, random_state=1)
    tournament = check_table(shuffled)
    rows = [tournament.policies[0].index(name) for name in ("a0", "a1")]
    columns = [tournament.policies[1].index(name) for name in ("b0", "b1", "b2")]
    np.testing.assert_array_equal(tournament.matrix("wins0")[np.ix_(rows, columns)], WINS)


def test_ties_count_half() -> None:
    tournament = tournament_of([[1, 4]], episodes=10, ties=[[8, 0]])
    np.testing.assert_allclose(tournament.scores(0), [[0.5, 0.4]])
    np.testing.assert_allclose(tournament.scores(1), [[0.5, 0.6]])


def test_one_match_up() -> None:
    row = tournament_of(WINS).match_up("a1", "b2")
    assert (row["wins0"], row["policy0"], row["policy1"]) == (60, "a1", "b2")


def test_selection() -> None:
    selected = tournament_of(WINS).select(["a1"], ["b0", "b2"])
    assert selected.policies == (("a1",), ("b0", "b2"))
    np.testing.assert_array_equal(selected.matrix("wins0"), [[40, 60]])


def test_unknown_policies_and_sides_are_named_with_what_there_is() -> None:
    tournament = tournament_of(WINS)
    with pytest.raises(UserError, match=r"no policy 'b9' on the side runner; there are b0, b1, b2"):
        tournament.match_up("a0", "b9")
    with pytest.raises(UserError, match=r"no side 'goalie'; the sides are blocker and runner"):
        tournament.side_index("goalie")


def test_match_ups_that_were_not_played() -> None:
    tournament = check_table(table_of(WINS).drop(index=4))
    with pytest.raises(UserError, match=r"1 of 6 match-ups were not played, e\.g\. a1 against b1"):
        tournament.matrix("wins0")
    with pytest.raises(UserError, match="a1 against b1 was not played"):
        tournament.match_up("a1", "b1")


def set_cell(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = table.astype({column: object})
    changed[column] = [changed[column][0], value, *changed[column][2:]]
    return changed


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("game", "Sumo", r"game is Pushing and Sumo; a table must hold one only"),
        ("physics", "exact", r"physics is exact and fast; a table must hold one only"),
        ("side1", "goalie", r"side1 is goalie and runner"),
        ("win_rate0", float("nan"), r"win_rate0 of a0 against b1 \(row 1\) is nan"),
        ("contacts", "many", r"contacts of a0 against b1 \(row 1\) is many, should be a number"),
        ("dense0", float("inf"), r"dense0 .* is inf, should be a number"),
        ("policy0", None, r"policy0 of .* should be text"),
        ("wins0", 21, r"a0 against b1 .*wins and ties do not add up .*wins0 21, wins1 80"),
        ("ties", -1, r"has a negative count"),
        ("episodes", 0, r"should have at least one episode"),
        ("win_rate1", 0.5, r"win_rate1 is not wins1 / episodes"),
        ("low0", 0.9, r"win_rate0 lies outside low0 to high0"),
        ("contactless_wins1", 99, r"more wins without contact than wins of side 1"),
        ("policy1", "b0", r"a0 against b0 \(row 1\) is there twice"),
        ("hash0", "another", r"the name a0 stands for 2 different policies"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(
    column: str, value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        check_table(set_cell(table_of(WINS), column, value), "out/table.csv")
    assert str(error.value).startswith("out/table.csv: ")
    assert "\n" not in str(error.value)


def test_missing_columns() -> None:
    with pytest.raises(UserError, match="columns missing: wins0, contacts"):
        check_table(table_of(WINS).drop(columns=["contacts", "wins0"]))


def test_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the table is empty"):
        check_table(table_of(WINS)[:0])
    (tmp_path / "table.csv").touch()
    with pytest.raises(UserError, match="the table is empty"):
        load_tournament(tmp_path)


def test_one_policy_only() -> None:
    with pytest.raises(UserError, match="one policy only on each side"):
        check_table(table_of([[3]]))


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no tournament: should be a table\.parquet"):
        load_tournament(tmp_path)
    with pytest.raises(UserError, match="is no tournament"):
        load_tournament(tmp_path / "nowhere.csv")


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(UserError, match="cannot read the table"):
        load_tournament(tmp_path)
