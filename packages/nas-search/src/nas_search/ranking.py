"""What else a search might have ended with, best first."""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from nas_spaces import Architecture, RowwiseSpace, SearchSpace

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Ranking", "by_probability", "by_score", "most_probable"]

_PROBABLE = 20


@dataclass(frozen=True)
class Ranking:
    """Architectures in order, and what orders them.

    Args:
        entries: architectures of the space that was searched, none twice, each with a finite score, the best one first.
        of: what the scores are; where there are no entries, why.
    """

    entries: tuple[tuple[Architecture, float], ...]
    of: str


def by_score(space: SearchSpace, scored: Iterable[tuple[str, float]], of: str) -> Ranking:
    """Rank by score, the larger the better; the first of equals is first.

    Args:
        space: of the architectures.
        scored: texts and scores in the order in which they were made. A text that comes again keeps its best score, as
            `nas_search.selection.BestEvaluated` has it; a score that is not finite is left out.
        of: see `Ranking`.
    """
    best: dict[str, float] = {}
    for text, score in scored:
        if math.isfinite(score):
            best[text] = max(score, best.get(text, score))
    ordered = sorted(best.items(), key=lambda entry: -entry[1])
    return Ranking(tuple((space.parse(text), score) for text, score in ordered), of)


def by_probability(state: "SearchState") -> Ranking:
    """Rank by the probability under the relaxation, where that is one: ``P(a) = prod_r p[r, a_r] / sum_o p[r, o]``.

    It is where every row of the space takes one option whatever the others take, and the relaxation has independent rows;
    the most probable architecture is then the one that is derived. Anywhere else there is no ranking, and the reason is said.
    """
    relaxation, space = state.relaxation, state.space
    if relaxation is None:
        return Ranking(
            (), f"method {state.method.name} has no relaxation, which alone could say how probable others are"
        )
    if not relaxation.independent:
        name = type(relaxation).__name__
        return Ranking(
            (), f"{name} has no independent rows, of which the probability of an architecture were the product"
        )
    if not isinstance(space, RowwiseSpace):
        return Ranking(
            (),
            f"the rule by which {space.name} derives an architecture ends with one, and gives the others no probability",
        )
    ranked = most_probable(relaxation.probabilities(), space.choices.mask, _PROBABLE)
    entries = tuple((space.architecture(options), probability) for options, probability in ranked)
    return Ranking(entries, f"probability under {type(relaxation).__name__}")


def most_probable(weights: Tensor, mask: Tensor, count: int) -> list[tuple[tuple[int, ...], float]]:
    """The `count` most probable choices of one option a row, by falling probability, without those of probability 0.

    The next best differs from one that was found in one row, by the next smaller option there, so that a heap finds them
    without listing all.

    Args:
        weights: ``(choices, options)``, not negative; each row is taken over its sum.
        mask: which entries exist, ``(choices, options)`` bool.
        count: how many.

    Example:
        >>> import torch
        >>> weights = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
        >>> for options, probability in most_probable(weights, weights > 0, 3):
        ...     print(options, round(probability, 3))
        (0, 0) 0.375
        (0, 1) 0.375
        (1, 0) 0.125
    """
    table = weights.detach().cpu().double() * mask
    logs = (table / table.sum(dim=1, keepdim=True)).log()
    # Stable: of equal options the first comes first, as discretize() takes it.
    order = logs.sort(dim=1, descending=True, stable=True)
    sizes, options = order.values.tolist(), order.indices.tolist()
    # Costs are log-ratios to the best one, which are exactly 0 for itself.
    cost = [[row[0] - size for size in row] for row in sizes]
    start = (0,) * len(cost)
    heap, seen = [(0.0, start)], {start}
    found: list[tuple[tuple[int, ...], float]] = []
    highest = math.fsum(row[0] for row in sizes)
    while heap and len(found) < count:
        behind, places = heapq.heappop(heap)
        chosen = tuple(options[row][place] for row, place in enumerate(places))
        found.append((chosen, math.exp(highest - behind)))
        for row, place in enumerate(places):
            if place + 1 == len(cost[row]) or not math.isfinite(cost[row][place + 1]):
                continue
            after = (*places[:row], place + 1, *places[row + 1 :])
            if after not in seen:
                seen.add(after)
                heapq.heappush(heap, (math.fsum(cost[r][at] for r, at in enumerate(after)), after))
    return found
