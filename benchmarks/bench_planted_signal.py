"""Whether a planted rotation can be seen by a policy's gradient: what the rotation costs, and what the inner products say.

One network of NAS-Bench-201 is trained on the clean half of the train images (see bench_planted.py), once with the customary
augmentation and once with half of the images rotated by 23 to 30 degrees as well. After some epochs each is tested on the
rotated test images: the difference is what there is to be found. In the first one, also the inner products `<h, g>` of
DAAS are taken: `h` the gradient of the loss of 64 rotated validation images after a step, `g` that of 64 train images under
one operation at every level alike, less that of the images as they are. The figure in brackets is the mean over the draws by its
standard error: below 2 there is nothing to learn from in so many draws, and below 0 the operation becomes less likely.

    python benchmarks/bench_planted_signal.py --data npz:c10.npz --images 4000 --side 16 --marks 3,10,25
"""

import argparse
import statistics
import time

import torch
from bench_planted import planted, smaller
from torch import Tensor, nn
from torch.func import functional_call

from nas_augment import Policy, preset
from nas_augment.stages import Step, SubPolicies, SubPolicy
from nas_search.data import ImageData
from nas_search.data_sources import load_data
from nas_search.evaluation import top1
from nas_search.objective import cross_entropy
from nas_search.optimizers import SGD
from nas_search.schedules import Constant
from nas_search.training import TrainState
from nas_spaces import nas_bench_201

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
OPERATIONS = ("Rotate", "ShearX", "TranslateX", "Contrast", "Sharpness", "Cutout", "Equalize")
# Levels of Rotate: -30, -23, 23 and 30 degrees, with a random sign.
FAR = (0, 1, 8, 9)
SPACE = preset("fast_aa")


def steps(name: str, levels: tuple[int, ...]) -> tuple[SubPolicy, ...]:
    """An operation, always applied, at each of the levels as often."""
    return tuple(SubPolicy((Step(name, 1.0, level),)) for level in levels)


def candidates(data: ImageData) -> dict[str, Policy]:
    """Each before what is customary; the first one is that alone."""
    customary = data.policy.stages
    found = {"as they are": data.policy}
    for name in OPERATIONS:
        found[name] = Policy((SubPolicies(SPACE, steps(name, tuple(range(10)))), *customary))
    return found | {"Rotate by 23 to 30": Policy((SubPolicies(SPACE, steps("Rotate", FAR)), *customary))}


def products(
    network: nn.Module, data: ImageData, policies: list[Policy], rate: float, generator: torch.Generator
) -> Tensor:
    """``<h, g>`` of each policy, on one draw of a train and a validation batch, ``(policies,)``."""
    train, valid = data.train, data.valid
    assert valid is not None
    rows = torch.randint(len(train.labels), (64,), generator=generator)
    valid = valid.take(torch.randint(len(valid.labels), (64,), generator=generator))
    images, labels = train.images[rows], train.labels[rows]
    weights = dict(network.named_parameters())

    def gradient(at: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        loss = cross_entropy(functional_call(network, at, (inputs,)), targets)
        return torch.autograd.grad(loss, list(at.values()))

    found = [gradient(weights, policy.apply(images, generator=generator), labels) for policy in policies]
    mean = [torch.stack(each).mean(0) for each in zip(*found, strict=True)]
    ahead = {
        name: (value.detach() - rate * slope).requires_grad_()
        for (name, value), slope in zip(weights.items(), mean, strict=True)
    }
    direction = gradient(ahead, valid.images, valid.labels)
    return torch.stack(
        [torch.stack([(h * g).sum() for h, g in zip(direction, each, strict=True)]).sum() for each in found]
    )


def signal(network: nn.Module, data: ImageData, options: argparse.Namespace, generator: torch.Generator) -> str:
    """The products of every operation less those of the images as they are, with their means by their standard errors."""
    policies = candidates(data)
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    network.train()
    drawn = [products(network, data, list(policies.values()), options.rate, generator) for _ in range(options.draws)]
    for name, value in network.named_buffers():
        value.copy_(buffers[name])
    rows = torch.stack(drawn).double()
    less = rows[:, 1:] - rows[:, :1]
    mean, error = less.mean(0), less.std(0) / len(less) ** 0.5
    told = [f"{name} {m:+.3f} ({m / e:+.1f})" for name, m, e in zip(list(policies)[1:], mean, error, strict=True)]
    return f"as they are {rows[:, 0].mean():.3f}; the others less that: {', '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int, default=0, help="train images that are used; 0 for all")
    parser.add_argument("--side", type=int, default=0, help="of the images, in pixels; 0 as they are")
    parser.add_argument("--plant", default="rotated")
    parser.add_argument("--marks", default="3,10,25", help="epochs after which it is looked")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load_data(options.data)
    assert isinstance(data, ImageData)
    data = planted(smaller(data, options.images, options.side), options.plant, options.seed)
    space, marks = nas_bench_201(), [int(mark) for mark in options.marks.split(",")]
    sizes = {"classes": data.classes, "channels": options.channels, "cells": 1, "in_channels": data.in_channels}
    half = (*steps("Rotate", FAR), SubPolicy((Step("Rotate", 0.0, 0),), 4.0))
    policies = {"customary": data.policy, "half rotated": Policy((SubPolicies(SPACE, half), *data.policy.stages))}
    generator = torch.Generator().manual_seed(5)
    for name, policy in policies.items():
        state = TrainState(
            lambda: space.network(space.parse(CELL), **sizes),
            data.train,
            policy=policy,
            optimizer=SGD(Constant(options.rate)),
            epochs=max(marks),
            batch_size=64,
            seed=options.seed,
            device=torch.device("cpu"),
        )
        started = time.process_time()
        for epoch in range(1, max(marks) + 1):
            correct = []
            for _ in range(state.steps):
                correct.append(float(state.advance()["train_accuracy"]))
                state.step += 1
            state.close_epoch()
            if epoch not in marks:
                continue
            state.network.eval()
            tested = top1(state.network, data.test, torch.device("cpu"))
            state.network.train()
            seconds = time.process_time() - started
            print(
                f"{name}, epoch {epoch}: train {statistics.mean(correct):.3f}, test {tested:.3f}, {seconds:.0f} s",
                flush=True,
            )
            if policy is data.policy:
                print("  " + signal(state.network, data, options, generator), flush=True)


if __name__ == "__main__":
    main()
