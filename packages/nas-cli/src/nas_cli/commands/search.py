"""``nascli search``."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from nas_cli.options import Choice, Sectioned, completing, engine_of, engine_options, json_option, loudness
from nas_cli.output import print_json, print_search, progress, resumable

if TYPE_CHECKING:
    from nas_search.tensorboard import TensorBoard

__all__ = ["command"]


@click.command(
    "search",
    cls=Sectioned,
    sections={
        "What is searched": ("space", "method", "data", "download", "channels", "cells", "table"),
        "How long": ("epochs", "train_epochs", "batch_size", "seed"),
        "How it is computed": ("device", "precision", "deterministic"),
        "Several processes for the candidates of black-box methods": ("workers", "engine", "address", "gpus"),
        "The run and its configuration": ("out", "resume", "config", "settings", "tensorboard"),
        "What is printed": ("as_json", "quiet", "verbose"),
    },
)
@click.option(
    "--space",
    metavar="S[+SETTING]",
    shell_complete=completing("spaces"),
    help="Search space (nas_bench_201, or that of a shipped table); see `nascli list spaces`. Black-box methods also search "
    "learning_rate, weight_decay and augmentation_magnitude, each joined by a +.",
)
@click.option(
    "--method",
    metavar="M",
    shell_complete=completing("methods"),
    help="Search method (daas); see `nascli list methods`.",
)
@click.option(
    "--data", metavar="D", shell_complete=completing("data"), help="Data source (digits); see `nascli list data`."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder; a new one under runs/ by default."
)
@click.option("--epochs", type=int, metavar="N", help="Epochs of the search (24).")
@click.option(
    "--train-epochs", type=int, metavar="N", help="Epochs of the training of the result; 0 for none (as --epochs)."
)
@click.option("--batch-size", type=int, metavar="N", help="Images of a batch (64).")
@click.option("--channels", type=int, metavar="C", help="Width of the first cell (16).")
@click.option("--cells", type=int, metavar="N", help="Depth, in the unit of the space (1, or all layers of a chain).")
@click.option("--table", metavar="FILE|digits", help="Tabular benchmark in which the result is looked up.")
@click.option("--seed", type=int, metavar="N", help="Seed of all randomness (0).")
@click.option("--device", metavar="auto|cpu|cuda", help="Where to compute (auto).")
@click.option(
    "--precision",
    type=Choice(["auto", "bfloat16", "float32"]),
    help="auto: bfloat16 autocast on CUDA, unless the method takes second derivatives; float32 elsewhere.",
)
@engine_options(
    "Candidates that are scored at the same time, and, unless --set parallel=K says otherwise, proposed together"
)
@click.option("--deterministic", is_flag=True, default=None, help="Deterministic algorithms only.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Read the configuration from a file."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any key, or a setting of the method.")
@click.option("--download", is_flag=True, help="Download the data into its folder first, where they are missing.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--tensorboard", is_flag=True, help="Write the figures to RUN/tensorboard as well, epoch by epoch.")
@json_option
@loudness("everything that is recorded of every epoch")
def command(
    out: Path | None,
    config: Path | None,
    settings: tuple[str, ...],
    resume: bool,
    download: bool,
    tensorboard: bool,
    workers: int,
    engine: str,
    address: str,
    gpus: float,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Search a network on images, train it, and write a report.

    Without any option this searches a small NAS-Bench-201 network for scikit-learn's digits, and the augmentation to train it
    with. Options override --config,
    which overrides the defaults.

    \b
    Examples:
      nascli search
      nascli search --data npz:cifar10.npz --method darts --epochs 50 --out runs/darts
      nascli search --data cifar10:data --download
      nascli search --config runs/darts/config.toml --seed 1
      nascli search --out runs/darts --resume
      nascli search --method regularized_evolution --workers 4
      torchrun --nproc-per-node 2 -m nas_cli search --out runs/two
    """
    from nas_search import ConfigError
    from nas_search.catalog import settings as settings_of
    from nas_search.config import RunConfig, parse_setting
    from nas_search.data_sources import download as download_data
    from nas_search.distributed import agreed, is_first, joined, launched, restarted
    from nas_search.run_folder import RunFolder
    from nas_search.runs import free_folder, run_search

    if resume and out is None:
        raise ConfigError("--resume needs the run folder: nascli search --out DIR --resume.")
    if out is None and (restarted() or launched() > 1):
        raise ConfigError(
            "several processes need the run folder, as does torchrun that starts them again: give --out DIR."
        )
    # What torchrun starts again goes on by itself.
    resume = resume or (restarted() and out is not None and (out / "config.toml").exists())
    values = {key: value for key, value in given.items() if value is not None}
    overrides = dict(parse_setting(text) for text in settings)
    if config is None and resume and out is not None and (out / "config.toml").exists():
        config = out / "config.toml"
    base = RunConfig() if config is None else RunConfig.from_toml(config)
    chosen = base.updated(values).updated(overrides)
    others = engine_of(engine, workers, address, gpus)
    scorers = others if workers > 1 or engine == "ray" else None
    usual = settings_of(chosen.method).get("parallel")
    # A configuration that was written out has the usual value, which nobody asked for.
    asked = "parallel" in overrides or chosen.settings.get("parallel", usual) != usual
    if workers > 1 and usual is not None and not asked and not resume:
        chosen = chosen.updated({"parallel": workers})
    folder = free_folder(chosen) if out is None else out
    with joined(chosen.device):
        # torchrun tells those that it had to start again, and not the ranks of other machines.
        resume = agreed(resume)
        if download:
            RunFolder(folder).check(resume=resume)  # before a wait for nothing
            download_data(chosen.data)
        board = _board(folder) if tensorboard and is_first() else None
        if verbose and is_first():
            click.echo(chosen.resolved().to_toml(), err=True)
        with (
            progress(quiet=quiet or (as_json and not verbose) or not is_first(), verbose=verbose) as observers,
            # While an autoencoder is trained there is no run folder yet.
            resumable(f"nascli search --out {quote(str(folder))} --resume", (folder / "config.toml").exists),
        ):
            watchers = observers if board is None else [*observers, board]
            record = run_search(chosen, folder, resume=resume, observers=watchers, engine=scorers)
        if board is not None:
            board.close()
        if not is_first():
            return
    if as_json:
        print_json(record)
    else:
        print_search(record)


def _board(folder: Path) -> "TensorBoard":
    from nas_search.tensorboard import TensorBoard

    return TensorBoard(folder / "tensorboard")
