"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the reference material: facts, recorded steps of the original games, policies.

    It is not part of the repository. SPARRING_SHARED names it; without that it is looked for beside
    the repository.
    """
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("SPARRING_SHARED", default))
    if folder.is_dir():
        return folder
    reason = f"no reference material at {folder} (SPARRING_SHARED says where it is)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
