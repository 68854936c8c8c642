"""Hypergradients in bfloat16 beside those in float32, on digits: ``python bench_precision.py``.

After a few steps in float32 the same batches, noise and weights are differentiated in both; printed are the median over the batches
of the cosine between the two hypergradients of the architecture, and of the ratio of their lengths.
"""

import statistics

import torch

from nas_search import Method, methods
from nas_search.batches import Batch
from nas_search.computation import Computation
from nas_search.data_sources import load_data
from nas_search.objective import Objective
from nas_search.roles import HypergradientFactory
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

METHODS: dict[str, Method] = {
    "darts, first order": methods.darts(order=1),
    "gdas": methods.gdas(),
    "darts, second order": methods.darts(order=2),
    "darts, second order, central difference": methods.darts(order=2, central_difference=True),
    "idarts (T = 4, K = 2)": methods.idarts(),
    "amended_darts": methods.amended_darts(),
}
WARM, BATCHES = 20, 9


def gradient(state: SearchState, batch: Batch, precision: str) -> torch.Tensor:
    """The hypergradient of the architecture, flat; the draws are those of the state as it is."""
    state.computation = Computation(precision)
    with state.unchanged():
        estimator = state.method.hypergradient
        estimator = estimator.at(state) if isinstance(estimator, HypergradientFactory) else estimator
        inner = dict(state.require_supernet().named_parameters())
        found = estimator(Objective(state, batch).problem, inner, state.outer_parameters())
    return torch.cat([value.flatten() for name, value in found.items() if name.startswith("relaxation.")])


def main() -> None:
    torch.set_num_threads(1)
    print("| hypergradient | cosine | length in bfloat16 / in float32 |")
    print("|---|---|---|")
    for name, method in METHODS.items():
        state = SearchState(
            nas_bench_201(), load_data("digits"), method, epochs=8, batch_size=64, seed=0, device=torch.device("cpu"),
            channels=16, cells=1,
        )  # fmt: skip
        for state.step in range(WARM):
            state.advance()
        cosines, ratios = [], []
        for position in range(WARM, WARM + BATCHES):
            batch = Batch(state.train, state.valid, position)
            half, full = (gradient(state, batch, precision) for precision in ("bfloat16", "float32"))
            cosines.append(float(torch.cosine_similarity(half, full, dim=0)))
            ratios.append(float(half.norm() / full.norm()))
        print(f"| {name} | {statistics.median(cosines):.4f} | {statistics.median(ratios):.3f} |", flush=True)


if __name__ == "__main__":
    main()
