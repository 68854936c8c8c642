"""The export to kornia reproduces recorded samples, operation by operation within what `export.to_kornia` says."""

import copy
import itertools
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nas_augment import ImagesError, OperationDraw, Policy, PolicyError, apply_operations, fixed, preset, published
from nas_augment.applying import program
from nas_augment.fixed import FixedPolicy
from nas_augment.kornia_transform import KorniaTransform, apply_kornia
from nas_augment.operations import CODES, GEOMETRIC
from nas_augment.stages import UniformOperations

Contents = Callable[..., Tensor]

TOLERANCE = {
    "Identity": 0.0, "AutoContrast": 1.1, "Invert": 0.0, "Equalize": 0.0, "Solarize": 0.0, "Posterize": 0.0,
    "Contrast": 2.0, "Color": 1.5, "Brightness": 1.0, "Sharpness": 1.5, "Cutout": 0.0,
}  # fmt: skip
POLICIES = {
    "cutout": fixed.cutout(5, 2).decide(),
    "autoaugment": published.autoaugment("svhn", before=(fixed.Crop(2), fixed.Flip())).decide(),
    "uniform": Policy((UniformOperations(preset("fast_aa"), 2), fixed.Cutout(6, 0.5))),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_level(name: str) -> OperationDraw:
    space = preset(name)
    op = torch.arange(len(space.operations)).repeat_interleave(space.levels * 4)
    level = torch.arange(space.levels).repeat_interleave(4).repeat(len(space.operations))
    sign = torch.where(space.signed()[op], torch.tensor([1, -1]).repeat(len(op) // 2), 1).to(torch.int8)
    place = torch.rand(len(op), 1, 2, generator=generator(1))
    return OperationDraw(space, op[:, None], torch.ones(len(op), 1).bool(), level[:, None], sign[:, None], place)


@pytest.mark.parametrize("space", ["fast_aa", "trivial_wide", "pba"])
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (33, 47, 3), (40, 64, 1)])
def test_every_operation_is_within_its_tolerance(
    space: str, height: int, width: int, channels: int, contents: Contents
) -> None:
    draw = every_level(space)
    images = contents(len(draw), height, width, channels)
    found = 255 * apply_kornia(images.float() / 255, draw)
    apart = (found - apply_operations(images, draw)).abs()
    code = program(draw, height, width)[0][:, 0]
    for name in {operation.name for operation in draw.space.operations}:
        of = apart[code == CODES[name]]
        if name in GEOMETRIC:
            assert (of > 1e-3).float().mean() < 0.01, name
        elif len(of):
            assert of.max() <= TOLERANCE[name] + 1e-3, (name, float(of.max()))


@pytest.mark.parametrize("name", POLICIES)
def test_a_recorded_sample_is_reproduced(name: str, contents: Contents) -> None:
    policy, images = POLICIES[name], contents(200, 32, 32)
    recorded = FixedPolicy(policy.stages)
    sample = recorded.sample(200, generator=generator(3))
    module = policy.to_kornia(generator(3))
    out = module(images.float() / 255, sample)
    far = ((255 * out - recorded.apply(images, sample)).abs() > 4).float().mean()
    assert far == 0 if name == "cutout" else far < 0.01
    assert torch.equal(out, module(images.float() / 255, sample))
    assert torch.equal(out, module(images.float() / 255))  # the same draw from the same seed


def test_it_is_a_module_like_others() -> None:
    module = POLICIES["uniform"].to_kornia()
    assert isinstance(module, KorniaTransform)
    assert not any("kornia.augmentation" in type(part).__module__ for part in module.modules())
    images = torch.rand(6, 3, 16, 16, generator=generator())
    state = torch.random.get_rng_state()
    first = module(images)
    assert torch.equal(state, torch.random.get_rng_state())
    # A copy is another transform, such as that of a second view.
    copies = [pickle.loads(pickle.dumps(module))(images), copy.deepcopy(module)(images), first]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(copies, 2))
    assert not torch.equal(module(images), first)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert torch.nn.Sequential(module)(images.to(dtype)).dtype == dtype
    assert module(images[:0]).shape == (0, 3, 16, 16)
    assert module(images.contiguous(memory_format=torch.channels_last)).shape == images.shape


class Noise:
    """A stage that kornia knows nothing of."""

    numbers = 1

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        return images


def test_what_cannot_be_exported_is_refused() -> None:
    with pytest.raises(PolicyError, match="a stage of type Noise cannot be exported to kornia; expected Crop, Flip"):
        Policy((Noise(),)).to_kornia()
    module, images = POLICIES["uniform"].to_kornia(generator()), torch.rand(4, 3, 8, 8, generator=generator())
    with pytest.raises(ImagesError, match=r"floats in \[0, 1\], not torch.uint8; pass images.float\(\) / 255"):
        module((images * 255).to(torch.uint8))
    with pytest.raises(ImagesError, match="look for NaN"):
        module(images * torch.nan)
    with pytest.raises(ImagesError, match="4 images, but the sample was drawn for 2"):
        module(images, FixedPolicy(module.policy.stages).sample(2, generator=generator()))  # type: ignore[arg-type, union-attr]
    with pytest.raises(PolicyError, match="drawn from another policy"):
        module(images, fixed.cutout().sample(4, generator=generator()))
    with pytest.raises(ImagesError, match="the draw is for"):
        apply_kornia(images, every_level("fast_aa"))
    draw = every_level("fast_aa").map(lambda tensor: tensor[:4])
    with pytest.raises(ImagesError, match="images of 8 x 1 pixels cannot be warped by kornia"):
        apply_kornia(images[..., :1], draw)
