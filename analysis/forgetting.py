"""Does a victim still beat the adversaries it once learned to beat?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.curves import RunCurves
from analysis.names import run_policy
from analysis.tables import Tournament
from analysis.uncertainty import newcombe
from common.errors import UserError
from common.statistics import wilson


@dataclass(frozen=True, eq=False)
class Forgetting:
    """Victim checkpoints against the adversaries of their past.

    Attributes:
        match_ups: one row a victim checkpoint and adversary of the same run that was there before
            it: run, victim, victim_steps, adversary, adversary_steps, episodes, wins, win_rate,
            low, high (of the victim; Wilson, 95 %), and against the best checkpoint since the
            adversary was met: best (its name), best_rate, drop (best_rate - win_rate) with
            drop_low and drop_high (Newcombe, 95 %, widened for the number of checkpoints that the
            best was chosen from: Bonferroni). A checkpoint that is itself the best has drop 0.
        checkpoints: one row a victim checkpoint: run, victim, victim_steps, adversaries (how many),
            mean (win rate), worst (win rate), worst_adversary, mean_drop, largest_drop,
            forgotten: adversaries against whom the whole interval of the drop lies above 0.
    """

    match_ups: pd.DataFrame
    checkpoints: pd.DataFrame


def forgetting(tournament: Tournament, side: str, runs: Sequence[RunCurves]) -> Forgetting:
    """Each victim checkpoint against every earlier adversary.

    The drop is the forgetting measure of Chaudhry et al. 2018 (arXiv:1801.10112, equation 3), with
    the checkpoint itself among the candidates, so that it is not negative.

    Args:
        tournament: of checkpoints named `run:RUN/POLICY@VERSION`.
        side: name of the victims' side.
        runs: the runs that the checkpoints are of; they tell when each version came to be.

    Raises:
        UserError: no victim checkpoint and earlier adversary of the same run were played.
    """
    index = tournament.side_index(side)
    times = {run.name: run for run in runs}
    rows = [row for row in _rows(tournament, index, times) if row is not None]
    if not rows:
        raise UserError(
            f"{tournament.source}: no {side} checkpoint was played against an earlier adversary of "
            f"the runs {', '.join(times) or '(none given)'}; checkpoints are named "
            "run:RUN/POLICY@VERSION"
        )
    frame = pd.DataFrame(rows).sort_values(["run", "victim_steps", "adversary_steps"])
    frame = _with_drops(frame.reset_index(drop=True))
    return Forgetting(frame, _checkpoints(frame))


def _rows(
    tournament: Tournament, side: int, runs: dict[str, RunCurves]
) -> list[dict[str, Any] | None]:
    return [_row(row, side, runs) for row in tournament.table.to_dict("records")]


def _row(row: dict[Any, Any], side: int, runs: dict[str, RunCurves]) -> dict[str, Any] | None:
    victim = _when(row[f"policy{side}"], int(row[f"version{side}"]), runs)
    adversary = _when(row[f"policy{1 - side}"], int(row[f"version{1 - side}"]), runs)
    if victim is None or adversary is None:
        return None
    if victim[0] != adversary[0] or adversary[1] > victim[1]:
        return None
    rate = wilson(int(row[f"wins{side}"]), int(row["episodes"]))
    return {
        "run": victim[0],
        "victim": row[f"policy{side}"],
        "victim_steps": victim[1],
        "adversary": row[f"policy{1 - side}"],
        "adversary_steps": adversary[1],
        "episodes": int(row["episodes"]),
        "wins": int(row[f"wins{side}"]),
        "win_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
    }


def _when(name: str, version: int, runs: dict[str, RunCurves]) -> tuple[str, int] | None:
    found = run_policy(name, version)
    if found is None:
        return None
    # RUN may be the path of a run directory.
    run = runs.get(found.run.rstrip("/").rpartition("/")[2])
    when = run.version_at(found.policy, found.version) if run else None
    return (run.name, when[1]) if run and when else None


def _with_drops(frame: pd.DataFrame) -> pd.DataFrame:
    drops: dict[int, dict[str, Any]] = {}
    for _, group in frame.groupby(["run", "adversary"], sort=False):
        best = group.iloc[0]
        for count, (place, now) in enumerate(group.iterrows(), 1):
            if now["win_rate"] >= best["win_rate"]:
                best = now
            # The best of many is best also by luck, so the interval allows for having chosen it.
            confidence = 1 - 0.05 / count
            drop = newcombe(
                best["wins"], best["episodes"], now["wins"], now["episodes"], confidence
            )
            drops[int(str(place))] = {
                "best": best["victim"],
                "best_rate": best["win_rate"],
                "drop": drop.value,
                "drop_low": drop.low,
                "drop_high": drop.high,
            }
    return frame.join(pd.DataFrame.from_dict(drops, orient="index"))


def _checkpoints(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (run, victim, steps), group in frame.groupby(["run", "victim", "victim_steps"], sort=False):
        worst = group.iloc[int(group["win_rate"].to_numpy().argmin())]
        rows.append(
            {
                "run": run,
                "victim": victim,
                "victim_steps": steps,
                "adversaries": len(group),
                "mean": group["win_rate"].mean(),
                "worst": worst["win_rate"],
                "worst_adversary": worst["adversary"],
                "mean_drop": group["drop"].mean(),
                "largest_drop": group["drop"].max(),
                "forgotten": int((group["drop_low"] > 0).sum()),
            }
        )
    return pd.DataFrame(rows)
