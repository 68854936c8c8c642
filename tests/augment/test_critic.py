"""The critic's losses against closed forms."""

import pytest
import torch
from torch import Tensor

from nas_augment import ImagesError, PolicyError
from nas_augment.critic import critic_loss, gradient_penalty, policy_loss


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def linear(images: Tensor) -> Tensor:
    """Its gradient is 2 at each of n entries: norm 2 sqrt(n) per image."""
    return 2 * images.flatten(1).sum(1)


def test_penalty_takes_the_norm_of_a_whole_image() -> None:
    real, fake = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    penalty = gradient_penalty(linear, real, fake, generator=generator())
    assert float(penalty) == pytest.approx((2 * 48**0.5 - 1) ** 2, rel=1e-5)


def test_penalty_is_taken_between_the_two() -> None:
    seen: list[Tensor] = []

    def critic(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return linear(images)

    gradient_penalty(critic, torch.zeros(200, 1, 2, 2), torch.ones(200, 1, 2, 2), generator=generator())
    (between,) = seen
    assert (between == between[:, :, :1, :1]).all()  # one share for an image
    assert between[:, 0, 0, 0].unique().numel() > 190
    assert 0 <= between.min() <= between.max() <= 1


def test_losses_are_those_of_the_paper() -> None:
    real, fake = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4, requires_grad=True)
    loss = critic_loss(linear, real, fake, generator=generator(), penalty=0.0)
    torch.testing.assert_close(loss, linear(fake).mean() - linear(real).mean())
    policy_loss(linear, fake).backward()
    assert fake.grad is not None
    torch.testing.assert_close(fake.grad, torch.full_like(fake, -2 / 5))


def test_the_critic_can_be_trained_through_the_penalty() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    loss = critic_loss(
        lambda x: weight * x.flatten(1).sum(1), torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), generator=generator()
    )
    loss.backward()  # 10 (w - 1)^2
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(40.0)


def test_what_does_not_fit_is_refused() -> None:
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(ImagesError, match="expected equal floats"):
        gradient_penalty(linear, images, images[:1], generator=generator())
    with pytest.raises(ImagesError, match=r"torch\.uint8"):
        gradient_penalty(linear, images, images.to(torch.uint8), generator=generator())
    with pytest.raises(PolicyError, match="one number an image"):
        policy_loss(lambda x: x, images.clone().requires_grad_())
    with pytest.raises(ImagesError, match='apply the policy with path="soft"'):
        policy_loss(linear, images)
