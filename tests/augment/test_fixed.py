"""Crop, flip and cutout against longhand loops, and the policies composed of them."""

import pytest
import torch
from torch import Tensor

from nas_augment import ImagesError, PolicyError, PolicySample
from nas_augment.fixed import Crop, Cutout, FixedPolicy, Flip, crop_and_flip, cutout, identity
from nas_augment.testing import check_policy


def images(batch: int = 5, height: int = 6, width: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("policy", [identity(), crop_and_flip(), cutout(5), FixedPolicy([Cutout(3, 0.5), Crop(1)])])
def test_fixed_policies_conform(policy: FixedPolicy) -> None:
    check_policy(policy)
    assert not list(policy.parameters())
    assert policy(images(), generator=torch.Generator()).log_prob.tolist() == [0.0] * 5


def test_what_is_returned_is_no_view_of_what_was_given() -> None:
    x = images()
    moved = identity()(x, generator=torch.Generator()).images
    assert torch.equal(moved, x)
    moved.zero_()
    assert int(x.sum()) > 0


def test_numbers_of_numpy_become_json() -> None:
    numpy = pytest.importorskip("numpy")
    policy = FixedPolicy((Flip(numpy.float32(0.25)), Cutout(3, numpy.float64(0.5)))).decide()
    assert policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("as_float", [False, True])
def test_crop_equals_a_loop_over_pixels(as_float: bool) -> None:
    x = images() / 255 if as_float else images()
    draw = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.5], [0.0, 0.999], [0.3, 0.7]])
    cropped = Crop(2).apply(x, draw)
    for n, (u, v) in enumerate(draw.tolist()):
        up, left = int(u * 5) - 2, int(v * 5) - 2
        for i in range(6):
            for j in range(9):
                inside = 0 <= i + up < 6 and 0 <= j + left < 9
                expected = x[n, :, i + up, j + left] if inside else torch.zeros(3, dtype=x.dtype)
                assert torch.equal(cropped[n, :, i, j], expected)


def test_crop_draws_every_offset_about_equally_often() -> None:
    position = torch.zeros(1, 1, 3, 3)
    position[0, 0, 1, 1] = 1
    batch = position.expand(9000, 1, 3, 3)
    moved = FixedPolicy([Crop(1)])(batch, generator=torch.Generator().manual_seed(0)).images
    count = moved.sum(0).flatten()
    assert count.sum() == 9000
    assert ((count - 1000) ** 2 / 1000).sum() < 33  # chi-square of 8 degrees of freedom at p = 6e-5


def test_flip_mirrors_columns_where_drawn() -> None:
    flipped = Flip(0.5).apply(images(), torch.tensor([[0.0], [0.49], [0.5], [0.51], [0.99]]))
    assert torch.equal(flipped[:2], images()[:2].flip(3))
    assert torch.equal(flipped[2:], images()[2:])


@pytest.mark.parametrize(("probability", "mirrored"), [(0.0, False), (1.0, True)])
def test_flip_never_and_always(probability: float, mirrored: bool) -> None:
    out = FixedPolicy([Flip(probability)])(images(), generator=torch.Generator()).images
    assert torch.equal(out, images().flip(3) if mirrored else images())


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 30])
def test_cutout_equals_a_loop_over_pixels_at_the_borders_too(length: int) -> None:
    draw = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.5], [0.0, 0.999], [0.3, 0.7]])
    covered = Cutout(length, fill=1.0).apply(images(), draw)
    for n, (u, v) in enumerate(draw.tolist()):
        top, left = int(u * 6) - length // 2, int(v * 9) - length // 2
        for i in range(6):
            for j in range(9):
                inside = top <= i < top + length and left <= j < left + length
                expected = [255, 255, 255] if inside else images()[n, :, i, j].tolist()
                assert covered[n, :, i, j].tolist() == expected


def test_fill_of_cutout_means_the_same_for_both_dtypes() -> None:
    draw = torch.full((5, 2), 0.5)
    whole = Cutout(40, fill=0.5)
    assert set(whole.apply(images(), draw).flatten().tolist()) == {128}
    assert set(whole.apply(images() / 255, draw).flatten().tolist()) == {0.5}


def test_stages_apply_in_order() -> None:
    draws = FixedPolicy([Crop(2), Flip(1.0)]).sample(5, generator=torch.Generator().manual_seed(1))
    expected = Crop(2).apply(images(), draws.draws[0]).flip(3)
    assert torch.equal(FixedPolicy([Crop(2), Flip(1.0)]).apply(images(), draws), expected)


def test_a_sample_of_another_policy_is_refused() -> None:
    sample = crop_and_flip().sample(5, generator=torch.Generator())
    with pytest.raises(PolicyError, match="another policy"):
        cutout().apply(images(), sample)
    with pytest.raises(ImagesError, match="5 images, but the sample was drawn for 2"):
        crop_and_flip().apply(images(), PolicySample(tuple(d[:2] for d in sample.draws), 2))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(PolicyError, match="padding of a crop is -1"):
        Crop(-1)
    with pytest.raises(PolicyError, match=r"flip is 1\.5"):
        Flip(1.5)
    with pytest.raises(PolicyError, match="length of cutout is -2"):
        Cutout(-2)
    with pytest.raises(PolicyError, match="fill of cutout is 125"):
        Cutout(16, 125)


def test_the_representation_names_the_stages() -> None:
    assert repr(cutout(8, 2)) == ("FixedPolicy(Crop(padding=2), Flip(probability=0.5), Cutout(length=8, fill=0.0))")
