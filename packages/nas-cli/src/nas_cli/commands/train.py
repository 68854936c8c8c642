"""``nascli train``."""

from pathlib import Path
from shlex import quote
from typing import Any

import click

from nas_cli.options import Choice, Sectioned, completing, json_option, loudness
from nas_cli.output import print_json, progress, remembering, resumable

__all__ = ["command"]

_LESS_MEMORY = (
    "try --precision bfloat16, or less in a step: --set batch_size=N; a smaller network, --set channels=N or cells=N; smaller "
    "images of folders, --set image_size=N. --ema keeps a second copy of the weights."
)
_LESS_MEMORY_OF_RUN = (
    "try --precision bfloat16, or a preset with smaller sizes than the run's, such as --preset quick --set batch_size=32 (also "
    "channels=N and cells=N). --ema keeps a second copy of the weights."
)


@click.command(
    "train",
    cls=Sectioned,
    sections={
        "How it is trained": ("preset", "settings", "epochs", "learning_rate", "weight_decay", "ema", "asgd"),
        "What is kept, and tested": ("valid_share", "weights", "test_every"),
        "How it is computed": ("device", "precision", "compile_network", "deterministic"),
        "The data and the run": ("data", "download", "workers", "loader_timeout", "resume"),
        "What is printed": ("as_json", "quiet", "verbose"),
    },
)
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
@click.option(
    "--ema",
    type=float,
    metavar="DECAY",
    help="Evaluate and keep an exponential average of the weights, such as 0.999; 0 for none.",
)
@click.option(
    "--asgd", type=int, metavar="N", help="NT-ASGD, for text: average once the loss has not fallen for N epochs (5)."
)
@click.option(
    "--valid-share", type=float, metavar="X", help="Keep this part of the train images to choose the best epoch (0)."
)
@click.option(
    "--weights",
    type=Choice(["best", "last"]),
    help="Which become model.pt: of the epoch that validated best (where something validates), or of the last one.",
)
@click.option("--test-every", type=int, default=0, metavar="N", help="Test every N epochs, for the record alone (0).")
@click.option(
    "--precision",
    type=Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    help="auto: bfloat16 autocast on CUDA, float32 elsewhere.",
)
@click.option("--compile", "compile_network", is_flag=True, help="Compile the network with torch.compile.")
@click.option("--deterministic", is_flag=True, help="Deterministic algorithms only.")
@click.option("--device", metavar="auto|cpu|cuda", help="Where to compute; as the run's configuration by default.")
@click.option(
    "--data",
    metavar="D",
    shell_complete=completing("data"),
    help="Other data than the run's, to which what was found is transferred.",
)
@click.option("--workers", type=int, default=0, metavar="N", help="Processes that decode the images of folders (0).")
@click.option(
    "--loader-timeout",
    type=float,
    default=120.0,
    metavar="S",
    help="Seconds after which a batch that they do not bring is an error (120).",
)
@click.option("--download", is_flag=True, help="Download the data into its folder first, where they are missing.")
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@click.option("--restart", is_flag=True, help="Begin anew where a training was interrupted, which is kept otherwise.")
@json_option
@loudness("everything that is recorded of every epoch")
def command(
    run: Path,
    preset: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    learning_rate: float | None,
    weight_decay: float | None,
    ema: float | None,
    asgd: int | None,
    valid_share: float | None,
    precision: str,
    compile_network: bool,
    deterministic: bool,
    device: str | None,
    data: str | None,
    resume: bool,
    restart: bool,
    download: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **rest: Any,
) -> None:
    """Train the network that RUN found from scratch, on all its train images.

    The augmentation is the one that was found, and so are the learning rate and the weight decay over the run where the
    method learned them. Writes RUN/model.pt and RUN/train.json, and the report anew. The test images are looked at once, at the
    end, and choose nothing: with --valid-share, and for text always, the weights of the epoch that validated best are kept too.

    \b
    Examples:
      nascli train runs/daas-digits-seed0-1 --epochs 100
      nascli train runs/mine --preset nas-bench-201 --set epochs=12
      nascli train runs/mine --valid-share 0.1 --ema 0.999
      nascli train runs/darts --preset darts-cifar --set drop_path=0.3    # found in --space darts
      nascli train runs/darts --preset darts-imagenet --data imagefolder:imagenet --workers 8
    """
    from nas_search import ConfigError
    from nas_search.computation import Computation
    from nas_search.config import RunConfig, parse_setting
    from nas_search.data_sources import download as download_data
    from nas_search.distributed import agreed, is_first, joined, restarted, wait_for_all
    from nas_search.protocols import protocol
    from nas_search.run_folder import RunFolder
    from nas_search.runs import run_training

    if settings and preset is None:
        raise ConfigError("--set changes a setting of a preset; give --preset, such as --preset quick.")
    chosen = None if preset is None else protocol(preset, dict(parse_setting(text) for text in settings))

    values = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "ema": ema,
        "asgd": asgd,
        "valid_share": valid_share,
        "data": data,
        "device": device,
        **rest,
    }
    computation = Computation(precision, compile_network, deterministic)
    shown = values | {"precision": precision, "compile": compile_network, "deterministic": deterministic}
    usual = {"precision": "auto", "test_every": 0, "workers": 0, "loader_timeout": 120.0}
    again = "".join(
        f" --{name.replace('_', '-')}" + ("" if value is True else f" {quote(str(value))}")
        for name, value in shown.items()
        if value is not None and value is not False and usual.get(name) != value
    )
    again += "" if preset is None else f" --preset {preset}" + "".join(f" --set {quote(text)}" for text in settings)
    # What torchrun starts again goes on by itself.
    folder = RunFolder(run)
    begun_again = restarted() and (folder.checkpoints / "retrain.pt").exists()
    place = device or (RunConfig.from_toml(folder.config).device if folder.config.exists() else "auto")
    with joined(place):
        # torchrun tells those that it had to start again, and not the ranks of other machines.
        going_on = agreed(resume or begun_again)
        if download and is_first():
            folder.read_result()  # before a wait for nothing
            download_data(data or RunConfig.from_toml(folder.config).data)
        wait_for_all()
        with (
            progress(quiet=quiet or (as_json and not verbose) or not is_first(), verbose=verbose) as observers,
            # Until the first checkpoint there is nothing to go on from.
            resumable(f"nascli train {quote(str(run))}{again} --resume", (folder.checkpoints / "retrain.pt").exists),
            remembering(_LESS_MEMORY if chosen is not None else _LESS_MEMORY_OF_RUN),
        ):
            record = run_training(
                run,
                **values,
                protocol=chosen,
                computation=computation,
                resume=going_on,
                # What torchrun starts again has dropped it already; both options together are refused.
                restart=restart and (resume or not going_on),
                observers=observers,
            )
        if not is_first():
            return
    if as_json:
        print_json({key: value for key, value in record.items() if key != "history"})
    else:
        best = f", weights of epoch {record['best_epoch']}" if record["weights"] == "best" else ""
        click.echo(f"test accuracy {100 * record['test_accuracy']:.2f} % after {record['epochs']} epochs{best}")
        if "test_perplexity" in record:
            click.echo(f"perplexity    {record['test_perplexity']:.2f}")
        click.echo(f"model         {run / 'model.pt'}")
