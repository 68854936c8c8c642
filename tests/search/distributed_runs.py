"""What each rank does in the tests of `nas_search.distributed`: ``torchrun distributed_runs.py FOLDER BATCH_SIZE``.

Each run leaves its state in FOLDER, as rank 0 has it, and fails where the other ranks have other weights.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment.fixed import crop_and_flip
from nas_search import Method, distributed, methods
from nas_search.data_sources import fake
from nas_search.loop import drive, isolated_random_state
from nas_search.optimizers import SGD
from nas_search.run_state import RunState
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.training import TrainState
from nas_spaces import SearchSpace, Supernet, nas_bench_201, nas_bench_201_supernet

METHODS: dict[str, Method] = {
    "darts-1": methods.darts(order=1),
    "darts-2": methods.darts(order=2),
    "gdas": methods.gdas(),
    # By SGD: the first steps of Adam are signs of gradients, and near 0 rounding decides a sign.
    "daas": replace(
        methods.daas(architectures=1, weight_architectures=1, policies=2),
        policy_optimizer=SGD(Constant(10.0), momentum=0.0, weight_decay=0.0, nesterov=False, clip=None),
    ),
    "dha": methods.dha(),
    "idarts": methods.idarts(),
    "enas": methods.enas(),
}
CPU = torch.device("cpu")


def without_batch_norm(module: nn.Module) -> nn.Module:
    """Normalise each image by itself, so that it does not matter how a batch is divided."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        else:
            without_batch_norm(child)
    return module


def by_image(features: Tensor, factor: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """In place of `nas_spaces.twice.batch_norm`."""
    return F.group_norm(features, 1, factor, bias)


@dataclass(frozen=True)
class ByImage:
    """A supernet without batch normalisation; meets `SupernetFactory`."""

    def __call__(self, space: SearchSpace, **sizes: Any) -> Supernet:
        supernet = space.supernet(**sizes)
        without_batch_norm(supernet)
        return supernet


def searching(method: Method) -> SearchState:
    return SearchState(
        nas_bench_201(), fake("1x8x8", count=64, classes=4), replace(method, supernet=ByImage()), epochs=1, batch_size=16, seed=0,
        device=CPU, channels=4, cells=1,
    )  # fmt: skip


def training() -> TrainState:
    space, data = nas_bench_201(), fake("1x8x8", count=64, classes=4)
    architecture = space.sample(torch.Generator().manual_seed(1))
    return TrainState(
        lambda: without_batch_norm(space.network(architecture, classes=4, channels=4, cells=1, in_channels=1)), data.train,
        policy=crop_and_flip(1).decide(), optimizer=SGD(Constant(0.05)), epochs=1, batch_size=16, seed=0, device=CPU,
    )  # fmt: skip


def done(state: RunState) -> dict[str, Any]:
    with isolated_random_state(0, CPU):
        drive(state)
    weights = [value for module in state.modules().values() for value in module.parameters()]
    total = torch.cat([value.double().flatten() for value in weights]).sum()
    assert distributed.mean(total) == total, "the ranks have different weights"
    saved = state.state_dict()
    # Ranks compute one pass more for a virtual step, whose gradient they average.
    timings = ("seconds", "images_per_second", "forward_passes")
    saved["history"] = [{key: value for key, value in line.items() if key not in timings} for line in state.history]
    return {key: saved[key] for key in ("history", "generator", "modules")}


def main() -> None:
    out = Path(sys.argv[1])
    # The supernet normalises its operations with the statistics of the batch by a function of its own.
    supernet: Any = nas_bench_201_supernet
    supernet.batch_norm = by_image
    with distributed.joined("cpu"):
        for name, method in METHODS.items():
            content = done(searching(method))
            if distributed.is_first():
                torch.save(content, out / f"{name}.pt")
        content = done(training())
        if distributed.is_first():
            torch.save(content, out / "training.pt")


if __name__ == "__main__":
    main()
