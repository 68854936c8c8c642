"""How far a central difference along a vector is from the exact second derivative, by the length of its perturbation.

    python benchmarks/bench_central_difference.py [--data digits] [--channels 8] [--steps 10]

The NAS-Bench-201 supernet after a few weight steps, in float64, so that rounding plays no part. The
figures are relative distances between the hypergradients of one outer step.
"""

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from nas_hypergrad import Implicit, Products, amended, double_backward, finite_difference
from nas_search import methods
from nas_search.batches import Batch
from nas_search.data_sources import load_data
from nas_search.estimators import NeumannSeries, OneStep
from nas_search.roles import Hypergradient, HypergradientFactory
from nas_search.state import SearchState
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import nas_bench_201

RADII = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="weight steps before the outer step")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| length | " + " | ".join(name for name in estimators(double_backward())) + " |")
    print("|---" * 4 + "|")
    exact = {name: step(part, arguments) for name, part in estimators(double_backward()).items()}
    for radius in RADII:
        row = []
        for name, part in estimators(finite_difference(radius)).items():
            distance = (step(part, arguments) - exact[name]).norm() / exact[name].norm()
            row.append(f"{float(distance):.1e}")
        print(f"| {radius:g} | " + " | ".join(row) + " |", flush=True)


def estimators(products: Products) -> dict[str, Hypergradient | HypergradientFactory]:
    return {
        "one step (DARTS)": OneStep(products),
        "Neumann series, K = 2 (iDARTS)": NeumannSeries(2, products),
        "amended, eta = 0.1": Implicit(amended(0.1), products=products),
    }


def step(hypergradient: Hypergradient | HypergradientFactory, arguments: argparse.Namespace) -> Tensor:
    method = replace(methods.darts(2), hypergradient=hypergradient)
    settings = {"epochs": 10, "batch_size": 64, "seed": 0, "channels": arguments.channels, "cells": 1}
    state = SearchState(nas_bench_201(), load_data(arguments.data), method, device=torch.device("cpu"), **settings)
    for position in range(arguments.steps):
        WeightStep()(state, Batch(state.train, state.valid, position))
    assert state.relaxation is not None
    assert state.weight_optimizer is not None
    for module in (state.require_supernet(), state.normalize, state.relaxation):
        module.double()
    for held in state.weight_optimizer.state.values():
        held["momentum_buffer"] = held["momentum_buffer"].double()
    OuterStep()(state, Batch(state.train, state.valid, arguments.steps))
    gradient = state.outer_parameters()["relaxation.logits"].grad
    assert gradient is not None
    return gradient


if __name__ == "__main__":
    main()
