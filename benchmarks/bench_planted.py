"""A planted augmentation is found: the images of a search's validation and of the test are transformed, those that train are not.

For each plant (`rotated` by 20 to 30 degrees to either side, `inverted` colours), each data set and each seed: `daas`
searches an architecture and a policy on clean train and transformed validation images; then the architecture is trained
on the clean images of train with (a) the policy it found, (b) no augmentation but the customary one, (c) RandAugment on
top of the customary one, and tested on transformed images that nothing has seen.

    python benchmarks/bench_planted.py --seeds 0,1,2
    python benchmarks/bench_planted.py --data npz:c10.npz --images 2000 --side 16 --seeds 0,1,2

`--images` and `--side` make any data set small: that many train and half as many test images, each class in its share,
shrunk by averaging. Prints one line a run, and a table at the end, to be pasted into joint.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torchvision.transforms.functional import InterpolationMode, rotate

from nas_augment import LearnablePolicy, Policy
from nas_augment.marginals import Marginals, marginals
from nas_augment.published import randaugment
from nas_search import methods
from nas_search.data import Examples, ImageData
from nas_search.data_sources import load_data
from nas_search.evaluation import top1
from nas_search.loop import drive
from nas_search.optimizers import SGD
from nas_search.roles import Event
from nas_search.schedules import Cosine
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_search.streams import split_indices, stream_seed
from nas_search.training import TrainState
from nas_spaces import Architecture, SearchSpace, nas_bench_201


def rotated(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image by an angle of its own, 20 to 30 degrees to the left or to the right."""
    angles = (20 + 10 * torch.rand(len(images), generator=generator)).tolist()
    signs = torch.randint(2, (len(images),), generator=generator).tolist()
    turned = [
        rotate(image, angle if sign else -angle, InterpolationMode.BILINEAR)
        for image, angle, sign in zip(images, angles, signs, strict=True)
    ]
    return torch.stack(turned)


def inverted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The negative of every image."""
    return 255 - images


PLANTS: dict[str, tuple[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]]] = {
    "rotated": ("Rotate", rotated),
    "inverted": ("Invert", inverted),
}


def planted(data: ImageData, plant: str, seed: int) -> ImageData:
    """Half of the train images as they are, to train on; the other half and the test images transformed."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "plant"))
    first, second = split_indices(data.train.labels, 0.5, seed)
    change = PLANTS[plant][1]

    def changed(examples: Examples) -> Examples:
        return Examples(change(examples.images, generator), examples.labels)

    valid, test = changed(data.train.take(second)), changed(data.test)
    return replace(data, name=f"{data.name}, {plant}", train=data.train.take(first), valid=valid, test=test)


def smaller(data: ImageData, images: int, side: int) -> ImageData:
    """The first `images` train and half as many test images of each class in its share, shrunk to `side` pixels; 0 keeps."""

    def shrunk(examples: Examples, count: int) -> Examples:
        if 0 < count < len(examples.labels):
            rows = split_indices(examples.labels, count / len(examples.labels), 0)[0]
            examples = examples.take(rows)
        if side:
            small = torch.nn.functional.interpolate(examples.images.float(), size=(side, side), mode="area")
            examples = Examples(small.round().to(torch.uint8), examples.labels)
        return examples

    return replace(data, train=shrunk(data.train, images), test=shrunk(data.test, images // 2))


def share(found: Marginals, operation: int) -> float:
    """The probability that at least one of the slots applies an operation."""
    return float(1 - (1 - found.chosen[:, operation] * found.applied[:, operation]).prod())


def train(
    space: SearchSpace,
    architecture: Architecture,
    data: ImageData,
    policy: Policy,
    epochs: int,
    seed: int,
    channels: int,
) -> float:
    sizes = {"classes": data.classes, "channels": channels, "cells": 1, "in_channels": data.in_channels}
    state = TrainState(
        lambda: space.network(architecture, **sizes),
        data.train,
        policy=policy,
        optimizer=SGD(Cosine(0.05)),
        epochs=epochs,
        batch_size=64,
        seed=seed,
        device=torch.device("cpu"),
    )
    drive(state)
    state.network.eval()
    return top1(state.network, data.test, torch.device("cpu"))


def run(data: ImageData, plant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    space, clean = nas_bench_201(), data
    data = planted(data, plant, seed)
    method = methods.daas(
        options.architectures,
        options.policies,
        options.weight_architectures,
        warmup=options.warmup,
        share="operation",
        per=options.per,
        learning_rate=options.learning_rate,
        architecture_learning_rate=options.architecture_learning_rate,
        policy_learning_rate=options.policy_learning_rate,
    )
    state = SearchState(
        space,
        data,
        method,
        epochs=options.epochs,
        batch_size=64,
        seed=seed,
        device=torch.device("cpu"),
        channels=options.channels,
        cells=1,
    )
    policy = state.policy
    assert isinstance(policy, LearnablePolicy)
    operation = policy.space.index(PLANTS[plant][0])
    before = marginals(policy)
    started = time.perf_counter()

    def watch(event: Event) -> None:
        if options.verbose and event.kind == "epoch":
            now = marginals(policy)
            ranks = sorted(
                ((share(now, at), each.name) for at, each in enumerate(policy.space.operations)), reverse=True
            )
            rank = 1 + [name for _, name in ranks].index(PLANTS[plant][0])
            accuracies = f"{event.record['train_accuracy']:.3f} {event.record['valid_accuracy']:.3f}"
            top = [f"{name} {value:.2f}" for value, name in ranks[:5]]
            print(event.epoch, accuracies, f"{share(now, operation):.3f} ({rank})", top, flush=True)

    result = complete(state, None, observers=(watch,))
    seconds, after = time.perf_counter() - started, marginals(policy)
    shares = [share(after, at) for at in range(len(policy.space.operations))]
    epochs = options.train_epochs
    arguments = (epochs, seed, options.channels)
    random = Policy((*randaugment().decide().stages, *data.policy.stages))
    return {
        "data": clean.name,
        "plant": plant,
        "seed": seed,
        "architecture": str(result.architecture),
        "operation": PLANTS[plant][0],
        "before": share(before, operation),
        "after": shares[operation],
        "rank": sorted(shares, reverse=True).index(shares[operation]) + 1,
        "found": train(space, result.architecture, data, result.policy, *arguments),
        "customary": train(space, result.architecture, data, data.policy, *arguments),
        "randaugment": train(space, result.architecture, data, random, *arguments),
        "search_seconds": seconds,
    }


def table(records: list[dict[str, Any]]) -> str:
    lines = [
        "| data | plant | operation applied, before -> after (rank) | policy found | customary only | RandAugment |",
        "|---|---|---|---:|---:|---:|",
    ]
    for data, plant in dict.fromkeys((each["data"], each["plant"]) for each in records):
        group = [each for each in records if (each["data"], each["plant"]) == (data, plant)]
        moved = ", ".join(f"{each['before']:.2f} -> {each['after']:.2f} ({each['rank']})" for each in group)
        cells = []
        for name in ("found", "customary", "randaugment"):
            values = [100 * each[name] for each in group]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.1f} ± {spread:.1f}")
        lines.append(f"| {data} | {plant} | {group[0]['operation']}: {moved} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int, default=0, help="train images that are used; 0 for all")
    parser.add_argument("--side", type=int, default=0, help="of the images, in pixels; 0 as they are")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--plants", default="rotated,inverted")
    parser.add_argument("--epochs", type=int, default=20, help="of the search")
    parser.add_argument("--train-epochs", type=int, default=40)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--architectures", type=int, default=2)
    parser.add_argument("--policies", type=int, default=2)
    parser.add_argument("--weight-architectures", type=int, default=4)
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--per", default="image")
    parser.add_argument("--learning-rate", type=float, default=0.025)
    parser.add_argument("--architecture-learning-rate", type=float, default=0.01)
    parser.add_argument("--policy-learning-rate", type=float, default=0.05)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    data, records = load_data(options.data), []
    assert isinstance(data, ImageData)
    data = smaller(data, options.images, options.side)
    for plant in options.plants.split(","):
        for seed in map(int, options.seeds.split(",")):
            records.append(run(data, plant, seed, options))
            print(json.dumps(records[-1]), flush=True)
    print(table(records))


if __name__ == "__main__":
    main()
