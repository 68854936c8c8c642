"""``nascli train``."""

from pathlib import Path
from shlex import quote

import click

from nas_cli.options import json_option, loudness
from nas_cli.output import print_json, progress, resumable

__all__ = ["command"]


@click.command("train")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--preset",
    metavar="P",
    help="Protocol of a paper: darts-cifar, darts-imagenet, nas-bench-201, or quick; in place of what was learned.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting of the preset.")
@click.option("--epochs", type=int, metavar="N", help="Epochs; those of the run's configuration by default.")
@click.option(
    "--learning-rate", type=float, metavar="X", help="At the beginning, annealed; else what was learned, if it was."
)
@click.option("--weight-decay", type=float, metavar="X", help="In place of what was learned, or of the default.")
@click.option("--device", metavar="auto|cpu|cuda", help="Where to compute; as the run's configuration by default.")
@click.option("--download", is_flag=True, help="Download the data into its folder first, where they are missing.")
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@json_option
@loudness
def command(
    run: Path,
    preset: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    learning_rate: float | None,
    weight_decay: float | None,
    device: str | None,
    resume: bool,
    download: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Train the network that RUN found from scratch, on all its train images.

    The augmentation is the one that was found, and so are the learning rate and the weight decay over the run where the
    method learned them. Writes RUN/model.pt and RUN/train.json, and the report anew.

    \b
    Example:
      nascli train runs/daas-digits-seed0-1 --epochs 100
      nascli train runs/mine --preset darts-cifar --set drop_path=0.3
    """
    from nas_search import ConfigError
    from nas_search.config import RunConfig, parse_setting
    from nas_search.data_sources import download as download_data
    from nas_search.distributed import agreed, is_first, joined, restarted, wait_for_all
    from nas_search.protocols import protocol
    from nas_search.run_folder import RunFolder
    from nas_search.runs import run_training

    if settings and preset is None:
        raise ConfigError("--set changes a setting of a preset; give --preset, such as --preset quick.")
    chosen = None if preset is None else protocol(preset, dict(parse_setting(text) for text in settings))

    values = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
    given = {name: value for name, value in values.items() if value is not None}
    again = "".join(f" --{name.replace('_', '-')} {value}" for name, value in given.items())
    again += "" if preset is None else f" --preset {preset}" + "".join(f" --set {quote(text)}" for text in settings)
    # What torchrun starts again goes on by itself.
    folder = RunFolder(run)
    resume = resume or (restarted() and (folder.checkpoints / "retrain.pt").exists())
    place = device or (RunConfig.from_toml(folder.config).device if folder.config.exists() else "auto")
    with joined(place):
        # torchrun tells those that it had to start again, and not the ranks of other machines.
        resume = agreed(resume)
        if download and is_first():
            download_data(RunConfig.from_toml(folder.config).data)
        wait_for_all()
        with (
            progress(quiet=quiet or (as_json and not verbose) or not is_first(), verbose=verbose) as observers,
            resumable(f"nascli train {quote(str(run))}{again} --resume"),
        ):
            record = run_training(
                run,
                epochs=epochs,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                protocol=chosen,
                device=device,
                resume=resume,
                observers=observers,
            )
        if not is_first():
            return
    if as_json:
        print_json({key: value for key, value in record.items() if key != "history"})
    else:
        click.echo(f"test accuracy {100 * record['test_accuracy']:.2f} % after {record['epochs']} epochs")
        if "test_perplexity" in record:
            click.echo(f"perplexity    {record['test_perplexity']:.2f}")
        click.echo(f"model         {run / 'model.pt'}")
