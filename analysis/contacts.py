"""Does a policy win by fighting, or without touching its opponent?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import pandas as pd

from analysis.tables import Tournament
from common.statistics import wilson

BY_CONTACT = "wins by contact"
WITHOUT_CONTACT = "wins without contact"
UNDECIDED = "wins both ways"
NO_WINNER = "does not win"
GROUPS = (WITHOUT_CONTACT, BY_CONTACT, UNDECIDED, NO_WINNER)


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts against win rate of the policies of one side.

    Attributes:
        side: name of the side whose wins are counted, usually the adversaries'.
        match_ups: one row a match-up, see `contacts`.
        policies: the same with the episodes against all opponents together, one row a policy.
    """

    side: str
    match_ups: pd.DataFrame
    policies: pd.DataFrame


def contacts(tournament: Tournament, side: int, winning: float = 0.5) -> Contacts:
    """Contacts and wins of every policy of a side, with the group each belongs to.

    Groups: `does not win`: it wins a smaller share than `winning`. Of the rest, by the share of its
    wins in whose episode the sides never touched, with its Wilson interval: `wins without contact`
    (the interval lies above 1/2): adversarial in the proper sense, the victim loses to what it sees
    and not to force (Gleave et al. 2020, arXiv:1905.10615); `wins by contact` (below 1/2);
    `wins both ways` (holds 1/2).

    Columns: policy (and opponent), episodes, wins, win_rate, low, high, contacts (mean over the
    episodes of the most contacts between the sides in any step), contactless_wins,
    contactless_share (of the wins) with contactless_low and contactless_high (NaN without a win),
    group.

    Args:
        tournament: the match-ups.
        side: whose wins, 0 or 1.
        winning: the least win rate of a winner.
    """
    table = tournament.table
    frame = pd.DataFrame(
        {
            "policy": table[f"policy{side}"],
            "opponent": table[f"policy{1 - side}"],
            "episodes": table["episodes"],
            "wins": table[f"wins{side}"],
            "contactless_wins": table[f"contactless_wins{side}"],
            "contacts": table["contacts"],
        }
    )
    total = frame.assign(contacts=frame["contacts"] * frame["episodes"])
    pooled = total.drop(columns="opponent").groupby("policy", sort=False, as_index=False).sum()
    pooled["contacts"] /= pooled["episodes"]
    return Contacts(tournament.sides[side], _judged(frame, winning), _judged(pooled, winning))


def _judged(frame: pd.DataFrame, winning: float) -> pd.DataFrame:
    rows = []
    for wins, episodes, contactless in zip(
        frame["wins"], frame["episodes"], frame["contactless_wins"], strict=True
    ):
        rate = wilson(int(wins), int(episodes))
        row = {"win_rate": rate.value, "low": rate.low, "high": rate.high}
        row |= _contactless(int(contactless), int(wins))
        rows.append({**row, "group": _group(row, winning)})
    return frame.join(pd.DataFrame(rows))


def _contactless(contactless: int, wins: int) -> dict[str, float]:
    names = ("contactless_share", "contactless_low", "contactless_high")
    if not wins:
        return dict.fromkeys(names, float("nan"))
    share = wilson(contactless, wins)
    return dict(zip(names, (share.value, share.low, share.high), strict=True))


def _group(row: dict[str, float], winning: float) -> str:
    if row["win_rate"] < winning or isnan(row["contactless_share"]):
        return NO_WINNER
    if row["contactless_low"] > 0.5:
        return WITHOUT_CONTACT
    return BY_CONTACT if row["contactless_high"] < 0.5 else UNDECIDED
