"""Hypergradients beside torchopt and betty: time in units of one gradient, memory, and accuracy.

Ours and the peers' calls are interleaved within each round; a cell is the median over rounds of CPU time divided by
that round's plain gradient. Peers that are not installed are left out and named.

    python benchmarks/bench_hypergrad.py cnn small memory differences accuracy --json hypergrad.json
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    Hypergradient,
    Implicit,
    Unrolled,
    Variables,
    amended,
    call_module,
    chebyshev,
    conjugate_gradient,
    finite_difference,
    identity,
    largest_eigenvalue,
    module_variables,
    neumann,
    nystrom,
    sgd,
)

STEP = 1e-3


class Workload(NamedTuple):
    """A bilevel problem at a point."""

    problem: BilevelProblem
    inner: Variables
    outer: Variables


def cnn() -> Workload:
    """About 100,000 parameters with batch norm, one weight for each of 1,000 training examples, batches of 64."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = [3, 32, 64, 112]
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=1 + (a > 3), padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in itertools.pairwise(widths)
        ]
        model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(widths[-1] * 16, 10))
    x, v = (torch.randn(64, 3, 32, 32, generator=generator) for _ in range(2))
    y, z = (torch.randint(10, (64,), generator=generator) for _ in range(2))

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        losses = F.cross_entropy(call_module(model, w, x), y, reduction="none")
        return (losses * a["weight"][:64].sigmoid()).mean()

    problem = BilevelProblem(inner_loss, lambda w, a: F.cross_entropy(call_module(model, w, v), z))
    return Workload(problem, module_variables(model), {"weight": torch.zeros(1000)})


def small() -> Workload:
    """A two-layer network on 512 examples: about 1 ms a gradient."""
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(512, 64, generator=generator) for _ in range(2))
    y, z = (torch.randint(10, (512,), generator=generator) for _ in range(2))
    inner = {
        "0.weight": torch.randn(128, 64, generator=generator) / 8,
        "0.bias": torch.zeros(128),
        "1.weight": torch.randn(10, 128, generator=generator) / 11,
        "1.bias": torch.zeros(10),
    }

    def logits(w: Variables, images: Tensor) -> Tensor:
        return F.linear(F.linear(images, w["0.weight"], w["0.bias"]).tanh(), w["1.weight"], w["1.bias"])

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        return (F.cross_entropy(logits(w, x), y, reduction="none") * a["weight"].sigmoid()).mean()

    problem = BilevelProblem(inner_loss, lambda w, a: F.cross_entropy(logits(w, v), z))
    return Workload(problem, inner, {"weight": torch.zeros(512)})


def _leaves(variables: Variables) -> dict[str, Tensor]:
    return {name: value.detach().requires_grad_() for name, value in variables.items()}


def gradient(work: Workload) -> Callable[[], object]:
    """One plain gradient of the training loss."""
    inner, outer = _leaves(work.inner), dict(work.outer)
    return lambda: torch.autograd.grad(work.problem.inner_loss(inner, outer), list(inner.values()))


def plain_neumann(work: Workload, terms: int) -> Callable[[], object]:
    """Straightforward torch code with one kept graph: the reference for our own overhead."""

    def call() -> object:
        inner, outer = _leaves(work.inner), _leaves(work.outer)
        w, a = list(inner.values()), list(outer.values())
        vector = torch.autograd.grad(work.problem.outer_loss(inner, outer), w)
        slope = torch.autograd.grad(work.problem.inner_loss(inner, outer), w, create_graph=True)
        total = list(vector)
        for _ in range(terms):
            bent = torch.autograd.grad(slope, w, vector, retain_graph=True)
            vector = tuple(v - STEP * h for v, h in zip(vector, bent, strict=True))
            total = [t + v for t, v in zip(total, vector, strict=True)]
        return torch.autograd.grad(slope, a, [-STEP * t for t in total])

    return call


def products_alone(work: Workload, terms: int) -> Callable[[], object]:
    """2 gradients and K + 1 products measured alone, on a graph that is already there: the bound."""
    inner, outer = _leaves(work.inner), _leaves(work.outer)
    w, a = list(inner.values()), list(outer.values())
    slope = torch.autograd.grad(work.problem.inner_loss(inner, outer), w, create_graph=True)
    vector = [s.detach() for s in slope]
    plain = gradient(work)

    def call() -> object:
        plain(), plain()
        for _ in range(terms):
            torch.autograd.grad(slope, w, vector, retain_graph=True)
        return torch.autograd.grad(slope, a, vector, retain_graph=True)

    return call


def betty_neumann(work: Workload, terms: int) -> Callable[[], object]:
    """Betty's `neumann` itself, without its engine, which would only add to the time."""
    from betty.hypergradient.neumann import neumann as peer

    def call() -> object:
        inner, outer = _leaves(work.inner), _leaves(work.outer)
        vector = torch.autograd.grad(work.problem.outer_loss(inner, outer), list(inner.values()))
        current = SimpleNamespace(
            paths=[],
            cur_batch=None,
            config=SimpleNamespace(neumann_iterations=terms, neumann_alpha=STEP),
            training_step_exec=lambda _: work.problem.inner_loss(inner, outer),
            trainable_parameters=lambda: list(inner.values()),
        )
        above = SimpleNamespace(trainable_parameters=lambda: list(outer.values()))
        return peer(vector, current, above, sync=False)

    return call


def torchopt_implicit(work: Workload, solver: str, terms: int) -> Callable[[], object]:
    """Torchopt's `custom_root` with its Neumann series or its conjugate gradient."""
    import torchopt

    names, outer_names = list(work.inner), list(work.outer)
    solve = {
        "neumann": lambda: torchopt.linear_solve.solve_inv(ns=True, maxiter=terms, alpha=STEP),
        "cg": lambda: torchopt.linear_solve.solve_cg(maxiter=terms, atol=0.0, rtol=0.0),
    }[solver]()

    def slope(w: tuple[Tensor, ...], *a: Tensor) -> tuple[Tensor, ...]:
        inner = dict(zip(names, w, strict=True))
        outer = dict(zip(outer_names, a, strict=True))
        return tuple(torch.func.grad(lambda x: work.problem.inner_loss(x, outer))(inner)[name] for name in names)

    def call() -> object:
        outer = _leaves(work.outer)
        root = torchopt.diff.implicit.custom_root(slope, argnums=tuple(range(1, len(outer) + 1)), solve=solve)
        solved: Any = root(lambda w, *_: tuple(w))(tuple(work.inner[n].detach() for n in names), *outer.values())
        loss = work.problem.outer_loss(dict(zip(names, solved, strict=True)), outer)
        return torch.autograd.grad(loss, list(outer.values()))

    return call


def torchopt_unrolled(work: Workload, steps: int) -> Callable[[], object]:
    """Torchopt's differentiable SGD over `steps` steps."""
    import torchopt

    def call() -> object:
        inner, outer = _leaves(work.inner), _leaves(work.outer)
        optimizer = torchopt.sgd(lr=STEP)
        params = tuple(inner.values())
        state = optimizer.init(params)
        for _ in range(steps):
            at = dict(zip(inner, params, strict=True))
            grads = torch.autograd.grad(work.problem.inner_loss(at, outer), params, create_graph=True)
            updates, state = optimizer.update(grads, state, params=params, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        loss = work.problem.outer_loss(dict(zip(inner, params, strict=True)), outer)
        return torch.autograd.grad(loss, list(outer.values()))

    return call


def ours(work: Workload, estimator: Hypergradient) -> Callable[[], object]:
    """One call of an estimator."""
    return lambda: estimator(*work)


def contenders(work: Workload, terms: int, steps: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """Everything that is timed, by name; made late, so that a peer that is missing is only left out."""
    exact, difference = neumann(terms, STEP), finite_difference()
    one_sided = finite_difference(1e-3, one_sided=True)
    return {
        "gradient": lambda: gradient(work),
        f"2 gradients + {terms + 1} products alone": lambda: products_alone(work, terms),
        f"plain neumann {terms}": lambda: plain_neumann(work, terms),
        f"ours neumann {terms}": lambda: ours(work, Implicit(exact)),
        f"ours neumann {terms}, difference": lambda: ours(work, Implicit(exact, products=difference)),
        f"ours neumann {terms}, one-sided difference": lambda: ours(work, Implicit(exact, products=one_sided)),
        f"ours conjugate gradient {terms}": lambda: ours(work, Implicit(conjugate_gradient(terms, tolerance=0.0))),
        f"betty neumann {terms}": lambda: betty_neumann(work, terms),
        f"torchopt neumann {terms}": lambda: torchopt_implicit(work, "neumann", terms),
        f"torchopt conjugate gradient {terms}": lambda: torchopt_implicit(work, "cg", terms),
        f"ours unrolled {steps}": lambda: ours(work, Unrolled(sgd(STEP), steps)),
        f"ours unrolled {steps}, recomputed": lambda: ours(work, Unrolled(sgd(STEP), steps, recompute=True)),
        f"torchopt unrolled {steps}": lambda: torchopt_unrolled(work, steps),
        "ours one step": lambda: ours(work, Unrolled(sgd(STEP))),
        "ours one step, difference": lambda: ours(work, Unrolled(sgd(STEP), products=difference)),
        "ours amended": lambda: ours(work, Implicit(amended())),
        "ours identity": lambda: ours(work, Implicit(identity(STEP))),
    }


def clock(calls: dict[str, Callable[[], object]], rounds: int, repeat: int) -> dict[str, dict[str, float]]:
    """Median CPU milliseconds and median ratio to the gradient of the same round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(repeat):
                call()
            taken[name].append((time.process_time() - start) / repeat)
    unit = taken["gradient"]
    return {
        name: {
            "milliseconds": 1e3 * statistics.median(times),
            "gradients": statistics.median(t / u for t, u in zip(times, unit, strict=True)),
        }
        for name, times in taken.items()
    }


def timed(work: Workload, terms: int, steps: int, rounds: int, repeat: int) -> dict[str, dict[str, float]]:
    """Warm up every contender once, leave out those that do not run, and clock the rest."""
    calls = {}
    for name, make in contenders(work, terms, steps).items():
        try:
            call = make()
            call()
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way; it is named and left out
            print(f"left out: {name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        calls[name] = call
    return clock(calls, rounds, repeat)


def bench_cnn(rounds: int) -> dict[str, dict[str, float]]:
    """Times on the CNN."""
    return timed(cnn(), terms=20, steps=6, rounds=rounds, repeat=1)


def bench_differences(rounds: int) -> dict[str, dict[str, float]]:
    """Relative errors of Neumann K = 20 by differences against exact products, on the CNN in single precision."""
    work = cnn()
    exact = Implicit(neumann(20, STEP))(*work)["weight"]

    def error(products: Any) -> float:
        grads = Implicit(neumann(20, STEP), products=products)(*work)["weight"]
        return float((grads - exact).norm() / exact.norm())

    return {
        f"radius {radius}": {
            "central": error(finite_difference(radius)),
            "one-sided": error(finite_difference(radius, one_sided=True)),
        }
        for radius in (1e-1, 1e-2, 1e-3, None)
    }


def bench_small(rounds: int) -> dict[str, dict[str, float]]:
    """Times on the small network, and what our calls cost above straightforward code, in milliseconds."""
    return timed(small(), terms=5, steps=6, rounds=4 * rounds, repeat=10)


MEMORY = {
    "gradient": lambda work: gradient(work),
    "neumann 2": lambda work: ours(work, Implicit(neumann(2, STEP))),
    "neumann 20": lambda work: ours(work, Implicit(neumann(20, STEP))),
    "neumann 20, difference": lambda work: ours(work, Implicit(neumann(20, STEP), products=finite_difference())),
    "neumann 20, one-sided": lambda work: ours(
        work, Implicit(neumann(20, STEP), products=finite_difference(1e-3, one_sided=True))
    ),
    "unrolled 2": lambda work: ours(work, Unrolled(sgd(STEP), 2)),
    "unrolled 16": lambda work: ours(work, Unrolled(sgd(STEP), 16)),
    "unrolled 2, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 2, recompute=True)),
    "unrolled 16, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 16, recompute=True)),
    "unrolled 48, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 48, recompute=True)),
    "unrolled 2, truncated 2, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 2, 2, recompute=True)),
    "unrolled 16, truncated 2, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 16, 2, recompute=True)),
    "unrolled 16, truncated 2": lambda work: ours(work, Unrolled(sgd(STEP), 16, truncate=2)),
    "unrolled 48, truncated 2, recomputed": lambda work: ours(work, Unrolled(sgd(STEP), 48, 2, recompute=True)),
}


def peak(name: str) -> float:
    """MiB that one call adds to the peak resident size of this process, which must be fresh."""
    work = cnn()
    call = MEMORY[name](work)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def bench_memory(rounds: int) -> dict[str, dict[str, float]]:
    """Peak memory of one call on the CNN, each in a process of its own."""

    def once(name: str) -> float:
        command = [sys.executable, __file__, "--peak", name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return {name: {"mebibytes": statistics.median(once(name) for _ in range(min(rounds, 3)))} for name in MEMORY}


def digits() -> tuple[Workload, Tensor]:
    """Data cleaning on digits: logistic regression, a weight for each training example; the dense hypergradient."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images) / 16, torch.tensor(labels)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    train, valid = order[:1000], order[1000:1500]
    noisy = torch.where(torch.rand(1000, generator=generator) < 0.3, (y[train] + 1) % 10, y[train])

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        losses = F.cross_entropy(x[train] @ w["w"] + w["b"], noisy, reduction="none")
        return (losses * a["a"].sigmoid()).mean() + 1e-3 * sum(value.square().sum() for value in w.values())

    problem = BilevelProblem(inner_loss, lambda w, a: F.cross_entropy(x[valid] @ w["w"] + w["b"], y[valid]))
    outer = {"a": torch.zeros(1000, dtype=torch.float64)}
    inner = {"w": torch.zeros(64, 10, dtype=torch.float64), "b": torch.zeros(10, dtype=torch.float64)}
    inner = _leaves(inner)
    fit = torch.optim.LBFGS(inner.values(), max_iter=2000, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        fit.zero_grad()
        loss = inner_loss(inner, outer)
        loss.backward()
        return loss

    for _ in range(5):
        fit.step(closure)
    work = Workload(problem, {name: value.detach() for name, value in inner.items()}, outer)
    return work, dense(work)


def dense(work: Workload) -> Tensor:
    """The hypergradient by a dense solve."""
    names, shapes = list(work.inner), [value.shape for value in work.inner.values()]
    at = torch.cat([value.flatten() for value in work.inner.values()])

    def split(flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in shapes])
        return {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}

    def slope(flat: Tensor, a: Tensor) -> Tensor:
        return torch.func.grad(lambda z: work.problem.inner_loss(split(z), {"a": a}))(flat)

    a = work.outer["a"]
    hessian = torch.func.jacrev(slope, 0)(at, a)
    mixed = torch.func.jacrev(slope, 1)(at, a)
    v = torch.func.grad(lambda z: work.problem.outer_loss(split(z), {"a": a}))(at)
    return -mixed.T @ torch.linalg.solve(hessian, v)


def bench_accuracy(rounds: int) -> dict[str, dict[str, float]]:
    """Relative errors against the dense solve at 5, 20 and 100 products; 1.1 / L as Neumann's step size."""
    work, truth = digits()
    largest = largest_eigenvalue(*work, iterations=100)
    smallest = 2e-3  # the weight decay's curvature

    def error(estimator: Hypergradient) -> float:
        return float((estimator(*work)["a"] - truth).norm() / truth.norm())

    rows: dict[str, Callable[[int], Any]] = {
        "neumann": lambda k: neumann(k, 1.1 / largest),
        "chebyshev": lambda k: chebyshev(k, smallest, 1.05 * largest),
        "conjugate gradient": lambda k: conjugate_gradient(k),
        "nystrom": lambda k: nystrom(k, smallest),
    }
    table = {name: {f"{k} products": error(Implicit(make(k))) for k in (5, 20, 100)} for name, make in rows.items()}
    table["one step"] = {"0 products": error(Implicit(identity(1.1 / largest)))}
    table["amended"] = {"1 product": error(Implicit(amended()))}
    return table | bench_noise(work, truth, largest)


def bench_noise(work: Workload, truth: Tensor, largest: float) -> dict[str, dict[str, float]]:
    """The same with the Hessian of a random tenth of the training examples: mean error of 20 draws, 20 products."""
    generator = torch.Generator().manual_seed(1)
    count = work.outer["a"].numel()

    def sampled() -> BilevelProblem:
        # A tenth of the examples, ten times as heavy: weights a in the loss are logits, so the mask goes through the
        # weighted loss as a difference of two full losses would not; masks are drawn once a problem.
        mask = torch.randperm(count, generator=generator)[: count // 10]
        hidden = torch.full((count,), -1e3, dtype=torch.float64)
        hidden[mask] = 0.0

        def loss(w: Variables, a: Variables) -> Tensor:
            decay = 1e-3 * sum(value.square().sum() for value in w.values())
            return 10 * (work.problem.inner_loss(w, {"a": a["a"] + hidden}) - decay) + decay

        return BilevelProblem(loss, work.problem.outer_loss, mixed_loss=work.problem.inner_loss)

    problems = [sampled() for _ in range(20)]
    parts = {"neumann": neumann(20, 1.1 / largest), "conjugate gradient": conjugate_gradient(20)}

    def error(part: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            grads = [Implicit(part)(problem, work.inner, work.outer)["a"] for problem in problems]
        return statistics.mean(float((grad - truth).norm() / truth.norm()) for grad in grads)

    return {f"{name}, a tenth of the data": {"20 products": error(part)} for name, part in parts.items()}


BENCHES = {
    "cnn": bench_cnn,
    "small": bench_small,
    "memory": bench_memory,
    "differences": bench_differences,
    "accuracy": bench_accuracy,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="what to run; all when left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # a peer's deprecations and our own remarks on the untrained CNN's curvature
    if options.peak:
        print(peak(options.peak))
        return
    results: dict[str, Any] = {"torch": torch.__version__}
    for name in options.names or BENCHES:
        results[name] = BENCHES[name](options.rounds)
        print(f"\n{name}")
        for row, cells in results[name].items():
            print(f"  {row:44}" + "".join(f"{key} {value:<12.4g}" for key, value in cells.items()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
