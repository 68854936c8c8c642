"""One seed gives one sample, wherever the parameters and the images are."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nas_augment import AugmentationPolicy, LearnablePolicy, fixed, preset, published

SETTINGS: list[dict[str, Any]] = [
    {},
    {"choice": "joint", "share": "operation", "probability": 0.5},
    {"choice": "unordered", "share": "pair", "per": "batch", "continuous_levels": True},
    {"learn_levels": False, "count_void_levels": True},
]


def policy(settings: dict[str, Any]) -> LearnablePolicy:
    made = LearnablePolicy(preset("fast_aa"), before=(fixed.Crop(2),), after=(fixed.Cutout(4),), **settings)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made


class Devices(TorchDispatchMode):
    """Records what draws random numbers off the host, and what computes there at all; copies to the host may."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn, self.elsewhere = 0, list[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        tensors = [each for each in (*args, out) if isinstance(each, Tensor)]
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        self.drawn += is_random
        is_copy = func is torch.ops.aten._to_copy.default and out.device.type == "cpu"
        if isinstance(out, Tensor) and not is_copy and any(each.device.type != "cpu" for each in tensors):
            self.elsewhere.append(str(func))
        return out


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sampling_takes_place_on_the_host_though_the_parameters_are_on_a_gpu(settings: dict[str, Any]) -> None:
    """Without a GPU: tensors of the device ``cuda`` that have no memory, and every call of ATen seen."""
    learned = policy(settings)
    generator = torch.Generator().manual_seed(1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for name, parameter in list(learned.named_parameters()):
            setattr(learned, name, nn.Parameter(torch.empty(parameter.shape, device="cuda")))
        assert learned.choice_logits.is_cuda
        with Devices() as devices:
            sample = learned.sample(6, generator=generator)
    assert devices.drawn == 3  # the crop, Cutout, and all of the operations
    assert devices.elsewhere == []
    assert sample.operations is not None
    assert not any(each.is_cuda for each in (*sample.draws, sample.operations.op, sample.operations.level))


def test_random_numbers_off_the_host_would_be_noticed() -> None:
    with FakeTensorMode(), Devices() as devices:
        (torch.rand(3, device="cuda") < torch.rand(3, device="cuda").sigmoid()).cpu()
    assert devices.drawn == 2
    assert devices.elsewhere == ["aten.rand.default"] * 2 + ["aten.sigmoid.default", "aten.lt.Tensor"]


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device: draws and images cannot be compared with one"
)
@pytest.mark.parametrize(
    "make", [*[lambda s=s: policy(s) for s in SETTINGS], published.randaugment, published.autoaugment_cifar10]
)
def test_a_gpu_gives_the_same_samples_and_the_same_images(make: Callable[[], AugmentationPolicy]) -> None:
    here = make()
    there = deepcopy(here).cuda()
    images = torch.randint(0, 256, (64, 3, 16, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    for seed in range(5):
        first = here.sample(64, generator=torch.Generator().manual_seed(seed))
        second = there.sample(64, generator=torch.Generator().manual_seed(seed))
        assert all(torch.equal(a, b) for a, b in zip(first.draws, second.draws, strict=True))
        if first.operations is not None and second.operations is not None:
            for name in ("op", "applied", "level", "sign", "center"):
                assert torch.equal(getattr(first.operations, name), getattr(second.operations, name)), name
        torch.testing.assert_close(there.log_prob(second).cpu(), here.log_prob(first))
        assert torch.equal(there.apply(images.cuda(), second).cpu(), here.apply(images, first))
