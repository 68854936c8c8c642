"""``nascli report``."""

from pathlib import Path

import click

from nas_cli.options import json_option
from nas_cli.output import print_json

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE.html", help="The page; RUN/report.html for one run."
)
@json_option
def command(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Write one self-contained page about RUNS, side by side if there are several.

    \b
    Example:
      nascli report runs/daas-digits-seed0-1 runs/darts-digits-seed0-1 --out compared.html
    """
    from nas_search import ConfigError
    from nas_search.reports import write_report

    if out is None and len(runs) > 1:
        raise ConfigError("several runs need a place for the page: --out FILE.html.")
    page = write_report(runs, out or runs[0] / "report.html")
    if as_json:
        print_json({"file": str(page), "runs": [str(run) for run in runs]})
    else:
        click.echo(page)
