"""What is kept within budgets: against enumeration, and what is refused."""

from itertools import product

import pytest
import torch

from nas_search import ConfigError
from nas_search.relaxations.budget import Budget, Entry, keep_within

NODES, ROWS, OPTIONS = 3, 2, 3


def problem(seed: int) -> tuple[list[list[Entry]], list[list[int]], torch.Tensor]:
    """Three nodes of two edges with three operations each; every node keeps its largest entry."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(NODES, ROWS * OPTIONS, generator=generator)
    costs = torch.rand(NODES * ROWS, OPTIONS, generator=generator)
    entries = [
        [Entry(ROWS * node + i // OPTIONS, i % OPTIONS, float(size[node, i])) for i in range(ROWS * OPTIONS)]
        for node in range(NODES)
    ]
    return entries, [[int(each.argmax())] for each in size], costs


def cost(entries: list[list[Entry]], kept: list[list[int]], costs: torch.Tensor) -> float:
    return sum(float(costs[entries[n][i].row, entries[n][i].option]) for n, each in enumerate(kept) for i in each)


def test_what_is_within_the_budgets_stays() -> None:
    entries, kept, costs = problem(0)
    assert keep_within(entries, kept, [False] * NODES, [Budget("cost", costs, 100.0)]) == kept
    assert keep_within(entries, kept, [False] * NODES, []) == kept


@pytest.mark.parametrize("seed", range(20))
def test_a_solution_is_found_whenever_there_is_one_and_is_nearly_the_largest(seed: int) -> None:
    entries, kept, costs = problem(seed)
    choices = [[[i] for i in each] for each in product(range(ROWS * OPTIONS), repeat=NODES)]
    cheapest = min(cost(entries, choice, costs) for choice in choices)
    for most in (cheapest, cheapest + 0.1, cheapest + 0.5):
        budget = Budget("cost", costs, most + 1e-6)
        found = keep_within(entries, kept, [False] * NODES, [budget])
        assert cost(entries, found, costs) <= most + 1e-6
        feasible = [c for c in choices if cost(entries, c, costs) <= most + 1e-6]
        best = max(sum(entries[n][i].size for n, (i,) in enumerate(c)) for c in feasible)
        assert sum(entries[n][i].size for n, (i,) in enumerate(found)) > 0.6 * best


def test_several_budgets_hold_together() -> None:
    entries, kept, costs = problem(3)
    budgets = [Budget("one", costs, 1.0), Budget("other", costs.flip(1), 1.5)]
    found = keep_within(entries, kept, [False] * NODES, budgets)
    assert all(cost(entries, found, budget.costs) <= budget.most for budget in budgets)


def test_two_entries_of_a_node_stay_on_different_edges() -> None:
    entries, _, costs = problem(4)
    kept = [[0, OPTIONS]] * NODES
    spent = cost(entries, kept, costs)
    found = keep_within(entries, kept, [False] * NODES, [Budget("cost", costs, 0.6 * spent)])
    assert found != kept
    for each, candidates in zip(found, entries, strict=True):
        assert len({candidates[index].row for index in each}) == 2


def test_frozen_nodes_are_exchanged_last() -> None:
    entries, kept, costs = problem(5)
    spent = cost(entries, kept, costs)
    found = keep_within(entries, kept, [True, False, False], [Budget("cost", costs, 0.9 * spent)])
    assert found[0] == kept[0]
    cheapest = 3 * 1e-6 + sum(min(float(costs[e.row, e.option]) for e in each) for each in entries)
    found = keep_within(entries, kept, [True, True, True], [Budget("cost", costs, cheapest)])
    assert cost(entries, found, costs) <= cheapest


def test_what_cannot_be_met_is_refused() -> None:
    entries, kept, costs = problem(6)
    with pytest.raises(ConfigError, match="no architecture was found within the limits .* cost .* of 0.001: raise"):
        keep_within(entries, kept, [False] * NODES, [Budget("cost", costs, 0.001)])


def test_equal_costs_are_not_exchanged_for_ever() -> None:
    """Rounding: ``0.5 + 0.2 - 0.2`` is below 0.5, as if an exchange of equals saved something."""
    assert 0.5 + 0.2 - 0.2 < 0.5
    costs = torch.tensor([[0.3, 0.2, 0.2]], dtype=torch.float64)
    entries = [[Entry(0, 0, 1.0)], [Entry(0, 1, 1.0), Entry(0, 2, 0.5)]]
    with pytest.raises(ConfigError, match="no architecture was found"):
        keep_within(entries, [[0], [0]], [False] * 2, [Budget("seconds", costs, 0.25)])
