"""The critic of Faster AutoAugment: augmented images shall look as if drawn from the data (Hataya et al., 2020)."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas_augment.errors import ImagesError, PolicyError

__all__ = ["critic_loss", "gradient_penalty", "policy_loss"]

Critic = Callable[[Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, *, generator: torch.Generator) -> Tensor:
    """``mean_i (||grad critic(x_i)|| - 1)^2`` at points between real and augmented images (Gulrajani et al., 2017).

    The norm is that of the whole gradient of one image, over channels and pixels together.

    Args:
        critic: one number for each image, ``(batch, ...) -> (batch,)``; no batch normalisation, which would mix images.
        real: clean images, ``(batch, channels, height, width)`` float.
        fake: augmented images of the same shape.
        generator: draws where between them.

    Raises:
        ImagesError: shapes differ or images are not floating point.
    """
    if real.shape != fake.shape or not (real.is_floating_point() and fake.is_floating_point()):
        raise ImagesError(
            f"real is {real.dtype} {tuple(real.shape)}, fake {fake.dtype} {tuple(fake.shape)}; expected equal floats."
        )
    share = (
        torch.rand(len(real), generator=generator, device=generator.device).to(real).view(-1, *[1] * (real.ndim - 1))
    )
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(_score(critic, between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def critic_loss(
    critic: Critic, real: Tensor, fake: Tensor, *, generator: torch.Generator, penalty: float = 10.0
) -> Tensor:
    """What the critic minimises: the score of augmented images minus that of real ones, and the gradient penalty."""
    distance = _score(critic, fake.detach()).mean() - _score(critic, real).mean()
    return distance + penalty * gradient_penalty(critic, real, fake, generator=generator)


def policy_loss(critic: Critic, fake: Tensor) -> Tensor:
    """What the policy minimises: minus the score of its images, differentiable in its parameters.

    Those are images of the soft path under a relaxation of what was sampled, `latents.relax`. For a policy without one,
    the scores are rewards for `score_function.score_surrogate`.

    Raises:
        ImagesError: the images carry no gradient, as those of the exact path.
        PolicyError: the critic does not give one number an image.

    Example:
        >>> from nas_augment import LearnablePolicy, preset
        >>> from nas_augment.latents import relax
        >>> policy, generator = LearnablePolicy(preset("fast_aa")), torch.Generator().manual_seed(0)
        >>> images, sample = torch.rand(8, 3, 16, 16), policy.sample(8, generator=generator)
        >>> relaxation = relax(policy, sample, temperature=0.5, generator=generator)
        >>> fake = policy.apply(images, sample, path="soft", relaxation=relaxation)
        >>> policy_loss(lambda x: x.square().flatten(1).sum(1), fake).backward()
        >>> policy.choice_logits.grad.shape
        torch.Size([2, 15])
    """
    if not fake.requires_grad:
        raise ImagesError(
            'the augmented images carry no gradient; apply the policy with path="soft" and a relaxation of its sample '
            "(nas_augment.latents.relax), or use the scores as rewards for score_surrogate."
        )
    return -_score(critic, fake).mean()


def _score(critic: Critic, images: Tensor) -> Tensor:
    score = critic(images)
    if score.shape != (len(images),):
        raise PolicyError(f"the critic gives {tuple(score.shape)}; expected one number an image, ({len(images)},).")
    return score
