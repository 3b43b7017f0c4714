"""How the video of a match-up is called, so that a report finds what `sparring video` made."""

from __future__ import annotations

import re


def video_name(policy0: str, policy1: str) -> str:
    """File name of the video of a match-up: `POLICY0__POLICY1.mp4`, sides 0 and 1.

    Whatever is not a letter, a digit or one of `_.@-` becomes a hyphen, e.g.
    `zoo-you-shall-not-pass-agent1-v1__run-pbt2-001-victim@21.mp4`.
    """
    first, second = (re.sub(r"[^\w.@-]+", "-", name) for name in (policy0, policy1))
    return f"{first}__{second}.mp4"
