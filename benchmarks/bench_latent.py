"""E2NAS in its latent space: what its steps cost, and what moves the point.

    python benchmarks/bench_latent.py --steps [--rounds 60]
    python benchmarks/bench_latent.py --points
    python benchmarks/bench_latent.py --data npz:c10.npz [--only default] [--seeds 0,1]

One thread. *Steps*: rounds are interleaved, CPU time. The weight step of `e2nas` is compared with single-path steps on just
the three paths that it trained, as paths differ in cost, and those that a search draws are not like those drawn uniformly.
*Points*: how many cells are derived from random points, and how far encodings are from the origin. *Data*: searches as
in bench_proxy.py, each with the gradients at the point looked at every tenth step: that of the validation loss, and that of
the novelty before its factor gamma. What is looked at changes nothing of the search.
"""

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass, field, replace

import torch
from bench_one_shot import make
from bench_proxy import begin, shrink
from torch import Tensor

from nas_search import ImageData, Method, methods
from nas_search.batches import Batch
from nas_search.data_sources import load_data
from nas_search.exploration import Novelty
from nas_search.latent_space import LatentSpace
from nas_search.losses import Plain, Replay
from nas_search.losses.constraints import Constraints
from nas_search.objective import Objective
from nas_search.pretraining import obtain_autoencoder
from nas_search.relaxations import Latent
from nas_search.roles import Event
from nas_search.samplers import Fixed
from nas_search.schedules import Constant
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import Drawn, nas_bench_201


def variants(rate: float) -> dict[str, Method]:
    whole = methods.e2nas(architecture_learning_rate=rate)
    assert isinstance(whole.relaxation, LatentSpace)
    return {
        "default": whole,
        "exploration=0": methods.e2nas(architecture_learning_rate=rate, exploration=0.0),
        "manifold=False": methods.e2nas(architecture_learning_rate=rate, manifold=False),
        "initial scale 1": replace(whole, relaxation=replace(whole.relaxation, scale=1.0)),
    }


def steps(arguments: argparse.Namespace) -> None:
    """Print what steps of the methods cost, and those of e2nas in single-path steps on the same paths."""
    every = {
        "gdas()": methods.gdas(),
        "e2nas(exploration=0)": methods.e2nas(exploration=0.0),
        "e2nas()": methods.e2nas(),
        "e2nas_r(exploration=0)": methods.e2nas_r(exploration=0.0),
    }
    states = {name: make(method, arguments) for name, method in every.items()}
    single = make(methods.random_nas(), arguments)
    seconds: dict[tuple[str, str], list[float]] = {}

    def clock(name: str, part: str, step: WeightStep | OuterStep, state: SearchState, batch: Batch) -> None:
        begin = time.process_time()
        step(state, batch)
        seconds.setdefault((name, part), []).append(time.process_time() - begin)

    for number in range(-12, arguments.rounds):
        for name, state in states.items():
            trained: list[Drawn] = []
            if isinstance(loss := every[name].loss, Replay):
                state.method = replace(every[name], loss=replace(loss, constraints=_noting(loss, trained)))
            batch = Batch(state.train, state.valid, number + 12)
            _ = batch.train, batch.valid  # loading is no part of a step
            clock(name, "weights", WeightStep(), state, batch)
            clock(name, "outer", OuterStep(), state, batch)
            if name == "e2nas()":
                for path in trained:
                    text = str(state.space.discretize(state.space.choices.one_hot(path)))
                    single.method = replace(methods.random_nas(), sampler=Fixed(text), loss=Plain())
                    clock("single", "weights", WeightStep(), single, batch)
                clock("drawing", "weights", _Draw(), state, batch)
        if number < 0:  # warm, and then the archive of 50 is filled on
            seconds.clear()
    print("| method | weight step, ms | outer step, ms |")
    print("|---|---|---|")
    for name in every:
        print(f"| `{name}` | {_ms(seconds[name, 'weights'])} | {_ms(seconds[name, 'outer'])} |")
    mean, whole = statistics.mean(seconds["single", "weights"]), statistics.mean(seconds["e2nas()", "weights"])
    drawing = statistics.mean(seconds["drawing", "weights"])
    print(
        f"\nA weight step of e2nas() is {1000 * whole:.1f} ms in the mean, single-path steps on the same paths are "
        f"{1000 * mean:.1f} ms each, and drawing by the decoder is {1000 * drawing:.1f}: a step costs {whole / mean:.2f} of a "
        f"single path, {(whole - drawing) / mean:.2f} without the drawing. Beside gdas() it costs "
        f"{whole / statistics.mean(seconds['gdas()', 'weights']):.2f}."
    )


class _Draw(WeightStep):
    """No step, but what the sampler of one does."""

    def __call__(self, state: SearchState, batch: Batch) -> dict[str, Tensor]:
        state.method.sampler(state)
        return {}


def _noting(loss: Replay, trained: list[Drawn]) -> Constraints:
    """The constraints of the loss, which note every path of a step."""

    def constraints(state: SearchState, current: Drawn) -> list[Drawn]:
        chosen = loss.constraints(state, current)
        trained.extend([current, *chosen])
        return chosen

    return constraints


def _ms(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def points() -> None:
    """Print how many cells random points stand for, and where the encodings are."""
    space = nas_bench_201()
    autoencoder = obtain_autoencoder(space)
    with torch.no_grad():
        encodings = autoencoder.encode_types(autoencoder.graph.types_of(list(space.enumerate())[::16]))[0]
    away = encodings.norm(dim=1)
    print(
        f"{len(encodings)} encodings are {away.min():.2f} to {away.max():.2f} from the origin, {away.mean():.2f} in the mean."
    )
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1e-2, 1e-1, 1.0):
        drawn = scale * torch.randn(256, autoencoder.size, generator=generator)
        cells = {str(each) for each in autoencoder.derived(drawn).argmax(dim=-1).flatten(1).tolist()}
        print(f"256 points of standard deviation {scale:g} derive {len(cells)} cells.")


@dataclass
class Watch:
    """Looks at the gradients every tenth step, and at the point after each epoch."""

    start: Tensor
    gradients: list[tuple[float, float, float]] = field(default_factory=list)
    medians: list[list[float]] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        state = event.state
        if not isinstance(state, SearchState) or not isinstance(state.relaxation, Latent):
            return
        if event.kind == "step" and state.position % 10 == 0:
            self.gradients.append(look(state))
        if event.kind == "epoch":
            self.medians.append([statistics.median(column) for column in zip(*self.gradients, strict=True)])
            self.gradients.clear()
            self.moved.append(float((state.relaxation.point.detach() - self.start).norm()))
            self.cells.append(event.record["architecture"])


def look(state: SearchState) -> tuple[float, float, float]:
    """The lengths of the gradients in the point: of the validation loss, the novelty, and the density of the points alone."""
    assert state.relaxation is not None
    before = state.generator.get_state(), torch.random.get_rng_state()
    outer, batch = state.outer_parameters(), Batch(state.train, state.valid, state.position)
    choice = state.relaxation(state.relaxation.noise(state.generator), state.progress)
    losses = [Objective(state, batch, choice).valid_loss(dict(state.require_supernet().named_parameters()), outer)]
    # The whole density first: it remembers radii, which the other does not compute.
    for manifold in (True, False):
        losses.append(Novelty(Constant(1.0), manifold=manifold).at(state)(choice.weights, state.progress, outer))
    point = state.relaxation.get_parameter("point")
    validation, novelty, density = (
        float(torch.autograd.grad(loss, point, retain_graph=True)[0].norm()) for loss in losses
    )
    state.generator.set_state(before[0])
    torch.random.set_rng_state(before[1])
    return validation, novelty, density


def search(method: Method, data: ImageData, seed: int, arguments: argparse.Namespace) -> Watch:
    """One search; prints a line of the table."""
    state = begin(method, data, arguments.epochs, seed, arguments)
    assert isinstance(state.relaxation, Latent)
    assert state.outer_optimizer is not None
    watch = Watch(state.relaxation.point.detach().clone())
    complete(state, None, observers=[watch])
    places = state.memory["visited_places"].values()
    encodings = torch.stack([place[:-1] for place in places])
    archive = torch.stack([state.memory["visited_places"][str(path)][:-1] for path in state.memory["visited_paths"]])
    away = float((archive.mean(dim=0) - state.relaxation.point.detach()).norm())
    deviation = float(archive.std(dim=0, correction=0).clamp(min=Novelty().deviation).median())
    (moments,) = state.outer_optimizer.state.values()
    remembered = float(moments["exp_avg_sq"].mean().sqrt())
    ranges = [f"{min(column):.2g} to {max(column):.2g}" for column in zip(*watch.medians, strict=True)]
    print(
        f"| {seed} | {watch.moved[arguments.epochs // 2]:.2f} | {watch.moved[-1]:.2f} | {' | '.join(ranges)} | {remembered:.2g} "
        f"| {len(encodings)} | {away:.1f} | {deviation:.2f} | {len(set(watch.cells))} | `{watch.cells[-1]}` |",
        flush=True,
    )
    watch.start = state.relaxation.point.detach() - watch.start
    return watch


def searches(arguments: argparse.Namespace) -> None:
    """Print a table for each variant."""
    source = load_data(arguments.data)
    assert isinstance(source, ImageData)
    data = shrink(source, arguments.image)
    for name, method in variants(arguments.rate).items():
        if arguments.only not in (None, name):
            continue
        print(f"\n{name}\n")
        print(
            f"| seed | moved after {arguments.epochs // 2 + 1} epochs | at the end | gradient of validation, medians by epoch "
            "| of novelty | of the density of the points | root mean square that Adam remembers | cells in the archive "
            "| its mean from the point | its deviation | cells after epochs | the last one |"
        )
        print("|" + "---|" * 12)
        moves = [search(method, data, seed, arguments).start for seed in arguments.seeds]
        for one, other in itertools.combinations(moves, 2):
            print(f"\ncosine of two displacements {float(torch.cosine_similarity(one, other, dim=0)):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--points", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", choices=list(variants(0.0)))
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate of the point")
    parser.add_argument("--image", type=int, default=16)
    parser.add_argument("--channels", type=int, help="16 for steps, 4 for searches")
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for wanted, default, do in ((arguments.steps, 16, steps), (arguments.data, 4, searches)):
        if wanted:
            do(argparse.Namespace(**{**vars(arguments), "channels": arguments.channels or default}))
    if arguments.points:
        points()


if __name__ == "__main__":
    main()
