"""``nascli report``."""

from pathlib import Path

import click

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE.html", help="The page; RUN/report.html for one run."
)
def command(runs: tuple[Path, ...], out: Path | None) -> None:
    r"""Write one self-contained page about RUNS, side by side if there are several.

    \b
    Example:
      nascli report runs/daas-digits-seed0-1 runs/darts-digits-seed0-1 --out compared.html
    """
    from nas_search import ConfigError
    from nas_search.reports import write_report

    if out is None and len(runs) > 1:
        raise ConfigError("several runs need a place for the page: --out FILE.html.")
    click.echo(write_report(runs, out or runs[0] / "report.html"))
