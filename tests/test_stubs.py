"""The stubs in the repository are those that the .proto files give."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def stubs_below(folder: Path) -> dict[str, bytes]:
    """Name and content of every generated file in the `common/rpc` of `folder`."""
    return {path.name: path.read_bytes() for path in (folder / "common/rpc").glob("*_pb2*.py*")}


def test_stubs_are_what_the_proto_files_give(tmp_path: Path) -> None:
    if not (ROOT / ".venv-proto/.installed").exists() and not os.environ.get("CI"):
        pytest.skip("no .venv-proto to generate stubs with: run `make test`")
    # Options of the make that runs this test are not meant for this one.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    command = ["make", "-C", str(ROOT), "proto", f"OUT={tmp_path}"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

    generated, committed = stubs_below(tmp_path), stubs_below(ROOT)
    assert generated.keys() == committed.keys()
    differing = [name for name, content in generated.items() if committed[name] != content]
    assert not differing, "run `make proto`"
