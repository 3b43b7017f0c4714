"""Errors that are the user's to mend."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user's: shown as one line, exit status 2."""
