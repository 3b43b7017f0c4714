"""Tournament tables: reading, checking, and looking up match-ups.

Every other module takes a `Tournament`, so whatever is wrong with a table is said here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.errors import UserError
from common.match_table import COLUMNS, MatchRow

Float = NDArray[np.float64]

TEXT = tuple(field.name for field in fields(MatchRow) if field.type in (str, "str"))
NUMBERS = tuple(column for column in COLUMNS if column not in TEXT)
FILES = ("table.parquet", "table.csv")


@dataclass(frozen=True, eq=False)
class Tournament:
    """A checked tournament table: one game, one physics profile, one row a match-up.

    Attributes:
        table: the columns of `common.match_table.COLUMNS`.
        source: where it came from, for messages.
    """

    table: pd.DataFrame
    source: str

    @property
    def game(self) -> str:
        """Name of the game."""
        return str(self.table["game"].iloc[0])

    @property
    def physics(self) -> str:
        """The physics profile."""
        return str(self.table["physics"].iloc[0])

    @property
    def sides(self) -> tuple[str, str]:
        """Names of side 0 and side 1."""
        return str(self.table["side0"].iloc[0]), str(self.table["side1"].iloc[0])

    def side_index(self, side: str) -> int:
        """0 or 1 for the name of a side. Raises UserError that lists the two."""
        if side not in self.sides:
            raise UserError(f"{self.source}: no side {side!r}; the sides are {self._named_sides}")
        return self.sides.index(side)

    @property
    def _named_sides(self) -> str:
        return " and ".join(self.sides)

    @cached_property
    def policies(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the policies of side 0 and of side 1, in the order of the table."""
        first, second = (tuple(self.table[f"policy{side}"].unique()) for side in (0, 1))
        return first, second

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Row of the table of each match-up (m, n); -1 where it was not played."""
        positions = np.full((len(self.policies[0]), len(self.policies[1])), -1, np.int64)
        rows = pd.Index(self.policies[0]).get_indexer(pd.Index(self.table["policy0"]))
        columns = pd.Index(self.policies[1]).get_indexer(pd.Index(self.table["policy1"]))
        positions[rows, columns] = np.arange(len(self.table))
        return positions

    def matrix(self, column: str) -> Float:
        """A column of numbers as matrix (policies of side 0, policies of side 1).

        Raises:
            UserError: a match-up was not played.
        """
        missing = np.argwhere(self._positions < 0)
        if len(missing):
            i, j = missing[0]
            pair = f"{self.policies[0][i]} against {self.policies[1][j]}"
            raise UserError(
                f"{self.source}: {len(missing)} of {self._positions.size} match-ups were not "
                f"played, e.g. {pair}; a payoff matrix needs all of them (resume the tournament)"
            )
        values = self.table[column].to_numpy(np.float64)
        return values[self._positions]

    def scores(self, side: int = 0) -> Float:
        """Share of the episodes that `side` wins, ties counted half, (m, n). Raises UserError."""
        wins, ties = self.matrix(f"wins{side}"), self.matrix("ties")
        return (wins + ties / 2) / self.matrix("episodes")

    def match_up(self, policy0: str, policy1: str) -> pd.Series[Any]:
        """The row of one match-up. Raises UserError that says what there is."""
        for side, name in enumerate((policy0, policy1)):
            self.check_policies(side, [name])
        row = self._positions[self.policies[0].index(policy0), self.policies[1].index(policy1)]
        if row < 0:
            raise UserError(f"{self.source}: {policy0} against {policy1} was not played")
        return self.table.iloc[int(row)]

    def check_policies(self, side: int, names: Sequence[str]) -> None:
        """Raises UserError unless all `names` are policies of `side`."""
        unknown = [name for name in names if name not in self.policies[side]]
        if unknown:
            raise UserError(
                f"{self.source}: no policy {', '.join(map(repr, unknown))} on the side "
                f"{self.sides[side]}; there are {_some(self.policies[side])}"
            )

    def select(self, policies0: Sequence[str], policies1: Sequence[str]) -> Tournament:
        """The match-ups of these policies alone. Raises UserError on an unknown name."""
        self.check_policies(0, policies0)
        self.check_policies(1, policies1)
        table = self.table
        kept = table["policy0"].isin(policies0) & table["policy1"].isin(policies1)
        return Tournament(table[kept].reset_index(drop=True), self.source)


def load_tournament(path: Path | str) -> Tournament:
    """Reads a tournament directory, or a table.parquet or table.csv, and checks it.

    Raises:
        UserError: there is no such table, or `check_table` refuses it.
    """
    file = _table_file(Path(path))
    try:
        if file.suffix == ".parquet":
            table = pd.read_parquet(file)
        else:
            # A hash such as 12e45... would become a number.
            table = pd.read_csv(file, dtype=dict.fromkeys(TEXT, str))
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{file}: the table is empty") from error
    except (OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(f"cannot read the table {file}: {first_line}") from error
    return check_table(table, str(file))


def _table_file(path: Path) -> Path:
    candidates = [path / name for name in FILES] if path.is_dir() else [path]
    for file in candidates:
        if file.is_file() and file.suffix in (".parquet", ".csv"):
            return file
    raise UserError(
        f"{path} is no tournament: should be a table.parquet, a table.csv, or a directory with one"
    )


def check_table(table: pd.DataFrame, source: str = "the table") -> Tournament:
    """A Tournament of a table that is fit for analysis.

    Args:
        table: the columns of `common.match_table.COLUMNS`; others are dropped.
        source: named in messages.

    Raises:
        UserError: columns are missing, there are no rows, or there is but one match-up; games,
            physics or sides are mixed; a value is missing or no number; a match-up is there twice;
            wins and ties do not add up, or do not give the win rates.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise UserError(f"{source}: columns missing: {', '.join(missing)}")
    table = table[list(COLUMNS)].reset_index(drop=True)
    if table.empty:
        raise UserError(f"{source}: the table is empty")
    table = _numeric(table, source)
    _check_uniform(table, source)
    _check_pairs(table, source)
    _check_counts(table, source)
    return Tournament(table, source)


def _numeric(table: pd.DataFrame, source: str) -> pd.DataFrame:
    for column in COLUMNS:
        values = table[column]
        if column in NUMBERS:
            values = pd.to_numeric(values, errors="coerce")
            bad = ~np.isfinite(values.to_numpy(np.float64, na_value=np.nan))
            wanted = "a number"
        else:
            bad = values.isna().to_numpy()
            wanted = "text"
        if bad.any():
            raise UserError(
                f"{source}: {column} of {_pair(table, int(bad.argmax()))} is "
                f"{table[column][int(bad.argmax())]}, should be {wanted}"
            )
        table = table.assign(**{column: values})
    return table


def _pair(table: pd.DataFrame, row: int) -> str:
    return f"{table['policy0'][row]} against {table['policy1'][row]} (row {row})"


def _check_uniform(table: pd.DataFrame, source: str) -> None:
    for column in ("game", "physics", "side0", "side1"):
        values = sorted(set(table[column]))
        if len(values) > 1:
            raise UserError(
                f"{source}: {column} is {' and '.join(values)}; a table must hold one only, "
                "win rates of different games, physics or sides cannot be compared"
            )


def _check_pairs(table: pd.DataFrame, source: str) -> None:
    twice = table.duplicated(["policy0", "policy1"]).to_numpy()
    if twice.any():
        raise UserError(f"{source}: {_pair(table, int(twice.argmax()))} is there twice")
    for side in (0, 1):
        hashes = table.groupby(f"policy{side}")[f"hash{side}"].nunique()
        if (hashes > 1).any():
            raise UserError(
                f"{source}: the name {hashes.idxmax()} stands for {hashes.max()} different "
                "policies (hashes differ)"
            )
    if len(table) == 1:
        raise UserError(
            f"{source}: one policy only on each side, {_pair(table, 0)}; nothing to compare with"
        )


def _check_counts(table: pd.DataFrame, source: str) -> None:
    counts = table[["wins0", "wins1", "ties", "contactless_wins0", "contactless_wins1"]]
    episodes = table["episodes"]
    _refuse(table, source, episodes < 1, "should have at least one episode")
    _refuse(table, source, (counts < 0).any(axis=1), "has a negative count")
    total = table["wins0"] + table["wins1"] + table["ties"]
    _refuse(table, source, total != episodes, "wins and ties do not add up to its episodes")
    for side in (0, 1):
        wins, rate = table[f"wins{side}"], table[f"win_rate{side}"]
        wrong = (rate - wins / episodes).abs() > 1e-6
        _refuse(table, source, wrong, f"win_rate{side} is not wins{side} / episodes")
        outside = (rate < table[f"low{side}"] - 1e-9) | (rate > table[f"high{side}"] + 1e-9)
        _refuse(table, source, outside, f"win_rate{side} lies outside low{side} to high{side}")
        more = table[f"contactless_wins{side}"] > wins
        _refuse(table, source, more, f"has more wins without contact than wins of side {side}")


def _refuse(table: pd.DataFrame, source: str, wrong: pd.Series[bool], message: str) -> None:
    if not wrong.any():
        return
    row = int(wrong.to_numpy().argmax())
    fields = ("episodes", "wins0", "wins1", "ties", "win_rate0", "win_rate1")
    numbers = ", ".join(f"{field} {table[field][row]:g}" for field in fields)
    raise UserError(f"{source}: {_pair(table, row)}: {message} ({numbers})")


_MOST_LISTED = 12


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
