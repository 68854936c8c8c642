"""The text forms of a recurrent cell: ours, ``|tanh~0|+|relu~1|+...``, and DARTS' ``Genotype(recurrent=[...], ...)``."""

import ast
from collections.abc import Sequence

from nas_spaces.errors import ArchitectureError
from nas_spaces.parsing import Reader, genotype_arguments, literal
from nas_spaces.recurrent import ACTIVATIONS, Connection

__all__ = ["format_steps", "read_steps", "to_genotype"]


def format_steps(steps: Sequence[Connection]) -> str:
    """Our text: a step as ``|activation~predecessor|``, joined by ``+``."""
    return "+".join(f"|{name}~{source}|" for name, source in steps)


def to_genotype(steps: Sequence[Connection]) -> str:
    """DARTS' literal."""
    return f"Genotype(recurrent={list(steps)!r}, concat=range(1, {1 + len(steps)}))"


def read_steps(text: str, count: int) -> list[Connection]:
    """Read either form of a cell of `count` steps.

    Raises:
        ArchitectureError: naming the position and what was expected there.
    """
    reader, names = Reader(text), tuple(ACTIVATIONS)
    if text.strip().startswith("Genotype"):
        return _read_genotype(text.strip(), count)
    steps = []
    for step in range(count):
        if step:
            reader.take("+")
        reader.take("|")
        name = names[reader.one_of(names, "an activation")]
        reader.take("~")
        steps.append((name, reader.number(tuple(range(step + 1)), f"a predecessor of step {step + 1}")))
        reader.take("|")
    reader.end()
    return steps


def _read_genotype(text: str, count: int) -> list[Connection]:
    """Walk the syntax tree; nothing is evaluated but literals."""
    values = genotype_arguments(text, "recurrent", "concat")
    states = list(range(1, 1 + count))
    concat = values["concat"]
    if ast.unparse(concat) != f"range(1, {1 + count})" and literal(concat) not in (states, tuple(states)):
        raise ArchitectureError(
            f"at position {concat.col_offset}: expected range(1, {1 + count}), as the output of this cell is the mean of "
            f"all its steps, found {ast.unparse(concat)}."
        )
    pairs = literal(values["recurrent"])
    if not isinstance(pairs, list | tuple) or len(pairs) != count:
        raise ArchitectureError(
            f"at position {values['recurrent'].col_offset}: expected a list of {count} pairs, "
            f"found {ast.unparse(values['recurrent'])}."
        )
    return [_read_pair(pair, step) for step, pair in enumerate(pairs)]


def _read_pair(pair: object, step: int) -> Connection:
    names = tuple(ACTIVATIONS)
    if isinstance(pair, list | tuple) and len(pair) == 2 and pair[0] in names and pair[1] in range(step + 1):
        return str(pair[0]), int(pair[1])
    raise ArchitectureError(
        f"pair {step} is {pair!r}; expected (activation, predecessor) with an activation of {', '.join(names)} and a "
        f"predecessor of {', '.join(map(str, range(step + 1)))}."
    )
