"""The latents behind a sample of a learnable policy, and what they relax it to.

Faster AutoAugment and DADA differentiate through relaxed draws. Here the policy is sampled as always, and the latents
are drawn given the sample: the two together are distributed as if the sample had been thresholded from the latents. So
what is sampled, scored and applied exactly is what is relaxed.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nas_augment.errors import PolicyError
from nas_augment.gumbel import RelaxedDraw, relaxed_bernoulli, relaxed_categorical
from nas_augment.learnable import LearnablePolicy
from nas_augment.relaxation import Relaxation
from nas_augment.sample import OperationDraw, PolicySample
from nas_augment.soft import straight_through

__all__ = ["PolicyLatents", "latents", "relax"]


class PolicyLatents(NamedTuple):
    """The relaxed draws of a sample, each differentiable in the policy's logits; None where nothing is learned.

    Attributes:
        choice: of the operations: ``(batch, count, operations)`` for slots, else ``(batch, tuples)``.
        gates: of applying each operation, was it chosen or not: ``(batch, count, operations)``, or with ``share="pair"``
            ``(batch, count, tuples)``. RELAX needs them all: which gate is asked depends on the choice, and a control
            variate that saw only that one would jump where the choice changes, and bias the gradient of the choice.
        levels: of the levels of what was chosen, ``(batch, count, levels)``; also where it was not applied or has none.
    """

    choice: RelaxedDraw
    gates: RelaxedDraw | None
    levels: RelaxedDraw | None

    def joined(self) -> RelaxedDraw:
        """Choice and gates side by side, ``(batch, numbers)``, as DADA's estimator and its control variate need them."""
        draws = [self.choice] if self.gates is None else [self.choice, self.gates]
        hard, relaxed, conditional = (torch.cat([draw[at].flatten(1) for draw in draws], 1) for at in range(3))
        # Not reshaped to (batch, -1), which has no meaning for an empty batch.
        log_prob = torch.cat([draw.log_prob[..., None].flatten(1) for draw in draws], 1).sum(1)
        return RelaxedDraw(hard, relaxed, conditional, log_prob)


def latents(
    policy: LearnablePolicy, sample: PolicySample, temperature: float, *, generator: torch.Generator
) -> PolicyLatents:
    """Draw the latents of a sample given the sample.

    Args:
        policy: with the parameters that the sample was drawn with.
        sample: of the policy. With one draw for the batch, each image has latents of its own: use a sample of one.
        temperature: of the relaxations, positive.
        generator: of the noise.

    Raises:
        PolicyError: the sample is not one of the policy, or the temperature is not positive.
    """
    draw = policy.checked(sample)
    choice = _choice(policy, draw, temperature, generator)
    device, gates, levels = policy.choice_logits.device, None, None
    if policy.probability_logits is not None:
        logits = policy.probability_logits[_gate_rows(policy).to(device)].expand(len(draw), -1, -1)
        free = relaxed_bernoulli(logits.detach(), temperature, generator=generator, conditional=False).hard
        index = _gate_index(policy, draw).to(device)
        given = free.scatter(2, index, draw.applied.to(logits)[..., None])
        # Given the choice, the estimate for a gate that was not asked is 0 in the mean: left out, it is no noise.
        asked = torch.zeros_like(free, dtype=torch.bool).scatter(2, index, True)
        logits = torch.where(asked, logits, logits.detach())
        gates = relaxed_bernoulli(logits, temperature, generator=generator, given=given)
    if policy.level_logits is not None:
        logits = policy.level_logits[policy.row(draw.op).to(device)]
        free = relaxed_categorical(logits.detach(), temperature, generator=generator).hard
        drawn = _one_hot(draw.level, free)
        counted = policy.counts_level(draw.op, draw.applied).to(device)[..., None]
        given = torch.where(counted, drawn, free)
        levels = relaxed_categorical(logits, temperature, generator=generator, given=given)
    return PolicyLatents(choice, gates, levels)


def relax(
    policy: LearnablePolicy,
    sample: PolicySample,
    temperature: float,
    *,
    generator: torch.Generator,
    hard_gates: bool = True,
) -> Relaxation:
    """A relaxation through which the soft path is differentiable in all parameters of a policy (Faster AutoAugment).

    * The choice is straight-through: of the soft-max over all operations only the one that was sampled is computed, and
      its weight is 1 with the gradient of its relaxed weight. The others' outputs are taken to be the input; their
      weights sum to the rest, so that the gradient of the sampled one is ``<gradient, T(x) - x>``. For tuples, the
      weight of the tuple is that of each of its operations.
    * Gates are relaxed Bernoulli; with `hard_gates` straight-through: 0 or 1, as sampled.
    * Levels are the policy's number in [0, 1] where it has continuous levels, else straight-through: the level that was
      sampled, with the gradient of its relaxed soft-max.

    With `hard_gates` the images are those of the sample alone, up to the tolerance of the soft path.

    Args:
        policy: with the parameters that the sample was drawn with.
        sample: of the policy, one draw for each image.
        temperature: of the relaxations, positive.
        generator: of the noise.
        hard_gates: see above.

    Differs from the paper: 1. one operation is computed, not all 15 for every image, which costs 10 to 26 times as
    much; 2. gates are straight-through by default, so that the policy that is learned is the one that is used;
    3. one policy of `count` slots rather than a mixture of ten sub-policies.

    Raises:
        PolicyError: the sample is not one of the policy, or the temperature is not positive.

    Example:
        >>> from nas_augment import preset
        >>> policy, generator = LearnablePolicy(preset("fast_aa")), torch.Generator().manual_seed(0)
        >>> images, sample = torch.rand(8, 3, 16, 16), policy.sample(8, generator=generator)
        >>> relaxation = relax(policy, sample, 0.5, generator=generator)
        >>> policy.apply(images, sample, path="soft", relaxation=relaxation).mean().backward()
        >>> all(parameter.grad is not None for parameter in policy.parameters())
        True
    """
    drawn, draw = latents(policy, sample, temperature, generator=generator), policy.checked(sample)
    gate = draw.applied.to(policy.choice_logits)
    if drawn.gates is not None:
        relaxed = drawn.gates.relaxed.gather(2, _gate_index(policy, draw).to(gate.device))[..., 0]
        gate = straight_through(gate, relaxed) if hard_gates else relaxed
    weight = (drawn.choice.relaxed * drawn.choice.hard).sum(-1)[..., None].flatten(1)
    return Relaxation(_level(policy, draw, drawn, generator), gate * straight_through(torch.ones_like(weight), weight))


def _level(policy: LearnablePolicy, draw: OperationDraw, drawn: PolicyLatents, generator: torch.Generator) -> Tensor:
    """The position of the level between the first (0) and the last (1), ``(batch, count)`` float64."""
    if policy.position_logits is not None:
        return policy.position_logits.double().sigmoid()[policy.row(draw.op).to(policy.position_logits.device)]
    last, device = policy.space.levels - 1, policy.choice_logits.device
    if drawn.levels is None:
        # Levels that are not learned are uniform; those of operations that were not applied were not drawn.
        uniform = torch.rand(draw.op.shape, generator=generator, device=generator.device)
        free = (uniform * policy.space.levels).long().to(draw.op.device)
        return torch.where(draw.applied, draw.level, free).double().to(device) / last
    # In float64 the position of the level that was sampled is that of the table exactly.
    grid = torch.arange(last + 1, dtype=torch.float64, device=device) / last
    relaxed = (drawn.levels.relaxed.double() * grid).sum(-1)
    return straight_through((drawn.levels.hard.double() * grid).sum(-1), relaxed)


def _gate_rows(policy: LearnablePolicy) -> Tensor:
    """The row of the probability of every operation (of every tuple, for pairs) in each slot, ``(count, ...)``."""
    if policy.share == "pair":
        return policy.row(policy.tuples).T
    return policy.row(torch.arange(len(policy.space.operations))[:, None].expand(-1, policy.count)).T


def _gate_index(policy: LearnablePolicy, draw: OperationDraw) -> Tensor:
    """Which of the columns of `_gate_rows` was asked in each slot, ``(batch, count, 1)``."""
    if policy.share != "pair":
        return draw.op[..., None]
    return policy.tuple_index(draw.op)[:, None, None].expand(-1, policy.count, 1)


def _choice(
    policy: LearnablePolicy, draw: OperationDraw, temperature: float, generator: torch.Generator
) -> RelaxedDraw:
    logits = policy.choice_logits.expand(len(draw), *policy.choice_logits.shape)
    index = draw.op if policy.choice == "slots" else policy.tuple_index(draw.op)
    if (index < 0).any():
        raise PolicyError("the sample has operations that this policy never draws together.")
    return relaxed_categorical(logits, temperature, generator=generator, given=_one_hot(index, logits))


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter(-1, index.to(like.device)[..., None], 1.0)
