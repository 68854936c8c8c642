"""What every policy refuses, and what its parts compose to."""

from collections.abc import Callable

import pytest
import torch

from nas_augment import (
    Annotated,
    AnnotationOptions,
    AugmentationPolicy,
    Augmented,
    ImagesError,
    LearnablePolicy,
    PolicySample,
    Soft,
    apply_operations,
    preset,
)
from nas_augment.applying import Path
from nas_augment.fixed import Crop, Cutout, FixedPolicy, crop_and_flip
from nas_augment.policy import check_images
from nas_augment.published import randaugment

NO_FILL = AnnotationOptions(mask_fill=0)


def test_forward_is_the_three_parts_composed() -> None:
    policy = crop_and_flip()
    images = torch.rand(4, 3, 8, 8)
    sample = policy.sample(4, generator=torch.Generator().manual_seed(5))
    augmented = policy(images, generator=torch.Generator().manual_seed(5))
    assert isinstance(augmented, Augmented)
    assert torch.equal(augmented.images, policy.apply(images, sample))
    assert torch.equal(augmented.log_prob, policy.log_prob(sample))
    other = policy(images, generator=torch.Generator().manual_seed(6))
    assert not torch.equal(augmented.images, other.images)


@pytest.mark.parametrize("path", ["exact", "soft", Soft(interpolation="nearest")], ids=str)
@pytest.mark.parametrize("make", [lambda: LearnablePolicy(preset("fast_aa"), before=(Crop(2),)), randaugment])
def test_forward_takes_the_path_along(make: Callable[[], AugmentationPolicy], path: Path) -> None:
    policy = make()
    images = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    sample = policy.sample(6, generator=torch.Generator().manual_seed(1))
    expected = policy.apply_annotated(images, sample, path=path, masks=images[:, 0].bool(), options=NO_FILL)
    alone = policy(images, generator=torch.Generator().manual_seed(1), path=path)
    both = policy(
        images, generator=torch.Generator().manual_seed(1), path=path, masks=images[:, 0].bool(), options=NO_FILL
    )
    assert isinstance(alone, Augmented)
    assert isinstance(both, Annotated)
    assert torch.equal(alone.images, expected.images)
    assert torch.equal(both.images, expected.images)
    assert (path == "exact") == torch.equal(expected.images, policy.apply(images, sample))


def test_a_policy_without_paths_says_so() -> None:
    class Plain(FixedPolicy):
        def apply(self, images: torch.Tensor, sample: PolicySample) -> torch.Tensor:  # type: ignore[override]
            return images

    with pytest.raises(TypeError, match=r"Plain.apply\(\) got an unexpected keyword argument 'path'"):
        Plain()(torch.rand(2, 3, 4, 4), generator=torch.Generator(), path="soft")


class CountRangeChecks(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func.overloadpacket is torch.ops.aten.aminmax
        return func(*args, **(kwargs or {}))


def test_the_range_of_floats_is_read_once_a_call() -> None:
    policy = LearnablePolicy(preset("fast_aa"), before=(Crop(2),), after=(Cutout(4),))
    images = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    sample = policy.sample(6, generator=torch.Generator().manual_seed(1))
    assert sample.operations is not None
    operations = sample.operations
    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: policy(images, generator=torch.Generator()),
        "soft": lambda: policy(images, generator=torch.Generator(), path="soft"),
        "annotated": lambda: policy(images, generator=torch.Generator(), keypoints=torch.rand(6, 2, 2)),
        "apply": lambda: policy.apply(images, sample),
        "operations": lambda: apply_operations(images, operations),
        "decided": lambda: policy.decide().apply(images, generator=torch.Generator()),
        "published": lambda: randaugment()(images, generator=torch.Generator()),
        "grid": lambda: policy.grid(images),
    }
    for name, call in calls.items():
        with CountRangeChecks() as counted:
            call()
        assert counted.count == 1, name


def test_the_interface_is_abstract() -> None:
    assert AugmentationPolicy.__abstractmethods__ == {"sample", "log_prob", "apply", "decide"}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\); expected \(batch, channels, height, width\)"),
        (torch.zeros(1, 4, 8, 8), "4 channels; expected 1"),
        (torch.zeros(1, 3, 0, 8), "at least one pixel"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "torch.int64; expected uint8"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.complex64), "torch.complex64; expected uint8"),
        (torch.full((1, 3, 8, 8), 255.0), "range from 255.0 to 255.0; expected floats in"),
        (torch.full((1, 3, 8, 8), -0.1), "before normalising"),
        (torch.full((1, 3, 8, 8), torch.nan), "look for NaN"),
        (torch.full((1, 3, 8, 8), torch.inf), "from inf to inf"),
    ],
)
def test_what_is_not_images_is_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        check_images(images)
    with pytest.raises(ImagesError, match=message):
        crop_and_flip()(images, generator=torch.Generator())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_of_every_dtype_pass(dtype: torch.dtype) -> None:
    images = torch.ones(2, 1, 4, 4, dtype=dtype)
    assert crop_and_flip()(images, generator=torch.Generator()).images.dtype == dtype
    check_images(images[:0])
