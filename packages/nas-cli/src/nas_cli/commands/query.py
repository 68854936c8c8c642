"""``nascli query``."""

import click

from nas_cli.options import completing, json_option, quiet_option
from nas_cli.output import notices, print_json

__all__ = ["command"]


@click.command("query")
@click.argument("architecture", metavar="ARCH")
@click.option(
    "--table", required=True, metavar="FILE|digits", help="The tabular benchmark: a file, or the one that is shipped."
)
@click.option("--dataset", help="Data set of the table (cifar10, or that of a shipped table).")
@click.option(
    "--space",
    metavar="S",
    shell_complete=completing("spaces"),
    help="Space of the architecture's text (nas_bench_201, or that of a shipped table).",
)
@json_option
@quiet_option
def command(architecture: str, table: str, dataset: str | None, space: str | None, as_json: bool, quiet: bool) -> None:
    """Say what a tabular benchmark knows of an architecture.

    \b
    Example:
      nascli query "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|" --table nas_bench_201.npz
    """
    from nas_spaces import catalog, load_table, space_of_table

    parsed = catalog.space(space or space_of_table(table) or "nas_bench_201").parse(architecture)
    with notices(quiet or as_json):
        loaded = load_table(table, dataset)
    record = {
        "architecture": str(parsed),
        "dataset": loaded.dataset,
        "test": loaded.query(parsed),
        "valid": loaded.query(parsed, "valid") if loaded.has("valid") else None,
        "rank": loaded.rank(parsed),
        "of": len(loaded),
        "regret": loaded.regret(parsed),
    }
    if as_json:
        print_json(record)
        return
    valid = "" if record["valid"] is None else f", valid {record['valid']:.2f} %"
    click.echo(f"test {record['test']:.2f} %{valid} on {record['dataset']}")
    click.echo(f"rank {record['rank']:,} of {record['of']:,}, {record['regret']:.2f} below the best")
