"""What one outer step of each method costs, in units of one weight step, beside the passes that its equation needs.

    python benchmarks/bench_methods.py [--rounds 15] [--methods darts,gdas] [--channels 16] [--cells 1] [--batch-size 64]
    python benchmarks/bench_methods.py --memory

NAS-Bench-201, one thread. Rounds are interleaved: each times, for every method, one weight step, the passes that its equation
needs and one outer step, with the same draw of the relaxation, in CPU time. Ratios are taken within the round; the tables have
medians, and quartiles over the rounds. A pass is timed bare: the supernet's loss and `torch.autograd.grad`, on images that are
ready, with nothing of nas_search or nas_hypergrad around it.

With --memory instead: what a forward pass keeps for the backward pass, on whole and on partial channels (PC-DARTS).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from nas_search import Method, methods
from nas_search.batches import Batch
from nas_search.data_sources import fake
from nas_search.objective import cross_entropy
from nas_search.roles import ChoiceWeights, Update
from nas_search.state import SearchState
from nas_search.updates import JointStep, OuterStep, PosteriorStep, WeightStep
from nas_spaces import darts, nas_bench_201
from nas_spaces.cell_space import CellSpace
from nas_spaces.nas_bench_201 import NasBench201

PASSES = {
    "F": "forward alone, without a graph",
    "W": "forward and backward for the weights",
    "A": "forward and backward for the architecture",
    "V": "forward and backward for both, as of the validation loss",
    "G": "forward and backward for the weights, with the graph of the gradient, which all products share",
    "H": "Hessian product through this graph",
    "M": "mixed product through this graph",
}


class Case(NamedTuple):
    """A method, what its outer step is, and the passes of its equation: how many of each."""

    make: Callable[[], Method]
    step: Update
    passes: dict[str, int]


METHODS: dict[str, Case] = {
    "darts(1)": Case(lambda: methods.darts(1), OuterStep(), {"A": 1}),
    "darts(2)": Case(lambda: methods.darts(2), OuterStep(), {"V": 1, "G": 1, "M": 1}),
    "darts(2), difference": Case(
        lambda: methods.darts(2, central_difference=True), OuterStep(), {"V": 1, "W": 1, "A": 2}
    ),
    "snas()": Case(methods.snas, JointStep(), {"V": 1}),
    "pc_darts()": Case(methods.pc_darts, OuterStep(), {"A": 1}),
    "ista(1)": Case(lambda: methods.ista(1), JointStep(), {"V": 1}),
    "ista(2)": Case(lambda: methods.ista(2), OuterStep(), {"A": 1}),
    "idarts(terms=0)": Case(lambda: methods.idarts(terms=0), OuterStep(), {"V": 1, "G": 1, "M": 1}),
    "idarts(terms=2)": Case(lambda: methods.idarts(terms=2), OuterStep(), {"V": 1, "G": 1, "H": 2, "M": 1}),
    "idarts(terms=2), difference": Case(
        lambda: methods.idarts(terms=2, central_difference=True), OuterStep(), {"V": 1, "W": 4, "A": 2}
    ),
    "amended_darts()": Case(methods.amended_darts, OuterStep(), {"V": 1, "G": 1, "H": 1, "M": 1}),
    "amended_darts(), difference": Case(
        lambda: methods.amended_darts(central_difference=True), OuterStep(), {"V": 1, "W": 2, "A": 2}
    ),
    "allegro()": Case(methods.allegro, OuterStep(), {"V": 2, "G": 1, "M": 1}),
    "allegro(), difference": Case(
        lambda: methods.allegro(central_difference=True), OuterStep(), {"V": 2, "W": 1, "A": 2}
    ),
    "balenas(1)": Case(lambda: methods.balenas(1), PosteriorStep(), {"A": 1}),
    "balenas(2)": Case(lambda: methods.balenas(2), PosteriorStep(), {"V": 1, "G": 1, "M": 1}),
    "drnas()": Case(methods.drnas, OuterStep(), {"A": 1}),
    "gdas()": Case(methods.gdas, OuterStep(), {"A": 1}),
}
REFERENCE = "amended_darts()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--methods", default="", help="only those whose names begin with one of these, with commas between"
    )
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image", type=int, default=16)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        memory(arguments)
        return
    wanted = tuple(arguments.methods.split(","))
    cases = {name: case for name, case in METHODS.items() if name.startswith(wanted) or name == REFERENCE}
    states = {name: make(case.make(), arguments) for name, case in cases.items()}
    steps: dict[str, list[float]] = {name: [] for name in cases}
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    prices: list[dict[str, float]] = []
    units: list[float] = []
    for number in range(arguments.rounds + 1):
        for name, state in states.items():
            passes = PASSES if name == REFERENCE else cases[name].passes
            unit = timed(state, WeightStep(), number)
            price = priced(state, number, passes)
            taken = timed(state, cases[name].step, number)
            if not number:  # the first round warms up
                continue
            steps[name].append(taken / unit)
            ratios[name].append(taken / sum(count * price[kind] for kind, count in cases[name].passes.items()))
            if name == REFERENCE:
                units.append(unit)
                prices.append({kind: seconds / unit for kind, seconds in price.items()})
    print(f"One weight step on the whole supernet: {1000 * statistics.median(units):.0f} ms of CPU time.\n")
    print("| pass | | in weight steps |\n|---|---|---|")
    for kind, meaning in PASSES.items():
        print(f"| {kind} | {meaning} | {statistics.median(each[kind] for each in prices):.2f} |")
    print("\n| outer step of | passes of its equation | in its weight steps | quartiles | over the passes |")
    print("|---|---|---|---|---|")
    for name, values in steps.items():
        low, middle, high = statistics.quantiles(values, n=4)
        said = " + ".join(f"{count} {kind}" if count > 1 else kind for kind, count in cases[name].passes.items())
        print(f"| `{name}` | {said} | {middle:.2f} | {low:.2f}-{high:.2f} | {statistics.median(ratios[name]):.2f} |")


def make(method: Method, arguments: argparse.Namespace) -> SearchState:
    data = fake(f"3x{arguments.image}x{arguments.image}", count=20 * arguments.batch_size, classes=10)
    state = SearchState(
        nas_bench_201(),
        data,
        method,
        epochs=10,
        batch_size=arguments.batch_size,
        seed=0,
        device=torch.device("cpu"),
        channels=arguments.channels,
        cells=arguments.cells,
    )
    WeightStep()(state, Batch(state.train, state.train, 0))  # so that there are momentum buffers
    return state


def timed(state: SearchState, update: Update, position: int) -> float:
    """CPU seconds of an update, with the draws of the round."""
    # A search in one level has no validation images, and none of its updates asks for one.
    batch = Batch(state.train, state.valid if len(state.valid_examples.labels) else state.train, position)
    _ = batch.train, batch.valid  # loading is no part of the step
    state.generator.manual_seed(position)  # the relaxation's noise is what is drawn first
    begin = time.process_time()
    update(state, batch)
    return time.process_time() - begin


def priced(state: SearchState, position: int, passes: "dict[str, str] | dict[str, int]") -> dict[str, float]:
    """CPU seconds of bare passes over a train batch, with the draws of the round."""
    relaxation, supernet = state.relaxation, state.require_supernet()
    assert relaxation is not None
    images, labels = state.train[position]
    images = state.normalize(images)
    noise = relaxation.noise(torch.Generator().manual_seed(position))
    weights = {name: value.detach().clone().requires_grad_() for name, value in supernet.named_parameters()}
    constants = {name: value.detach() for name, value in weights.items()}
    inner, outer = list(weights.values()), list(relaxation.parameters())

    def loss(values: dict[str, Tensor]) -> Tensor:
        choice: ChoiceWeights = relaxation(noise, state.progress)
        return cross_entropy(functional_call(supernet, values, (images, *choice)), labels)

    def grad(value: Tensor, over: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, over, create_graph=create_graph, allow_unused=True)

    @torch.no_grad()
    def forward() -> None:
        loss(constants)

    price: dict[str, float] = {}
    bare: dict[str, Callable[[], object]] = {
        "F": forward,
        "W": lambda: grad(loss(weights), inner),
        "A": lambda: grad(loss(constants), outer),
        "V": lambda: grad(loss(weights), [*inner, *outer]),
    }
    for kind, run in bare.items():
        if kind in passes:
            begin = time.process_time()
            run()
            price[kind] = time.process_time() - begin
    if "G" in passes:
        begin = time.process_time()
        gradient: tuple[Tensor | None, ...] = grad(loss(weights), inner, create_graph=True)
        price["G"] = time.process_time() - begin
        curved = [value for value in gradient if value is not None and value.requires_grad]
        vectors = [value.detach() for value in curved]
        over: dict[str, Sequence[Tensor]] = {"H": inner, "M": outer}
        for kind in over.keys() & passes.keys():
            begin = time.process_time()
            torch.autograd.grad(curved, over[kind], vectors, retain_graph=True, allow_unused=True)
            price[kind] = time.process_time() - begin
    return price


def memory(arguments: argparse.Namespace) -> None:
    """Print the MiB that whole and partial channels keep for the backward pass."""
    print("| space | cells | whole channels, MiB | K = 2 | K = 4 | K = 8 |\n|---|---|---|---|---|---|")
    for space, cells in ((nas_bench_201(), arguments.cells), (darts(), 3)):
        whole, *partial = (kept(space, cells, parts, arguments) / 2**20 for parts in (1, 2, 4, 8))
        less = " | ".join(f"{whole / each:.2f} times less" for each in partial)
        print(f"| {space.name} | {cells} | {whole:.1f} | {less} |")


def kept(space: NasBench201 | CellSpace, cells: int, parts: int, arguments: argparse.Namespace) -> int:
    """Bytes that a forward pass keeps besides the weights; a storage counts once and wholly, however small a view is kept."""
    supernet = space.supernet(classes=10, channels=arguments.channels, cells=cells, parts=parts)
    supernet.to(memory_format=torch.channels_last)
    weights = (space.choices.mask / space.choices.mask.sum(dim=1, keepdim=True)).requires_grad_()
    own = {value.untyped_storage().data_ptr() for value in supernet.parameters()}
    found: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        found.setdefault(value.untyped_storage().data_ptr(), value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        logits = supernet(torch.randn(arguments.batch_size, 3, arguments.image, arguments.image), weights)
    assert logits.requires_grad  # and so the graph is alive
    return sum(value.untyped_storage().nbytes() for pointer, value in found.items() if pointer not in own)


if __name__ == "__main__":
    main()
