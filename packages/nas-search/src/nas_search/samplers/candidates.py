"""What a model-based sampler chooses from: random architectures, and those near the best so far."""

from collections.abc import Sequence

import torch

from nas_spaces import Architecture, SearchSpace

__all__ = ["candidates"]

_PARENTS = 10


def candidates(
    space: SearchSpace, scored: Sequence[tuple[Architecture, float]], size: int, generator: torch.Generator
) -> list[Architecture]:
    """Up to `size` architectures that have no score yet, none twice.

    The neighbours of the best one, mutations of the ten best, and for the second half uniformly random architectures.
    They are less than `size` only where the space runs out; a space without any left gives nothing.

    Args:
        space: where they come from.
        scored: what has been evaluated, with its score; larger is better.
        size: how many are wanted.
        generator: of the draws.
    """
    known = {architecture for architecture, _ in scored}
    best = list(dict.fromkeys(architecture for architecture, _ in sorted(scored, key=lambda entry: -entry[1])))
    best = best[:_PARENTS]
    found: dict[Architecture, None] = {}
    near = list(space.neighbors(best[0])) if best else []
    for place in torch.randperm(len(near), generator=generator).tolist():
        if len(found) < size // 4 and near[place] not in known:
            found[near[place]] = None
    # Each draw may hit what is known already: a fixed number of tries ends also where nothing is left.
    for turn in range(size):
        if best and len(found) < size // 2:
            parent = best[turn % len(best)]
            for _ in range(1 + turn % 3):
                parent = space.mutate(parent, generator)
            if parent not in known:
                found[parent] = None
    for _ in range(4 * size):
        if len(found) >= size:
            break
        drawn = space.sample(generator)
        if drawn not in known:
            found[drawn] = None
    return list(found)
