"""The enhancements of kornia that are Pillow's, and one that is not in older releases."""

import pytest
import torch

from nas_augment.enhancement import ENHANCEMENTS, enhance


@pytest.mark.parametrize("name", ENHANCEMENTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_factor_one_changes_nothing_and_images_do_not_meet(name: str, channels: int) -> None:
    images = torch.rand(4, channels, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(enhance(name, images, torch.ones(4)), images)
    factor = torch.tensor([0.2, 0.7, 1.3, 1.8], dtype=torch.float64)
    alone = torch.cat([enhance(name, images[n : n + 1], factor[n : n + 1]) for n in range(4)])
    torch.testing.assert_close(enhance(name, images, factor), alone)


def test_factor_zero_is_the_degenerate_image() -> None:
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).double().view(3, 1, 1)).sum(1, keepdim=True)
    none = torch.zeros(2)
    assert (enhance("Brightness", images, none) == 0).all()
    torch.testing.assert_close(enhance("Color", images, none), grey.expand_as(images), rtol=1e-6, atol=1e-6)
    mean = grey.mean((2, 3), keepdim=True)
    torch.testing.assert_close(enhance("Contrast", images, none), mean.expand_as(images), rtol=1e-6, atol=1e-6)
    small = images[..., :2, :]
    assert enhance("Sharpness", small, none) is small
