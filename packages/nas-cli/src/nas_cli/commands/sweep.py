"""``nascli sweep``."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from nas_cli.options import completing, engine_of, engine_options, json_option, loudness
from nas_cli.output import counted, print_json, resumable

if TYPE_CHECKING:
    from nas_search.sweep import Row

__all__ = ["command"]


@click.command("sweep")
@click.option(
    "--methods",
    required=True,
    metavar="A,B",
    shell_complete=completing("methods", several=True),
    help="Search methods, see `nascli list methods`.",
)
@click.option(
    "--seeds", type=int, default=1, show_default=True, metavar="N", help="Seeds of each: --seed and those after it."
)
@click.option(
    "--grid", multiple=True, metavar="KEY=V1,V2", help="Values of a key or a setting; several make all combinations."
)
@engine_options("Runs at the same time")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="sweep",
    show_default=True,
    metavar="DIR",
    help="Folder, of several machines one that all see.",
)
@click.option("--space", metavar="S", shell_complete=completing("spaces"), help="As in `nascli search`.")
@click.option("--data", metavar="D", shell_complete=completing("data"), help="As in `nascli search`.")
@click.option("--epochs", type=int, metavar="N", help="As in `nascli search`.")
@click.option("--train-epochs", type=int, metavar="N", help="As in `nascli search`; 0 compares by --table alone.")
@click.option("--batch-size", type=int, metavar="N", help="As in `nascli search`.")
@click.option("--channels", type=int, metavar="C", help="As in `nascli search`.")
@click.option("--cells", type=int, metavar="N", help="As in `nascli search`.")
@click.option("--table", metavar="FILE", help="As in `nascli search`.")
@click.option("--seed", type=int, metavar="N", help="The first seed (0).")
@click.option("--device", metavar="auto|cpu|cuda", help="As in `nascli search`.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="What all runs have in common.")
@json_option
@loudness("of every run its architecture, its figures and its log")
def command(
    methods: str,
    seeds: int,
    grid: tuple[str, ...],
    workers: int,
    engine: str,
    address: str,
    gpus: float,
    out: Path,
    config: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Run several methods with several seeds, and put them side by side.

    Every run is a process with a folder of its own under --out, where results.csv and report.html put them side by side. A
    run that fails does not stop the others. The same command again repeats nothing that has finished.

    \b
    Examples:
      nascli sweep --methods darts,gdas,random_nas --seeds 3 --workers 2
      nascli sweep --methods darts --grid architecture_learning_rate=0.001,0.01 --out lr
    """
    from nas_search import ConfigError
    from nas_search.config import RunConfig
    from nas_search.run_state import check_positive
    from nas_search.sweep import plan, run_sweep, summarize
    from nas_search.sweep.summary import read_row

    check_positive(seeds=seeds)
    chosen = engine_of(engine, workers, address, gpus)
    base = RunConfig() if config is None else RunConfig.from_toml(config)
    base = base.updated({key: value for key, value in given.items() if value is not None})
    names = [name.strip() for name in methods.split(",") if name.strip()]
    values = [_values(text) for text in grid]
    if repeated := sorted({key for key, _ in values if [each for each, _ in values].count(key) > 1}):
        raise ConfigError(
            f"--grid {repeated[0]} is given twice; give all values of it in one, with commas between them."
        )
    planned = plan(out, base, names, seeds, dict(values))

    before = sum(read_row(planned, trial).status != "waiting" for trial in planned.trials)
    with (
        resumable(f"the same command: nascli sweep --out {quote(str(out))} ..."),
        counted("sweep", len(planned.trials), before, quiet=quiet) as say,
    ):

        def tell(row: "Row") -> None:
            more = f"\n  {row.architecture}  {dict(row.figures or {})}  log: {planned.log(row.trial)}"
            say(_line(row) + (more if verbose else ""))

        rows = run_sweep(planned, chosen, tell)
    summary = summarize(rows)
    if as_json:
        trials = [
            {"name": row.trial.name, "status": row.status, "error": row.error, "remark": row.remark} for row in rows
        ]
        print_json({"out": str(out), "trials": trials, "summary": summary})
    else:
        _print(summary)
        _print_notes(rows)
        click.echo(f"\ntable   {planned.table}")
        if (out / "report.html").exists():
            click.echo(f"report  {out / 'report.html'}")
    if any(row.status != "done" for row in rows):
        raise click.exceptions.Exit(1)


def _values(text: str) -> tuple[str, list[Any]]:
    from nas_search.config import parse_setting

    key, equals, values = text.partition("=")
    return key.strip(), [parse_setting(f"{key}{equals}{value}")[1] for value in values.split(",")]


def _line(row: "Row") -> str:
    if row.status == "failed":
        return f"{row.trial.name}  FAILED: {row.error}"
    figures = row.figures or {}
    shown = [
        f"{name.replace('_', ' ')} {_shown(name, figures[name])}"
        for name in ("test_accuracy", "table_test")
        if name in figures
    ]
    return "  ".join([row.trial.name, *shown, f"{row.seconds:.1f} s"])


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.2f}"


def _print(summary: list[dict[str, Any]]) -> None:
    figures = [
        name for name in ("test_accuracy", "table_test", "test_perplexity") if any(name in row for row in summary)
    ]
    width = max(len(row["name"]) for row in summary)
    click.echo(
        f"{'':{width}}  {'runs':>6}  {'seconds':>8}  " + "  ".join(f"{name.replace('_', ' '):>17}" for name in figures)
    )
    for row in summary:
        cells = []
        for name in figures:
            beside = f" ± {_shown(name, row[f'{name}_sd'])}" if f"{name}_sd" in row else ""
            cells.append(f"{_shown(name, row[name]) + beside if name in row else '':>17}")
        runs = f"{row['done']}" + (f" ({row['failed']} failed)" if row["failed"] else "")
        seconds = f"{row['seconds']:.1f}" if "seconds" in row else ""
        click.echo(f"{row['name']:{width}}  {runs:>6}  {seconds:>8}  " + "  ".join(cells))


def _print_notes(rows: "list[Row]") -> None:
    """Why trials failed or lack figures."""
    for row in rows:
        if row.error or row.remark:
            click.echo(f"{row.trial.name}  {f'FAILED: {row.error}' if row.error else row.remark}")
