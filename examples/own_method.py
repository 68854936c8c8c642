"""A method of your own from parts, with a regulariser and an observer of your own, beside DARTS; digits, seconds.

docs/own_method.md explains it.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from nas_hypergrad import Variables
from nas_search import methods, search
from nas_search.data_sources import digits
from nas_search.roles import Event
from nas_search.testing import check_method
from nas_spaces import nas_bench_201

SKIP = 1  # the column of `skip_connect` in NAS-Bench-201


@dataclass(frozen=True)
class FewSkips:
    """Weight on skip connections costs something.

    Args:
        coefficient: how much.
    """

    coefficient: float = 1.0

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """The mean weight of skip connections, times the coefficient."""
        return self.coefficient * weights[:, SKIP].mean()


def weight_of_skips(event: Event) -> None:
    """Kept in the record of every epoch."""
    if event.kind == "epoch" and event.run == "search":
        event.record["weight_of_skips"] = float(event.state.relaxation.probabilities()[:, SKIP].mean())


def main() -> None:
    """Search with and without, and check what every method has to keep."""
    plain = methods.darts(architecture_learning_rate=0.03)
    wary = replace(plain, name="wary_darts", regularizers=(FewSkips(),))
    check_method(wary)
    sizes = {"epochs": 5, "batch_size": 64, "channels": 4, "cells": 1}
    for method in (plain, wary):
        result = search(nas_bench_201(), digits(), method, **sizes, observers=(weight_of_skips,))
        print(f"{method.name}: weight of skips {result.history[-1]['weight_of_skips']:.3f}, {result.architecture}")


if __name__ == "__main__":
    main()
