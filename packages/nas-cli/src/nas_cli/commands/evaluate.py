"""``nascli evaluate``."""

from pathlib import Path
from typing import Literal

import click

from nas_cli.options import completing, json_option, quiet_option, weights_option
from nas_cli.output import notices, print_json

__all__ = ["command"]


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="D",
    shell_complete=completing("data"),
    help="Data whose test part is classified; those of the run by default.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to compute.")
@weights_option
@json_option
@quiet_option
def command(
    run: Path, data: str | None, device: str, weights: Literal["best", "last"] | None, as_json: bool, quiet: bool
) -> None:
    """Say how many of the test images of a data set the trained network of RUN classifies rightly.

    \b
    Examples:
      nascli evaluate runs/daas-digits-seed0-1
      nascli evaluate runs/mine --data npz:other.npz
    """
    from nas_search.runs import run_evaluation

    with notices(quiet or as_json):  # the images of folders may have to be decoded first
        record = run_evaluation(run, data=data, device=device, weights=weights)
    if as_json:
        print_json(record)
        return
    click.echo(f"test accuracy {100 * record['test_accuracy']:.2f} % of {record['examples']:,} in {record['data']}")
    if "test_perplexity" in record:
        click.echo(f"perplexity    {record['test_perplexity']:.2f}")
    for name, share in record.get("classes", {}).items():
        click.echo(f"  {name:<12} {100 * share:6.2f} %")
