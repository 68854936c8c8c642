"""Images per second of CPU time under per-image random policies, beside kornia, torchvision and Pillow in the same run.

Usage: python benchmarks/bench_augment.py [--rounds N] [--compile]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nas_augment import apply_operations, preset
from nas_augment.applying import program
from nas_augment.exact import dense
from nas_augment.export import apply_pillow
from nas_augment.recipe import recipe
from nas_augment.stages import UniformOperations

warnings.filterwarnings("ignore")
STAGE = UniformOperations(preset("fast_aa"), 2)
BATCHES = 5


def ours(images: Tensor, draws: list[Tensor]) -> Callable[[int], Any]:
    return lambda n: apply_operations(images, STAGE.decode(draws[n]), backend="grouped")


def compiled(images: Tensor, draws: list[Tensor]) -> Callable[[int], Any]:
    stage = torch.compile(dense, fullgraph=True)

    def run(n: int) -> Tensor:
        draw = STAGE.decode(draws[n])
        code, value = program(draw, *images.shape[2:])
        out = images
        for slot in range(2):
            out = stage(out, code[:, slot].clone(), value[:, slot].clone(), draw.center[:, slot].clone())
        return out

    return run


def pillow(images: Tensor, draws: list[Tensor], convert: bool) -> Callable[[int], Any]:
    """The same policies by Pillow, one image at a time; decoding the draws is not timed."""
    import numpy as np
    from PIL import Image

    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    pictures = [Image.fromarray(array) for array in arrays]
    height, width = images.shape[2:]
    recipes = [[recipe((STAGE,), (row[None],), height, width) for row in draw] for draw in draws]

    def run(n: int) -> Any:
        if not convert:
            return [apply_pillow(picture, steps) for picture, steps in zip(pictures, recipes[n], strict=True)]
        made = [
            torch.from_numpy(np.array(apply_pillow(Image.fromarray(image.permute(1, 2, 0).numpy()), steps)))
            for image, steps in zip(images, recipes[n], strict=True)
        ]
        return torch.stack(made).permute(0, 3, 1, 2).contiguous()

    return run


def torchvision_functional(images: Tensor, draws: list[Tensor]) -> Callable[[int], Any]:
    """The same policies by torchvision's functions, one image at a time; decoding the draws is not timed."""
    from nas_augment.torchvision_transform import apply_torchvision

    height, width = images.shape[2:]
    recipes = [[recipe((STAGE,), (row[None],), height, width) for row in draw] for draw in draws]
    return lambda n: torch.stack([apply_torchvision(i, r) for i, r in zip(images, recipes[n], strict=True)])


def torchvision_transform(images: Tensor, name: str) -> Callable[[int], Any]:
    """Torchvision's own policy, one image at a time, so that every image has a policy of its own."""
    from torchvision.transforms import v2

    transform = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10) if name == "auto" else v2.RandAugment(2, 9)
    return lambda n: torch.stack([transform(image) for image in images])


def kornia_per_image(images: Tensor) -> Callable[[int], Any]:
    """Kornia's AutoAugment draws one policy for a batch: one call for each image gives each its own."""
    from kornia.augmentation.auto import AutoAugment

    transform, floats = AutoAugment("cifar10"), images.float() / 255
    return lambda n: torch.cat([transform(image[None]) for image in floats])


def measure(images: Tensor, rounds: int, with_compiled: bool) -> dict[str, float]:
    """Median CPU seconds of each way for a batch; in every round each way does `BATCHES` batches in a row."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(len(images), STAGE.numbers, generator=generator) for _ in range((rounds + 1) * BATCHES)]
    ways: dict[str, Callable[[int], Any]] = {
        "ours, exact uint8": ours(images, draws),
        "Pillow, with conversions": pillow(images, draws, True),
        "Pillow, Pillow in and out": pillow(images, draws, False),
        "torchvision functions, same policies": torchvision_functional(images, draws),
        "torchvision AutoAugment": torchvision_transform(images, "auto"),
        "torchvision RandAugment(2, 9)": torchvision_transform(images, "rand"),
        "kornia AutoAugment": kornia_per_image(images),
        "copy of the batch (bound)": lambda n: images.clone(),
    }
    if with_compiled:
        ways["ours, dense, compiled"] = compiled(images, draws)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(rounds + 1):
        for name, run in ways.items():
            start = time.process_time()
            for batch in range(n * BATCHES, (n + 1) * BATCHES):
                run(batch)
            times[name].append((time.process_time() - start) / BATCHES)
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="also the dense backend compiled by inductor")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for batch, size in ((128, 32), (32, 224)):
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(0, 256, (batch, 3, size, size), generator=generator, dtype=torch.uint8)
        seconds = measure(images, arguments.rounds, arguments.compile)
        own = seconds["ours, exact uint8"]
        print(f"\n{batch} x 3 x {size} x {size}, one thread\n\n| way | images/s | ours is faster by |\n|---|---:|---:|")
        for name, each in seconds.items():
            print(f"| {name} | {batch / each:,.0f} | {each / own:.2f} |")


if __name__ == "__main__":
    main()
