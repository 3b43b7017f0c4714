import numpy as np
import pandas as pd
import pytest

from analysis.contacts import BY_CONTACT, NO_WINNER, UNDECIDED, WITHOUT_CONTACT, contacts
from analysis.tables import check_table
from tests.analysis.builders import table_of, tournament_of


def planted() -> pd.DataFrame:
    """Four policies against two opponents: 90 %, 80 %, 70 % and 20 % won."""
    table = table_of([[90, 90], [80, 80], [70, 70], [20, 20]])
    return table.assign(
        contactless_wins0=[88, 88, 4, 4, 35, 35, 20, 20],
        contacts=[0.0, 0.5, 3.0, 3.0, 1.0, 1.0, 0.0, 0.0],
    )


def test_each_policy_falls_into_its_group() -> None:
    frame = contacts(check_table(planted()), side=0).policies.set_index("policy")
    assert dict(frame["group"]) == {
        "a0": WITHOUT_CONTACT,
        "a1": BY_CONTACT,
        "a2": UNDECIDED,
        "a3": NO_WINNER,
    }
    assert frame.loc["a0", "contactless_share"] == pytest.approx(176 / 180)
    assert frame.loc["a0", "contacts"] == pytest.approx(0.25)
    assert frame.loc["a1", "win_rate"] == 0.8
    assert (frame["low"] < frame["win_rate"]).all()
    assert (frame["win_rate"] < frame["high"]).all()


def test_match_ups_one_by_one() -> None:
    result = contacts(check_table(planted()), side=0)
    assert result.side == "blocker"
    assert len(result.match_ups) == 8
    assert set(result.match_ups["opponent"]) == {"b0", "b1"}


def test_wins_of_the_other_side() -> None:
    tournament = tournament_of([[10, 90], [10, 90]], contactless=(1.0, 0.0))
    frame = contacts(tournament, side=1).policies.set_index("policy")
    assert dict(frame["group"]) == {"b0": BY_CONTACT, "b1": NO_WINNER}


def test_without_a_win_there_is_no_share() -> None:
    frame = contacts(tournament_of([[0, 0]]), side=0, winning=0.0).policies
    assert np.isnan(frame["contactless_share"][0])
    assert frame["group"][0] == NO_WINNER
