"""Where a tournament keeps what was played: append-only, so that it can be killed at any moment.

OUT/
  tournament.json   what its episodes have in common: game, physics, seed
  episodes.jsonl    a line a finished chunk of episodes; of all pairs ever played here
  table.csv         the pairs of the last call, a row each (`common.match_table`)
  table.parquet     the same
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from common.arrays import canonical_json
from common.errors import UserError
from common.game import GameDescription
from common.match_table import MatchRow, to_csv
from common.runs import atomic_write
from common.task import EpisodeSummary
from sampler.match import EPISODES_PER_TASK, Summaries
from sampler.tournament_plan import Chunk, Pair

FORMAT = "sparring-tournament-1"

# An episode in a line: short, because a large tournament has millions.
_FIELDS = ("length", "winner", "truncated", "contacts", "dense", "outcome")


class TournamentStore:
    """The directory of a tournament. A context manager: one process at a time has it.

    A last line that was half written is cut off; its episodes are played again.

    Args:
        path: the directory; made if it is not there.
        description: the game.
        seed: of the tournament.

    Attributes:
        path: the directory.
        known: the chunks that were played before.

    Raises:
        UserError: the directory belongs to another tournament, is in use, cannot be written, or
            has a line that nobody can read.
    """

    def __init__(self, path: Path, description: GameDescription, seed: int) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / "episodes.jsonl").open("a+b")
        except OSError as error:
            raise UserError(f"cannot keep a tournament in {path}: {error.strerror}") from error
        try:
            self._lock()
            self._check(description, seed)
            self.known = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TournamentStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the directory."""
        # What a full disk did not take is still buffered, and closing tries it once more;
        # `append` has told that it failed.
        with suppress(OSError):
            self._file.close()

    def append(self, chunk: Chunk, summaries: Summaries) -> None:
        """Keeps a chunk that was played, also if this process is killed right after.

        Raises UserError if it cannot be written, e.g. because the disk is full.
        """
        episodes = [[getattr(summary, name) for name in _FIELDS] for summary in summaries]
        line = canonical_json({"pair": chunk.pair, "start": chunk.start, "episodes": episodes})
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._file.name}: {error.strerror}") from error

    def write_tables(self, rows: Sequence[MatchRow]) -> list[Path]:
        """Writes the table as CSV and, if PyArrow is installed, as Parquet.

        Returns:
            the files written, CSV first; a Parquet file that would no longer agree is removed.

        Raises:
            UserError: they cannot be written.
        """
        table, parquet = self.path / "table.csv", self.path / "table.parquet"
        try:
            os.fsync(self._file.fileno())
            atomic_write(table, to_csv(rows).encode())
            if (content := to_parquet(rows)) is None:
                parquet.unlink(missing_ok=True)
                return [table]
            atomic_write(parquet, content)
        except OSError as error:
            raise UserError(f"cannot write the table in {self.path}: {error.strerror}") from error
        return [table, parquet]

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another tournament is being played into {self.path}") from error

    def _check(self, description: GameDescription, seed: int) -> None:
        """The directory's own description is written once, before the first episode."""
        mine = {
            "format": FORMAT,
            "game": description.name,
            "physics": description.physics,
            "seed": seed,
            "sides": [side.name for side in description.sides],
            "layout": description.layout_hash[:12],
            "episodes_per_chunk": EPISODES_PER_TASK,
        }
        path = self.path / "tournament.json"
        if not path.exists():
            if self._file.tell():
                raise UserError(f"{self.path} has an episodes.jsonl, but not of a tournament")
            atomic_write(path, json.dumps(mine, indent=2).encode())
            return
        try:
            theirs = json.loads(path.read_bytes())
            differing = [key for key in mine if theirs[key] != mine[key]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} does not describe a tournament: {error!r}") from error
        if differing:
            listed = ", ".join(f"{k} {theirs[k]!r} (now {mine[k]!r})" for k in differing)
            raise UserError(
                f"{self.path} belongs to another tournament, with {listed}; give another --out"
            )

    def _read(self) -> list[tuple[Chunk, Summaries]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        lines = content[:whole].splitlines()
        return [self._parse(number, line) for number, line in enumerate(lines, start=1)]

    def _parse(self, number: int, line: bytes) -> tuple[Chunk, Summaries]:
        try:
            fields = json.loads(line)
            summaries = [_summary(episode) for episode in fields["episodes"]]
            pair = Pair(*map(str, fields["pair"]))
            return Chunk(pair, int(fields["start"]), len(summaries)), summaries
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{self._file.name}, line {number} holds no episodes ({error!r}); without that "
                "line its episodes will be played again"
            ) from error


def _summary(values: Sequence[Any]) -> EpisodeSummary:
    length, winner, truncated, contacts, dense, outcome = values
    return EpisodeSummary(
        length=int(length),
        winner=int(winner),
        truncated=bool(truncated),
        dense=tuple(map(float, dense)),
        outcome=tuple(map(float, outcome)),
        contacts=int(contacts),
    )


def to_parquet(rows: Sequence[MatchRow]) -> bytes | None:
    """The table as a Parquet file; None if PyArrow (extra `analysis`) is not installed."""
    try:
        # Half a second and a large library that only some tournaments have.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        return None
    types = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in MatchRow.__annotations__.items()])
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=schema), file)
    return file.getvalue()
