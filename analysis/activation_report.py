"""The results of `sparring density`: printed, as tables, and as figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_limits

from analysis import figures
from analysis.activations import Recording, write_recordings
from analysis.density import Density, Settings, activation_map, density
from common.errors import UserError
from common.policy import Policy


def judge_activations(
    victim: Policy, recordings: Sequence[Recording], base: str, out: Path, seed: int
) -> int:
    """Fits the density model on one opponent, judges the others, prints and writes the results.

    Args:
        victim: whose activations are judged.
        recordings: what it saw against each opponent.
        base: label of the normal opponent to fit on.
        out: a directory, for observations.npz, density.csv, episodes.csv, map.csv and figures.
        seed: of everything random.

    Raises:
        UserError: see `analysis.density.density`; or `out` cannot be written.
    """
    # On a busy machine the threads of t-SNE wait for each other ten times longer than they work.
    with threadpool_limits(1):
        result = density(victim, recordings, base, Settings(seed=seed))
        plane = activation_map(victim, recordings, result.model, seed=seed)
    try:
        write_recordings(out / "observations.npz", recordings)
        for name, frame in (
            ("density", result.opponents),
            ("episodes", result.episodes),
            ("map", plane),
        ):
            frame.to_csv(out / f"{name}.csv", index=False)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    figures.save(figures.density_figure(result), out / "density")
    figures.save(figures.activation_map_figure(plane), out / "activations")
    console = Console()
    console.print(_density_table(result))
    console.print(f"written to {out}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _density_table(result: Density) -> Table:
    model = result.model
    shown = Table(
        title=Text(f"How usual the victim's activations are, fitted on {result.base}"),
        caption=f"{model.components} Gaussians ({model.covariance}) over {model.dimensions} "
        f"principal components, {model.explained:.0%} of the variance. Nats per step, 95 % "
        "intervals over episodes. AUROC: how surely an episode is told from a normal one.",
    )
    shown.add_column("opponent", overflow="fold")
    for heading in ("episodes", "log-likelihood", "less than normal by", "AUROC"):
        shown.add_column(heading, justify="right")
    for row in result.opponents.to_dict("records"):
        gap = (-row["difference"], -row["difference_high"], -row["difference_low"])
        same = row["label"] == result.base
        shown.add_row(
            Text(f"{row['label']} (held out)" if same else row["label"]),
            str(row["episodes"]),
            "{:.2f} ({:.2f} to {:.2f})".format(row["log_likelihood"], row["low"], row["high"]),
            "" if same else "{:.2f} ({:.2f} to {:.2f})".format(*gap),
            "" if same else f"{row['auroc']:.2f}",
        )
    return shown
