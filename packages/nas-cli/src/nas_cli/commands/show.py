"""``nascli show``."""

from pathlib import Path

import click

__all__ = ["command"]


@click.command("show")
@click.argument("what", metavar="RUN|ARCH")
@click.option(
    "--space", default="nas_bench_201", show_default=True, metavar="S", help="Space of an architecture's text."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Picture to write: FILE.svg or FILE.png.")
def command(what: str, space: str, out: Path | None) -> None:
    r"""Show an architecture as text and as a picture, of a run or written out.

    The picture of a run goes to RUN/architecture.svg by default. PNG needs matplotlib: pip install "nas-cli[draw]".

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
    click.echo(str(architecture))
    for source, target, data in graph.edges(data=True):
        # The operation of the edge, or of the vertex that it leads to.
        operation = data["operation"] or graph.nodes[target].get("operation", "")
        click.echo(f"  {source} -> {target}  {operation}".rstrip())
    if out is None:
        return
    if out.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(
            f"cannot write a picture as {out.suffix or 'a file without ending'}; expected FILE.svg or FILE.png."
        )
    if out.suffix.lower() == ".svg":
        write_atomically(out, drawing.to_svg(graph, title=str(architecture)))
    else:
        drawing.save_png(graph, out, title=str(architecture))
    click.echo(f"picture: {out}")
