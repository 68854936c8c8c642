"""The record of what was drawn: selection, devices, and what is refused."""

from typing import Any, cast

import pytest
import torch

from nas_augment import ImagesError, LearnablePolicy, OperationDraw, PolicyError, PolicySample, fixed, preset


def sample() -> PolicySample:
    policy = LearnablePolicy(preset("fast_aa"), before=(fixed.Crop(2),))
    return policy.sample(6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([0, 1, 1, 0, 0, 0]).bool()])
def test_selection_takes_the_draws_of_some_images(index: slice | torch.Tensor) -> None:
    policy = LearnablePolicy(preset("fast_aa"), before=(fixed.Crop(2),))
    images = torch.randint(0, 256, (6, 3, 9, 9), dtype=torch.uint8)
    some = sample()[index]
    assert len(some) == 2
    assert torch.equal(policy.apply(images[1:3], some), policy.apply(images, sample())[1:3])


def test_a_sample_moves_as_a_whole() -> None:
    moved = sample().to("meta")
    assert moved.draws[0].is_meta
    assert moved.operations is not None
    assert moved.operations.op.is_meta


def test_an_empty_sample_keeps_its_operations() -> None:
    empty = LearnablePolicy(preset("fast_aa")).sample(0, generator=torch.Generator())
    assert empty.to("cpu").operations is not None
    assert empty[:0].operations is not None


def test_images_must_be_as_many_as_were_drawn() -> None:
    with pytest.raises(ImagesError, match="5 images, but the sample was drawn for 6"):
        sample().check(torch.zeros(5, 3, 2, 2))


def test_wrong_shapes_and_indices_are_refused() -> None:
    draw = sample().operations
    assert draw is not None
    with pytest.raises(PolicyError, match=r"op is \(6,\)"):
        OperationDraw(draw.space, draw.op[:, 0], draw.applied, draw.level, draw.sign, draw.center)
    with pytest.raises(PolicyError, match="center of a draw"):
        OperationDraw(draw.space, draw.op, draw.applied, draw.level, draw.sign, draw.center[:, :1])
    with pytest.raises(PolicyError, match="op of a draw goes to 15; space 'fast_aa' has 15"):
        OperationDraw(draw.space, draw.op * 0 + 15, draw.applied, draw.level, draw.sign, draw.center).check()
    with pytest.raises(PolicyError, match="level of a draw goes to 10"):
        OperationDraw(draw.space, draw.op, draw.applied, draw.level * 0 + 10, draw.sign, draw.center).check()
    with pytest.raises(PolicyError, match=r"sample of 4 images has draws for \[6\]"):
        PolicySample(sample().draws, 4, None)


def test_a_generator_that_is_put_back_goes_on_as_it_would_have() -> None:
    """What resuming in the middle of an epoch needs."""
    policy, generator = LearnablePolicy(preset("fast_aa"), before=(fixed.Crop(2),)), torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (6, 3, 9, 9), dtype=torch.uint8)
    policy(images, generator=generator)
    state = generator.get_state()
    expected = [policy(images, generator=generator).images for _ in range(3)]
    later = torch.Generator()
    later.set_state(state)
    resumed = [policy(images, generator=later).images for _ in range(3)]
    assert all(torch.equal(first, second) for first, second in zip(expected, resumed, strict=True))
    assert not torch.equal(expected[0], expected[1])


def test_draws_in_a_list_are_the_tuple_that_they_were() -> None:
    draws = [torch.zeros(2, 1)]
    made = PolicySample(cast("Any", draws), 2)
    draws.clear()
    assert len(made.draws) == 1
