"""Whether two cells are the same up to the names of their vertices, decided by comparing hashes.

The colours of the vertices are refined as NAS-Bench-101 does it (Ying et al., ICML 2019, after Weisfeiler and Leman): a
vertex starts with its own label and takes up, again and again, the sorted colours of the vertices before it and of those
behind it, until no two more can be told apart. Equal cells have equal colours, whatever their vertices are called. The
converse fails where different vertices look alike to all their neighbours. There one of them is given a colour of its
own, each in turn, and the least of the resulting forms is taken (McKay, "Practical graph isomorphism", 1981): so that
equal forms are equal cells, without exception.

Differs from the paper:
    1. The paper compares the colours, as MD5 sums, and stops there: enough for the cells of NAS-Bench-101, not for every
       graph. Its hashes are therefore other ones than these.
"""

import hashlib
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["canonical_form", "canonical_hash"]

Label: TypeAlias = tuple[str, str]
Form: TypeAlias = tuple[tuple[Label, ...], tuple[tuple[int, int, str], ...]]


def canonical_hash(graph: "nx.DiGraph[Any]") -> str:
    """The SHA-256 of `canonical_form`, 64 hexadecimal digits: equal for two graphs exactly if they are isomorphic.

    Example:
        >>> from nas_spaces import nas_bench_101
        >>> space = nas_bench_101()
        >>> a = space.parse("conv3x3-bn-relu~0+maxpool3x3~0+output~1~2")
        >>> b = space.parse("maxpool3x3~0+conv3x3-bn-relu~0+output~1~2")
        >>> canonical_hash(space.graph(a)) == canonical_hash(space.graph(b))
        True
    """
    return hashlib.sha256(repr(canonical_form(graph)).encode()).hexdigest()


def canonical_form(graph: "nx.DiGraph[Any]") -> Form:
    """The labels and the edges of a graph under a numbering of its vertices that does not depend on their names.

    Vertices are told apart by their ``role`` and ``operation``, edges by their ``operation``, where they have them; other
    attributes, such as the ``label`` of a picture, do not count. The time grows with the number of symmetries of the
    graph: right for cells, wrong for graphs of hundreds of vertices that all look alike.

    Args:
        graph: as `SearchSpace.graph` makes it; cycles are allowed.

    Returns:
        The labels ``(role, operation)`` of the vertices, and the edges ``(source, target, operation)``, in order.
    """
    names = list(graph)
    labels = [(str(data.get("role", "")), str(data.get("operation", ""))) for _, data in graph.nodes(data=True)]
    place = {name: index for index, name in enumerate(names)}
    edges = [(place[s], place[t], str(data.get("operation", ""))) for s, t, data in graph.edges(data=True)]
    return _least(labels, edges, _ranks(labels))


def _ranks(values: list[Any]) -> list[int]:
    """The place of each value among the different values."""
    order = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [order[value] for value in values]


def _refine(colors: list[int], edges: list[tuple[int, int, str]]) -> list[int]:
    """Tell vertices apart by the colours around them, until that tells no more of them apart."""
    while True:
        before: list[list[tuple[str, int]]] = [[] for _ in colors]
        behind: list[list[tuple[str, int]]] = [[] for _ in colors]
        for source, target, operation in edges:
            before[target].append((operation, colors[source]))
            behind[source].append((operation, colors[target]))
        # The old colour stands first, so that the order of the colours is kept and only refined.
        refined = _ranks(
            [(c, tuple(sorted(b)), tuple(sorted(a))) for c, b, a in zip(colors, before, behind, strict=True)]
        )
        if max(refined, default=0) == max(colors, default=0):
            return refined
        colors = refined


def _least(labels: list[Label], edges: list[tuple[int, int, str]], colors: list[int]) -> Form:
    colors = _refine(colors, edges)
    alike = [color for color in sorted(set(colors)) if colors.count(color) > 1]
    if not alike:
        numbered = dict(zip(colors, labels, strict=True))
        return (
            tuple(numbered[number] for number in range(len(labels))),
            tuple(sorted((colors[s], colors[t], operation) for s, t, operation in edges)),
        )
    # Twice the colours leave room for one of its own, just before those that it was like.
    return min(
        _least(labels, edges, _ranks([2 * c - (vertex == chosen) for vertex, c in enumerate(colors)]))
        for chosen, color in enumerate(colors)
        if color == alike[0]
    )
