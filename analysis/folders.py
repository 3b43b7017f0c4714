"""Where results go."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError


def made(folder: Path) -> Path:
    """The folder, made if it is not there. Raises UserError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the directory {folder}: {error.strerror}") from error
    return folder
