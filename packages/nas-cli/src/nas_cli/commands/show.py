"""``nascli show``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_cli.options import completing, json_option
from nas_cli.output import print_json

if TYPE_CHECKING:
    from nas_search import SearchResult

__all__ = ["command"]


@click.command("show")
@click.argument("what", metavar="RUN|ARCH")
@click.option(
    "--space",
    metavar="S",
    shell_complete=completing("spaces"),
    help="Space of an architecture's text (nas_bench_201).",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Picture to write: FILE.svg or FILE.png.")
@click.option(
    "--top", type=click.IntRange(1), metavar="N", help="Of a run also the N best of all that the search has compared."
)
@json_option
def command(what: str, space: str | None, out: Path | None, top: int | None, as_json: bool) -> None:
    """Show an architecture as text and as a picture, of a run or written out.

    The picture of a run goes to RUN/architecture.svg by default.

    \b
    Examples:
      nascli show runs/daas-digits-seed0-1
      nascli show runs/random --top 5
      nascli show "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|" --out cell.png
    """
    from nas_search import ConfigError, SearchResult
    from nas_search.files import write_atomically
    from nas_spaces import ArchitectureError, catalog, drawing

    # `Path.is_dir` raises on what is too long for a file's name, as the cells of DARTS are.
    result = SearchResult.load(what) if os.path.isdir(what) else None  # noqa: PTH112
    if result is not None:
        if space is not None:
            raise ConfigError("--space is for an architecture that is written out; a run knows its own: leave it out.")
        architecture = result.architecture
        out = out or Path(what) / "architecture.svg"
    elif top is not None:
        raise ConfigError(f"--top ranks what a search has compared, and {what!r} is no folder of a run; leave it out.")
    else:
        space = space or "nas_bench_201"
        try:
            architecture = catalog.space(space).parse(what)
        except ArchitectureError as error:
            if "|" in what or ":" in what:
                raise
            raise ConfigError(
                f"{what!r} is neither the folder of a run nor an architecture of {space}: {error}"
            ) from error
    home = catalog.space(architecture.space)
    graph = home.graph(architecture)
    if out is not None and out.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(
            f"cannot write a picture as {out.suffix or 'a file without ending'}; expected FILE.svg or FILE.png."
        )
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent} for the picture; make it, or choose another --out.")
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
        record: dict[str, Any] = {"architecture": str(architecture), "space": home.name, "edges": edges}
        record |= {"picture": None if out is None else str(out)}
        if result is not None:
            kept = result.to_dict()
            record |= {"ranked_by": kept["ranked_by"], "candidates": kept["candidates"][:top]}
        print_json(record)
        return
    click.echo(str(architecture))
    for source, target, operation in edges:
        click.echo(f"  {source} -> {target}  {operation}".rstrip())
    if out is not None:
        click.echo(f"picture: {out}")
    if result is not None and top is not None:
        _print_ranking(result, top)


def _print_ranking(result: "SearchResult", top: int) -> None:
    if not result.candidates:
        click.echo(f"\nno ranking: {result.ranked_by or 'the run is older than rankings are'}.")
        return
    click.echo(f"\n{min(top, len(result.candidates))} of {len(result.candidates)}, by {result.ranked_by}:")
    for place, candidate in enumerate(result.candidates[:top], start=1):
        settings = "".join(f"  {name}={value:.4g}" for name, value in candidate.hyperparameters.items())
        click.echo(f"{place:>4}  {candidate.score:.4g}  {candidate.architecture}{settings}")
