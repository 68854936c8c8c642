"""``nascli export``."""

from pathlib import Path

import click

from nas_cli.options import Choice, json_option, weights_option
from nas_cli.output import print_json

__all__ = ["command"]


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=Choice(["onnx", "torch", "json", "bundle"]),
    default="onnx",
    show_default=True,
    help="Of the file.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="File to write; in RUN by default.")
@weights_option
@json_option
def command(run: Path, form: str, out: Path | None, weights: str | None, as_json: bool) -> None:
    """Write the trained network of RUN as ONNX or torch.export, what was found as JSON, or all of it as one bundle.

    The network takes images as float32 in [0, 1] and normalises them itself. It is run by onnxruntime, or read back, and
    compared with PyTorch before it is written. ONNX needs: pip install "nas-cli[onnx]".

    A bundle is a zip archive with the weights, the architecture, the augmentation policy and the learned hyper-parameters, which
    says itself how to load it. Unpacked it is a run folder, for nascli train, evaluate and show.

    \b
    Examples:
      nascli export runs/daas-digits-seed0-1
      nascli export runs/daas-digits-seed0-1 --format torch --out digits.pt2
      nascli export runs/daas-digits-seed0-1 --format bundle --out digits.zip
    """
    from nas_search.export import export_run

    path = export_run(run, form, out, weights)
    if as_json:
        print_json({"file": str(path), "format": form, "bytes": path.stat().st_size})
    else:
        click.echo(f"{path}  ({path.stat().st_size / 1024:,.0f} KiB)")
