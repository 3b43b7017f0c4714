import errno
import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.runs import RunDirectory, atomic_write, free_run_directory


def test_a_failed_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    atomic_write(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_run_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    first = free_run_directory(tmp_path / "runs", "pbt2")
    second = free_run_directory(tmp_path / "runs", "pbt2")
    assert (first.name, second.name) == ("pbt2-001", "pbt2-002")


def test_a_place_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        free_run_directory(tmp_path / "file", "pbt2")
    with pytest.raises(UserError, match="cannot make"):
        RunDirectory(tmp_path / "file" / "run").create()


def test_versions_are_found_in_order(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for version in (12, 3, 100_000_000):
        path = run.policy("victim", version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (run.policies / "victim" / ".00000099.safetensors.1.tmp").write_bytes(b"")
    assert run.versions("victim") == [3, 12, 100_000_000]
    assert run.versions("nobody") == []


def test_only_one_learner_works_on_a_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create()
    other = pytest.raises(UserError, match="another learner works on the run")
    with run.locked(), other, run.locked():
        pass
    with run.locked():
        pass
