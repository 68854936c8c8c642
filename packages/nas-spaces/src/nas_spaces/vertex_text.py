"""The text form of cells whose vertices carry the operations: ``operation~source~...+...+output~source~...``."""

from collections.abc import Sequence

from nas_spaces.parsing import Reader

__all__ = ["format_vertices", "read_vertices"]


def format_vertices(names: Sequence[str], sources: Sequence[Sequence[int]]) -> str:
    """The vertices 1, 2, ..., each with its name and what it reads; the last is the output.

    Args:
        names: of the vertices before the output.
        sources: for each vertex, and then for the output, the vertices that it reads; 0 is the input.
    """
    return "+".join("~".join([name, *map(str, read)]) for name, read in zip((*names, "output"), sources, strict=True))


def read_vertices(text: str, names: tuple[str, ...], most: int) -> tuple[list[int], list[list[int]]]:
    """The inverse of `format_vertices`, with the place of each name among `names`.

    Args:
        text: what to read.
        names: what a vertex may be called.
        most: vertices before the output, at the most.

    Raises:
        ArchitectureError: naming the position and what was expected there.
    """
    reader = Reader(text)
    found: list[int] = []
    sources: list[list[int]] = []
    while True:
        vertex = len(found) + 1
        allowed = ("output", *names) if vertex <= most else ("output",)
        option = reader.one_of(allowed, f"what vertex {vertex} is")
        sources.append(_read_sources(reader, vertex, "the output" if option == 0 else f"vertex {vertex}"))
        if option == 0:
            reader.end()
            return found, sources
        found.append(option - 1)
        reader.take("+")


def _read_sources(reader: Reader, vertex: int, name: str) -> list[int]:
    """Read ``~source~source...``: different vertices before this one, at least one."""
    left = list(range(vertex))
    sources: list[int] = []
    while not sources or reader.text.startswith("~", reader.position):
        reader.take("~")
        sources.append(reader.number(tuple(left), f"another vertex that {name} may read"))
        left.remove(sources[-1])
    return sorted(sources)
