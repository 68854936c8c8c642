"""The text forms of cells: ours, ``normal:|op~0|op~1|+...;reduce:...``, and DARTS' ``Genotype(...)`` literal."""

import ast
from collections.abc import Mapping, Sequence

from nas_spaces.cells import CellShape, Connection, Node
from nas_spaces.errors import ArchitectureError
from nas_spaces.parsing import Reader, genotype_arguments, literal

__all__ = ["format_cells", "read_cells", "to_genotype"]


def format_cells(cells: Mapping[str, Sequence[Node]]) -> str:
    """Our text: the cells by name, their nodes joined by ``+``, a connection as ``operation~state``."""
    return ";".join(
        f"{cell}:" + "+".join("|" + "|".join(f"{name}~{state}" for name, state in node) + "|" for node in nodes)
        for cell, nodes in cells.items()
    )


def to_genotype(cells: Mapping[str, Sequence[Node]]) -> str:
    """DARTS' literal of a normal and a reduction cell."""
    lists = {cell: [connection for node in nodes for connection in node] for cell, nodes in cells.items()}
    concat = f"range(2, {2 + len(cells['normal'])})"
    return (
        f"Genotype(normal={lists['normal']!r}, normal_concat={concat}, "
        f"reduce={lists['reduce']!r}, reduce_concat={concat})"
    )


def read_cells(text: str, names: tuple[str, ...], shape: CellShape) -> dict[str, list[Node]]:
    """Read either form.

    Raises:
        ArchitectureError: naming the position and what was expected there.
    """
    reader = Reader(text)
    if text.strip().startswith("Genotype"):
        return _read_genotype(text.strip(), names, shape)
    cells: dict[str, list[Node]] = {}
    for index, name in enumerate(names):
        if index:
            reader.take(";")
        reader.take(f"{name}:")
        cells[name] = [_read_node(reader, node, shape) for node in range(shape.nodes)]
    reader.end()
    return cells


def _read_node(reader: Reader, node: int, shape: CellShape) -> Node:
    if node:
        reader.take("+")
    reader.take("|")
    first = _read_connection(reader, node, shape)
    second = _read_connection(reader, node, shape)
    return first, second


def _read_connection(reader: Reader, node: int, shape: CellShape) -> Connection:
    operation = shape.operations[reader.one_of(shape.operations, "an operation")]
    reader.take("~")
    state = reader.number(shape.predecessors[node], f"a state that node {node} may read")
    reader.take("|")
    return operation, state


def _read_genotype(text: str, names: tuple[str, ...], shape: CellShape) -> dict[str, list[Node]]:
    """Walk the syntax tree; nothing is evaluated but literals."""
    if names != ("normal", "reduce"):
        raise ArchitectureError("a Genotype(...) has a normal and a reduction cell; this space has a cell per depth.")
    values = genotype_arguments(text, "normal", "normal_concat", "reduce", "reduce_concat")
    for cell in names:
        _check_concat(values[f"{cell}_concat"], shape)
    return {cell: _read_pairs(values[cell], cell, shape) for cell in names}


def _check_concat(value: ast.expr, shape: CellShape) -> None:
    nodes = list(range(2, 2 + shape.nodes))
    if ast.unparse(value) != f"range(2, {2 + shape.nodes})" and literal(value) not in (nodes, tuple(nodes)):
        raise ArchitectureError(
            f"at position {value.col_offset}: expected range(2, {2 + shape.nodes}), as all nodes are put side by side "
            f"in this space, found {ast.unparse(value)}."
        )


def _read_pairs(value: ast.expr, cell: str, shape: CellShape) -> list[Node]:
    pairs = literal(value)
    if not isinstance(pairs, list | tuple) or len(pairs) != 2 * shape.nodes:
        raise ArchitectureError(
            f"at position {value.col_offset}: expected a list of {2 * shape.nodes} pairs for {cell!r}, "
            f"found {ast.unparse(value)}."
        )
    for index, pair in enumerate(pairs):
        node = index // 2
        if not (
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and pair[0] in shape.operations
            and pair[1] in shape.predecessors[node]
        ):
            raise ArchitectureError(
                f"pair {index} of {cell!r} is {pair!r}; expected (operation, state) with an operation of "
                f"{', '.join(shape.operations)} and a state of {shape.predecessors[node]}."
            )
    return [
        ((str(pairs[i][0]), int(pairs[i][1])), (str(pairs[i + 1][0]), int(pairs[i + 1][1])))
        for i in range(0, len(pairs), 2)
    ]
