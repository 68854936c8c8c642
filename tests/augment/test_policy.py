"""What every policy refuses, and what its parts compose to."""

import pytest
import torch

from nas_augment import AugmentationPolicy, Augmented, ImagesError
from nas_augment.fixed import crop_and_flip
from nas_augment.policy import check_images


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
