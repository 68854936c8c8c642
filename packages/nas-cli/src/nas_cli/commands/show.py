"""``nascli show``."""

from pathlib import Path

import click

from nas_cli.options import json_option
from nas_cli.output import print_json

__all__ = ["command"]


@click.command("show")
@click.argument("what", metavar="RUN|ARCH")
@click.option(
    "--space", default="nas_bench_201", show_default=True, metavar="S", help="Space of an architecture's text."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Picture to write: FILE.svg or FILE.png.")
@json_option
def command(what: str, space: str, out: Path | None, as_json: bool) -> None:
    """Show an architecture as text and as a picture, of a run or written out.

    The picture of a run goes to RUN/architecture.svg by default.

    \b
    Examples:
      nascli show runs/daas-digits-seed0-1
      nascli show "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|" --out cell.png
    """
    from nas_search import ConfigError, SearchResult
    from nas_search.files import write_atomically
    from nas_spaces import catalog, drawing

    if Path(what).is_dir():
        architecture = SearchResult.load(what).architecture
        out = out or Path(what) / "architecture.svg"
    else:
        architecture = catalog.space(space).parse(what)
    home = catalog.space(architecture.space)
    graph = home.graph(architecture)
    if out is not None and out.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(
            f"cannot write a picture as {out.suffix or 'a file without ending'}; expected FILE.svg or FILE.png."
        )
    # The operation of the edge, or of the vertex that it leads to.
    edges = [
        (str(source), str(target), data["operation"] or graph.nodes[target].get("operation", ""))
        for source, target, data in graph.edges(data=True)
    ]
    if out is not None and out.suffix.lower() == ".svg":
        write_atomically(out, drawing.to_svg(graph, title=str(architecture)))
    elif out is not None:
        drawing.save_png(graph, out, title=str(architecture))
    if as_json:
        record = {"architecture": str(architecture), "space": home.name, "edges": edges}
        print_json({**record, "picture": None if out is None else str(out)})
        return
    click.echo(str(architecture))
    for source, target, operation in edges:
        click.echo(f"  {source} -> {target}  {operation}".rstrip())
    if out is not None:
        click.echo(f"picture: {out}")
