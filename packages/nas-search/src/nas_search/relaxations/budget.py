"""The entries that a sparse code keeps when what they cost is limited."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from nas_search.errors import ConfigError

__all__ = ["Budget", "Entry", "keep_within"]


class Budget(NamedTuple):
    """What may be spent.

    Attributes:
        name: of what is counted, for messages.
        costs: ``(choices, options)``.
        most: that may be spent on all options that are taken, above 0.
    """

    name: str
    costs: Tensor
    most: float


class Entry(NamedTuple):
    """A candidate of a node.

    Attributes:
        row: its edge.
        option: its operation there.
        size: how much it is wanted.
    """

    row: int
    option: int
    size: float


def keep_within(
    entries: Sequence[Sequence[Entry]], kept: Sequence[Sequence[int]], frozen: Sequence[bool], budgets: Sequence[Budget]
) -> list[list[int]]:
    """Exchange entries until no budget is exceeded: a projection of what is kept, one exchange at a time.

    ``sum_i max(0, c_i / C_i - 1)`` falls with every exchange, and each time that one is taken which gives up least size for
    its fall. With one budget the cheapest choice is reached if need be, so that a solution is found if there is one.

    Args:
        entries: of each node.
        kept: which of them, by index, each of another row.
        frozen: nodes whose entries are exchanged only if exchanging those of the others is not enough.
        budgets: what may be spent.

    Returns:
        What is kept, as many entries of each node as before.

    Raises:
        ConfigError: no exchange lowers what is still exceeded.

    Example:
        >>> import torch
        >>> node = [Entry(0, 0, 3.0), Entry(0, 1, 2.0)]
        >>> keep_within([node], [[0]], [False], [Budget("parameters", torch.tensor([[5.0, 1.0]]), 4.0)])
        [[1]]
    """
    chosen = [list(each) for each in kept]
    spent = [sum(_cost(budget, entries[n][i]) for n, each in enumerate(chosen) for i in each) for budget in budgets]
    for movable in (frozen, [False] * len(chosen)):
        while _excess(spent, budgets) > 0:
            found = _best(entries, chosen, movable, budgets, spent)
            if found is None:
                break
            node, old, new = found
            chosen[node] = [new if index == old else index for index in chosen[node]]
            for at, budget in enumerate(budgets):
                spent[at] += _cost(budget, entries[node][new]) - _cost(budget, entries[node][old])
    if _excess(spent, budgets) > 0:
        over = [f"{budget.name} {total:g} of {budget.most:g}" for budget, total in zip(budgets, spent, strict=True)]
        raise ConfigError(
            f"no architecture was found within the limits of the resources; nearest to them the operations cost "
            f"{', '.join(over)}: raise the limits."
        )
    return chosen


def _best(
    entries: Sequence[Sequence[Entry]],
    kept: Sequence[Sequence[int]],
    frozen: Sequence[bool],
    budgets: Sequence[Budget],
    spent: Sequence[float],
) -> tuple[int, int, int] | None:
    """The node, the index that goes and the index that comes."""
    before, best, least = _excess(spent, budgets), None, float("inf")
    for node, old, new in _exchanges(entries, kept, frozen):
        gone, come = entries[node][old], entries[node][new]
        # The differences first: added one after the other, equal costs might seem to fall, and be exchanged for ever.
        after = [s + (_cost(b, come) - _cost(b, gone)) for s, b in zip(spent, budgets, strict=True)]
        fall = before - _excess(after, budgets)
        if fall > 0 and (gone.size - come.size) / fall < least:
            best, least = (node, old, new), (gone.size - come.size) / fall
    return best


def _exchanges(
    entries: Sequence[Sequence[Entry]], kept: Sequence[Sequence[int]], frozen: Sequence[bool]
) -> Iterator[tuple[int, int, int]]:
    for node, each in enumerate(kept):
        if frozen[node]:
            continue
        for old in each:
            others = {entries[node][index].row for index in each if index != old}
            yield from (
                (node, old, new)
                for new, entry in enumerate(entries[node])
                if new not in each and entry.row not in others
            )


def _cost(budget: Budget, entry: Entry) -> float:
    return float(budget.costs[entry.row, entry.option])


def _excess(spent: Sequence[float], budgets: Sequence[Budget]) -> float:
    return sum(max(0.0, total / budget.most - 1) for total, budget in zip(spent, budgets, strict=True))
