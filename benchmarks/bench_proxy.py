"""Methods on a proxy of NAS-Bench-201, judged by its table: true accuracy, regret by epoch, seconds, memory, ranking.

    python benchmarks/bench_proxy.py --data npz:c10.npz --truth nas_bench_201.npz --out proxy
    python benchmarks/bench_proxy.py --out proxy --table --plot proxy_regret

The proxy is a supernet small enough for one core, on images shrunk by averaging. Every search is a process of its own,
forked after the imports, so that its seconds and its peak memory are its own, and leaves OUT/METHOD-SEED.json; what is
there already is not repeated. The first seed of every method comes first, then the second. ``--table`` prints a Markdown
table of what is in OUT, ``--plot STEM`` draws the regret after each epoch into STEM.svg and STEM.png, and into STEM_2 what has no
place there; neither needs the data.

What is recorded after each epoch is the architecture with which the method would end then (every fifth epoch where that
takes the scores of many paths). Kendall's tau is that between the table and the accuracy of 100 fixed random paths of the
trained supernet on the data's test part, which no search sees: some methods keep no images to validate on.
"""

import argparse
import contextlib
import copy
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from proxy_report import figures, load, markdown
from scipy.stats import kendalltau
from torch.nn import functional as F
from variants import SAME, VARIANTS

from nas_augment import Policy
from nas_augment.fixed import Crop, Flip
from nas_search import Method, catalog, methods
from nas_search.data import Examples, ImageData
from nas_search.data_sources import load_data
from nas_search.evaluation import SupernetAccuracy
from nas_search.files import write_atomically
from nas_search.measure import peak_memory_mib, versions
from nas_search.roles import Event
from nas_search.searching import complete
from nas_search.selection import BestSampled
from nas_search.state import SearchState
from nas_spaces import Table, load_table, nas_bench_201

OBSERVATIONS = 4000
"""Validation images, the N of BaLeNAS: half of 8,000."""

# A factory takes the learning rate of the architecture parameters, which methods without any leave alone.
METHODS: dict[str, Callable[[float], Method]] = {
    "darts": lambda rate: methods.darts(1, architecture_learning_rate=rate),
    "darts order 2": lambda rate: methods.darts(2, architecture_learning_rate=rate),
    "snas": lambda rate: methods.snas(architecture_learning_rate=rate),
    # Twice the rate of the others, as in the papers; 2 parts of 4 channels, where the paper has 4 of 16.
    "pc_darts": lambda rate: methods.pc_darts(parts=2, architecture_learning_rate=2 * rate),
    "ista 1 stage": lambda rate: methods.ista(1, architecture_learning_rate=rate),
    "ista 2 stages": lambda rate: methods.ista(2, architecture_learning_rate=rate),
    "idarts": lambda rate: methods.idarts(architecture_learning_rate=rate),
    "amended_darts": lambda rate: methods.amended_darts(architecture_learning_rate=rate),
    "amended_darts difference": lambda rate: methods.amended_darts(
        central_difference=True, architecture_learning_rate=rate
    ),
    "allegro": lambda rate: methods.allegro(architecture_learning_rate=rate),
    "balenas": lambda rate: methods.balenas(1, observations=OBSERVATIONS, architecture_learning_rate=rate),
    "balenas order 2": lambda rate: methods.balenas(2, observations=OBSERVATIONS, architecture_learning_rate=rate),
    "drnas": lambda rate: methods.drnas(architecture_learning_rate=rate),
    "gdas": lambda rate: methods.gdas(architecture_learning_rate=rate),
    "random_nas": lambda rate: methods.random_nas(),
    "random_search": lambda rate: methods.random_search(),
    "nsas": lambda rate: methods.nsas(),
    "nsas g": lambda rate: methods.nsas(strategy="g"),
    "nsas lg": lambda rate: methods.nsas(strategy="lg"),
    "nsas random": lambda rate: methods.nsas(strategy="random"),
    "nsas previous": lambda rate: methods.nsas(strategy="previous"),
    "nsas previous+random": lambda rate: methods.nsas(strategy="previous+random"),
    "nsas archive": lambda rate: methods.nsas(strategy="archive"),
    # Number and weight of the constraints as in the thesis, which are not the defaults with this base.
    "nsas gdas": lambda rate: methods.nsas(base="gdas", constraints=2, beta=0.2, architecture_learning_rate=rate),
    "en2as": lambda rate: methods.en2as(),
    "en2as reward": lambda rate: methods.en2as(tau=0.5),
    # The autoencoder is made with the state, before the clocks start; see `nas_search.pretraining.cache_file`.
    "e2nas": lambda rate: methods.e2nas(architecture_learning_rate=rate),
    "e2nas_r": lambda rate: methods.e2nas_r(architecture_learning_rate=rate),
    "setn": lambda rate: methods.setn(architecture_learning_rate=rate),
    "enas": lambda rate: methods.enas(architecture_learning_rate=rate),
    # The customary flips and crops are the data's; what these learn is added, or takes their place, as each method has it.
    "daas": lambda rate: methods.daas(architecture_learning_rate=rate),
    "dha": lambda rate: methods.dha(architecture_learning_rate=rate),
    "sequential_dha": lambda rate: methods.sequential_dha(architecture_learning_rate=rate),
    "local_search": lambda rate: methods.local_search(),
    "regularized_evolution": lambda rate: methods.regularized_evolution(),
    "bayesian_optimization": lambda rate: methods.bayesian_optimization(),
    "successive_halving": lambda rate: methods.successive_halving(),
    "hyperband": lambda rate: methods.hyperband(),
    "random_search 20 candidates": lambda rate: methods.random_search(),
}

# The part of the epochs that a method gets, where it is not the whole: second derivatives are dear, and iDARTS takes four
# weight steps for each of the architecture. What trains one candidate an epoch gets 20, or as many as its rungs have.
SHARE = {
    "local_search": 2.0,
    "regularized_evolution": 2.0,
    "bayesian_optimization": 2.0,
    "random_search 20 candidates": 2.0,
    "successive_halving": 1.3,
    "hyperband": 2.2,
    "daas": 0.3,  # some twenty passes a step
    "darts order 2": 0.5,
    "amended_darts": 0.5,
    "amended_darts difference": 0.5,
    "allegro": 0.5,
    "balenas order 2": 0.5,
    "idarts": 0.3,
}

SHARE |= {name: variant.share for name, variant in VARIANTS.items()}

SETTINGS = ("data", "image", "channels", "cells", "batch_size", "epochs", "rate")
RANKED = 100


class Watch:
    """Records the architecture with which the search would end after each epoch, and how long it took to find out."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.cpu = self.wall = 0.0

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        state = event.state
        if event.kind != "epoch" or not isinstance(state, SearchState):
            return
        if isinstance(state.method.selector, BestSampled) and state.epoch % 5 and state.epoch < state.epochs:
            return  # scoring a hundred paths takes longer than the epoch
        cpu, wall = time.process_time(), time.perf_counter()
        # A selector may draw, and note scores: the search must not depend on whether somebody looks.
        kept = state.generator.get_state(), list(state.archive), copy.deepcopy(state.memory)
        architecture = state.method.selector(state)
        state.generator.set_state(kept[0])
        state.archive, state.memory = kept[1], kept[2]
        event.record["architecture"] = str(architecture)
        event.record["skip_share"] = str(architecture).count("skip_connect") / len(architecture.options)
        event.record["test"] = self.table.query(architecture)
        event.record["regret"] = self.table.regret(architecture)
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall


def shrink(data: ImageData, size: int) -> ImageData:
    """The same images at ``size x size``, each pixel the mean of those it covers."""

    def parts(examples: Examples) -> Examples:
        means = [F.adaptive_avg_pool2d(chunk.float(), size) for chunk in examples.images.split(1000)]
        return Examples(torch.cat(means).round().to(torch.uint8), examples.labels)

    policy = Policy((Crop(max(1, size // 8)), Flip()))
    return ImageData(f"{data.name}-{size}", parts(data.train), parts(data.test), policy)


def composed(name: str, rate: float) -> Method:
    """A method, or a variant of one with the settings that the bench gives all."""
    if name in METHODS:
        return METHODS[name](rate)
    variant, given = VARIANTS[name], {"architecture_learning_rate": rate, "observations": OBSERVATIONS}
    known = catalog.settings(variant.method)
    return variant.composed({key: value for key, value in given.items() if key in known})


def begin(method: Method, data: ImageData, epochs: int, seed: int, arguments: argparse.Namespace) -> SearchState:
    """A search at its beginning."""
    return SearchState(
        nas_bench_201(),
        data,
        method,
        epochs=epochs,
        batch_size=arguments.batch_size,
        seed=seed,
        device=torch.device("cpu"),
        channels=arguments.channels,
        cells=arguments.cells,
    )


def ranking(state: SearchState, table: Table) -> dict[str, Any]:
    """Kendall's tau between the table and the paths of the supernet, and their mean accuracy; nothing without a supernet."""
    if state.supernet is None:
        return {}
    state.valid_examples = state.data.test
    evaluate, generator = SupernetAccuracy(500), torch.Generator().manual_seed(0)
    drawn = [state.space.sample(generator) for _ in range(RANKED)]
    scores = [evaluate(architecture, state) for architecture in drawn]
    tau = float(kendalltau(scores, [table.query(architecture) for architecture in drawn]).statistic)
    return {"tau": tau if tau == tau else None, "path_accuracy": sum(scores) / RANKED}


def forget_peak() -> float | None:
    """Begin the peak of this process's memory anew, so that imports and the unpacking of images are not in it; what is held."""
    with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_mib(torch.device("cpu"))


def search(name: str, seed: int, data: ImageData, arguments: argparse.Namespace) -> dict[str, Any]:
    """One search from its beginning to its end, in this process."""
    table = load_table(arguments.truth)
    epochs = max(1, round(SHARE.get(name, 1) * arguments.epochs))
    state = begin(composed(name, arguments.rate), data, epochs, seed, arguments)
    start, watch = forget_peak(), Watch(table)
    cpu, wall = time.process_time(), time.perf_counter()
    result = complete(state, None, observers=[watch])
    cpu, wall = time.process_time() - cpu - watch.cpu, time.perf_counter() - wall - watch.wall
    return {
        "method": name,
        "settings": settings(arguments),
        "seed": seed,
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "peak_memory_mib": result.peak_memory_mib,
        "start_memory_mib": start,
        "architecture": str(result.architecture),
        "test": table.query(result.architecture),
        "valid": table.query(result.architecture, "valid"),
        "rank": table.rank(result.architecture),
        "regret": table.regret(result.architecture),
        **ranking(state, table),
        "history": result.history,
        "versions": versions(),
    }


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What must be equal for results to stand in one table."""
    return {name: getattr(arguments, name) for name in SETTINGS}


def run_all(names: list[str], arguments: argparse.Namespace) -> None:
    """Every search that is not in the folder yet, one process after the other."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # also what makes it safe to fork: there are no other threads
    source = load_data(arguments.data)
    assert isinstance(source, ImageData)
    data = shrink(source, arguments.image)
    begin(methods.darts(), data, 1, 0, arguments)  # torch imports much with its first optimiser: once, before the forks
    context = multiprocessing.get_context("fork")
    for seed in arguments.seeds:
        for name in names:
            file = arguments.out / f"{name.replace(' ', '_')}-{seed}.json"
            if file.exists():
                before = json.loads(file.read_text())["settings"]
                if before != settings(arguments):
                    sys.exit(f"{file} has the settings {before}, not {settings(arguments)}; choose another --out.")
                continue
            process = context.Process(target=search_into, args=(file, name, seed, data, arguments))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{name} with seed {seed} ended with exit status {process.exitcode}.")


def search_into(file: Path, name: str, seed: int, data: ImageData, arguments: argparse.Namespace) -> None:
    """Search, and write the record."""
    record = search(name, seed, data, arguments)
    write_atomically(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    print(f"{name} {seed}: test {record['test']:.2f}, {record['cpu_seconds']:.0f} s of CPU time", flush=True)


def listed(text: str) -> list[str]:
    """The names in a list; a comma with a space behind it is of a name."""
    return re.split(r",(?! )", text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--data", help="source of 32 x 32 images, such as npz:FILE; needed to search")
    parser.add_argument("--truth", help="table of NAS-Bench-201; needed to search")
    parser.add_argument(
        "--methods", help="names with commas between them, of METHODS or VARIANTS; all of METHODS by default"
    )
    parser.add_argument("--variants", action="store_true", help="all of VARIANTS instead that METHODS does not have")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image", type=int, default=16)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate of the architecture parameters")
    parser.add_argument("--table", action="store_true", help="print a Markdown table of the results")
    parser.add_argument("--plot", type=Path, metavar="STEM", help="draw the regret after each epoch")
    arguments = parser.parse_args()
    chosen = [name for name in VARIANTS if name not in SAME] if arguments.variants else list(METHODS)
    arguments.methods = listed(arguments.methods) if arguments.methods else chosen
    unknown = set(arguments.methods) - set(METHODS) - set(VARIANTS)
    if unknown:
        parser.error(f"unknown methods {', '.join(sorted(unknown))}; there are {', '.join((*METHODS, *VARIANTS))}")
    if not (arguments.table or arguments.plot or (arguments.data and arguments.truth)):
        parser.error("give --data and --truth to search, or --table or --plot to show what was found")
    return arguments


def main() -> None:
    arguments = parse()
    names = arguments.methods
    if arguments.data and arguments.truth:
        run_all(names, arguments)
    runs = load(arguments.out, names)
    if arguments.table:
        print(markdown(runs))
    if arguments.plot:
        figures(runs, arguments.plot)


if __name__ == "__main__":
    main()
