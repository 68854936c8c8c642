"""The latents of a sample: distributed as drawn forwards, RELAX on them without bias, and searches that use them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import LearnablePolicy, Operation, PolicyError, Relaxation, Soft, Space, preset
from nas_augment.critic import critic_loss, policy_loss
from nas_augment.gumbel import relax_gradients, relaxed_bernoulli, relaxed_categorical
from nas_augment.latents import latents, relax
from nas_augment.sample import PolicySample

SMALL = Space(
    "small", (Operation("Invert"), Operation("Brightness", 0.1, 1.9, "factor"), Operation("Posterize", 4, 8, "bits")), 5
)
KINDS: list[dict[str, Any]] = [
    {},
    {"choice": "joint", "share": "pair"},
    {"choice": "unordered", "share": "operation"},
    {"share": "operation"},
    {"continuous_levels": True},
    {"probability": 0.7},
    {"learn_levels": False},
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(space: Space = SMALL, count: int = 2, **settings: Any) -> LearnablePolicy:
    """A policy with parameters that are not zero."""
    policy = LearnablePolicy(space, count, **settings)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(9)))
    return policy


def asked_gates(policy: LearnablePolicy, op: Tensor) -> Tensor:
    """Which gate of each slot belongs to the operation that was chosen, ``(batch, count, 1)``."""
    if policy.share == "pair":
        return policy.tuple_index(op)[:, None, None].expand(-1, policy.count, 1)
    return op[..., None]


@pytest.mark.parametrize("settings", KINDS)
def test_latents_are_those_that_give_the_sample(settings: dict[str, Any]) -> None:
    policy = trained(**settings)
    sample = policy.sample(60, generator=generator())
    drawn, operations = latents(policy, sample, 0.5, generator=generator(1)), sample.operations
    assert operations is not None
    chosen = drawn.choice.hard.argmax(-1)
    expected = operations.op if policy.choice == "slots" else policy.tuple_index(operations.op)
    assert torch.equal(chosen, expected)
    assert torch.equal(drawn.choice.relaxed.argmax(-1), chosen)
    log_prob = drawn.choice.log_prob.reshape(60, -1).sum(1)
    if drawn.gates is not None:
        assert torch.equal(drawn.gates.relaxed > 0.5, drawn.gates.hard > 0)
        asked = asked_gates(policy, operations.op)
        assert torch.equal(drawn.gates.hard.gather(2, asked)[..., 0] > 0, operations.applied)
        log_prob = log_prob + drawn.gates.log_prob.gather(2, asked)[..., 0].sum(1)
    if drawn.levels is not None:
        counted = policy.counts_level(operations.op, operations.applied)
        assert torch.equal(drawn.levels.hard.argmax(-1)[counted], operations.level[counted])
        log_prob = log_prob + (drawn.levels.log_prob * counted).sum(1)
    torch.testing.assert_close(log_prob, policy.log_prob(sample))
    joined = drawn.joined()
    assert joined.hard.shape == joined.relaxed.shape == joined.conditional.shape
    assert joined.log_prob.shape == (60,)


def test_latents_are_distributed_as_drawn_forwards() -> None:
    policy = trained(count=1)
    sample = policy.sample(30000, generator=generator())
    drawn = latents(policy, sample, 0.5, generator=generator(1))
    assert drawn.gates is not None
    assert sample.operations is not None
    levels = torch.linspace(0.1, 0.9, 9)
    forwards = relaxed_categorical(policy.choice_logits[0].expand(30000, 3), 0.5, generator=generator(2))
    for k in range(3):
        torch.testing.assert_close(
            drawn.choice.relaxed[:, 0, k].quantile(levels), forwards.relaxed[:, k].quantile(levels), rtol=0, atol=0.03
        )
    first = sample.operations.op[:, 0] == 0
    assert policy.probability_logits is not None
    gate = relaxed_bernoulli(policy.probability_logits[0].expand(30000), 0.5, generator=generator(3))
    torch.testing.assert_close(
        drawn.gates.relaxed[first, 0, 0].quantile(levels), gate.relaxed.quantile(levels), rtol=0, atol=0.04
    )


@pytest.mark.parametrize("settings", KINDS)
def test_hard_gates_give_the_images_of_the_sample_and_gradients_to_everything(settings: dict[str, Any]) -> None:
    policy = trained(preset("fast_aa"), **settings)
    images, sample = torch.rand(80, 3, 8, 8, generator=generator()), policy.sample(80, generator=generator(1))
    relaxation = relax(policy, sample, 0.5, generator=generator(2))
    out = policy.apply(images, sample, path="soft", relaxation=relaxation)
    if policy.position_logits is None:
        assert torch.equal(out, policy.apply(images, sample, path="soft"))
    out.square().mean().backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("settings", KINDS)
def test_of_no_images_there_are_no_latents_and_the_gradients_are_zero(settings: dict[str, Any]) -> None:
    policy = trained(**settings)
    sample = policy.sample(0, generator=generator())
    relaxation = relax(policy, sample, 0.5, generator=generator(1))
    out = policy.apply(torch.zeros(0, 3, 8, 8), sample, path="soft", relaxation=relaxation)
    assert out.shape == (0, 3, 8, 8)
    joined = latents(policy, sample, 0.5, generator=generator(1)).joined()
    assert joined.hard.shape == joined.relaxed.shape == joined.conditional.shape
    assert joined.log_prob.shape == (0,)
    asked = [each for each in (policy.choice_logits, policy.probability_logits) if each is not None]
    gradients = relax_gradients(torch.zeros(0), joined, lambda relaxed: relaxed.sum(1), asked)
    assert not any(gradient.any() for gradient in gradients)


def test_the_gradients_are_those_written() -> None:
    """Of the choice, ``<g, T(x) - x>`` times that of its relaxed weight; of a gate and a level likewise."""
    policy = trained(count=1)
    images, sample = torch.rand(50, 3, 4, 4, generator=generator()), policy.sample(50, generator=generator(1))
    weight = torch.randn(images.shape, generator=generator(4))
    drawn, relaxation = (make(policy, sample, 0.5, generator=generator(2)) for make in (latents, relax))
    assert isinstance(relaxation, Relaxation)
    assert not isinstance(drawn, Relaxation)
    assert sample.operations is not None
    assert drawn.gates is not None
    out = policy.apply(images, sample, path="soft", relaxation=relaxation)
    assert policy.probability_logits is not None
    parameters = [policy.choice_logits, policy.probability_logits]
    found = torch.autograd.grad((weight * out).sum(), parameters)
    opened = Relaxation(relaxation.level, torch.ones(50, 1))
    moved = policy.apply(images, sample, path="soft", relaxation=opened).detach()
    product = (weight * (moved - images)).flatten(1).sum(1)
    chosen = (drawn.choice.relaxed * drawn.choice.hard).sum((1, 2))
    surrogate = (product * sample.operations.applied[:, 0] * chosen).sum() + (
        product * drawn.gates.relaxed.gather(2, sample.operations.op[..., None])[:, 0, 0]
    ).sum()
    expected = torch.autograd.grad(surrogate, parameters)
    torch.testing.assert_close(found, expected)


def test_soft_gates_are_between_zero_and_one() -> None:
    policy = trained()
    sample = policy.sample(50, generator=generator(1))
    gate = relax(policy, sample, 0.5, generator=generator(2), hard_gates=False).gate
    assert gate is not None
    assert ((gate > 0) & (gate < 1)).float().mean() > 0.9
    hard = relax(policy, sample, 0.5, generator=generator(2)).gate
    assert sample.operations is not None
    assert hard is not None
    assert torch.equal(hard, sample.operations.applied.float())


def reward_of(policy: LearnablePolicy, op: Tensor, applied: Tensor) -> Tensor:
    """Not additive over slots, operations and gates, so that no piece can be left out."""
    weights = torch.tensor([2.0, -1.0, 3.0], dtype=torch.float64)
    each = weights[op] * (1 + applied.double())
    return each[:, 0] + 2 * each[:, 1] + 0.3 * each.prod(1)


@pytest.mark.parametrize("settings", [{}, {"choice": "unordered", "share": "pair"}, {"share": "operation"}], ids=str)
@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_relax_is_unbiased_on_the_latents_of_a_policy(settings: dict[str, Any], scale: float) -> None:
    """With a random network as the control variate, against the enumeration of all choices and gates."""
    policy = trained(learn_levels=False, **settings).double()
    assert policy.probability_logits is not None
    parameters = [policy.choice_logits, policy.probability_logits]
    every = policy.enumerate()
    probability = policy.log_prob(PolicySample((), len(every), every)).exp()
    assert float(probability.detach().sum()) == pytest.approx(1)
    exact = torch.autograd.grad(probability @ reward_of(policy, every.op, every.applied), parameters)

    noise, estimates = generator(7), []
    numbers = latents(policy, policy.sample(1, generator=noise), 0.5, generator=noise).joined().hard.shape[1]
    first = scale * torch.randn(numbers, 8, generator=generator(5), dtype=torch.float64)
    second = scale * torch.randn(8, generator=generator(6), dtype=torch.float64)

    def control(relaxed: Tensor) -> Tensor:
        return torch.tanh(relaxed @ first) @ second

    for _ in range(300):
        sample = policy.sample(150, generator=noise)
        assert sample.operations is not None
        draw = latents(policy, sample, 0.5, generator=noise).joined()
        reward = reward_of(policy, sample.operations.op, sample.operations.applied)
        gradients = relax_gradients(reward, draw, control, parameters)
        estimates.append(torch.cat([each.detach().flatten() for each in gradients]))
    each = torch.stack(estimates)
    z = (each.mean(0) - torch.cat([g.flatten() for g in exact])) / (each.std(0) / len(each) ** 0.5)
    assert z.abs().max() < 5
    assert each.std(0).min() > 0


def test_a_sample_of_another_policy_is_refused() -> None:
    policy = trained()
    other = trained(preset("fast_aa")).sample(4, generator=generator())
    for function in (latents, relax):
        with pytest.raises(PolicyError, match="this policy draws 2 of space 'small'"):
            function(policy, other, 0.5, generator=generator())
        with pytest.raises(PolicyError, match="temperature is 0"):
            function(policy, policy.sample(4, generator=generator()), 0, generator=generator())
    same = policy.sample(40, generator=generator())
    with pytest.raises(PolicyError, match="never draws together"):
        latents(trained(choice="unordered"), same, 0.5, generator=generator())


TOY = Space(
    "toy",
    (
        Operation("Brightness", 0.1, 1.9, "factor"), Operation("Invert"), Operation("Color", 0.1, 1.9, "factor"),
        Operation("TranslateX", -2, 2, "pixels", True),
    ),
    101,
)  # fmt: skip


@pytest.mark.parametrize("shift", ["Brightness", "Invert"])
def test_faster_autoaugment_finds_the_operation_that_matches_the_data(shift: str) -> None:
    """The critic compares augmented images with real ones that are darker by half, or inverted."""
    noise, policy = generator(0), LearnablePolicy(TOY, 1, continuous_levels=True)
    pattern = 0.25 + 0.5 * torch.rand(3, 4, 4, generator=noise)
    first, last = (0.2 * torch.randn(*shape, generator=noise) for shape in ((48, 24), (24,)))
    critic_parameters = [first.requires_grad_(), last.requires_grad_()]

    def clean() -> Tensor:
        return pattern + 0.2 * torch.rand(32, 3, 4, 4, generator=noise)

    def critic(images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ first) @ last

    optimizers = [
        torch.optim.Adam(critic_parameters, 5e-3, betas=(0.0, 0.9)),
        torch.optim.Adam(policy.parameters(), 5e-2, betas=(0.5, 0.999)),
    ]
    for step in range(450):
        images, sample = clean(), policy.sample(32, generator=noise)
        if step % 3 < 2:
            real = clean() / 2 if shift == "Brightness" else 1 - clean()
            loss = critic_loss(critic, real, policy.apply(images, sample, path="soft"), generator=noise)
        else:
            relaxation = relax(policy, sample, 0.5, generator=noise)
            loss = policy_loss(critic, policy.apply(images, sample, path="soft", relaxation=relaxation))
        optimizer = optimizers[step % 3 == 2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    at = TOY.index(shift)
    assert policy.probability_logits is not None
    assert policy.position_logits is not None
    assert policy.choice_logits.detach().softmax(-1)[0, at] > 0.7
    assert policy.probability_logits.detach()[at].sigmoid() > 0.8
    if shift == "Brightness":
        assert 0.1 + 1.8 * policy.position_logits.detach()[at].sigmoid().item() == pytest.approx(0.5, abs=0.15)


def toy_task(noise: torch.Generator) -> tuple[Callable[[], tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """Images of two classes with opposite patterns, and the losses of a linear classifier."""
    pattern = torch.rand(3, 4, 4, generator=noise) - 0.5

    def data() -> tuple[Tensor, Tensor]:
        label = torch.randint(2, (32,), generator=noise) * 2.0 - 1
        blur = 0.1 * (torch.rand(32, 3, 4, 4, generator=noise) - 0.5)
        return 0.5 + 0.5 * label[:, None, None, None] * pattern + blur, label

    def losses(weight: Tensor, images: Tensor, label: Tensor) -> Tensor:
        return torch.nn.functional.softplus(-label * ((images - 0.5).flatten(1) @ weight))

    return data, losses


@pytest.mark.parametrize("magnitude", ["true", "dada_ste"])
@pytest.mark.parametrize("inverted", [True, False])
def test_dada_finds_the_operation_of_the_shift_and_drops_it_without(inverted: bool, magnitude: str) -> None:
    """Each step: the classifier takes one on the augmented batch, the policy one on its one-step validation loss."""
    noise, policy = generator(1), LearnablePolicy(TOY, 1, continuous_levels=True)
    assert policy.probability_logits is not None
    assert policy.position_logits is not None
    (data, losses), weight = toy_task(noise), torch.zeros(48, requires_grad=True)
    first, last = (0.3 * torch.randn(*shape, generator=noise) for shape in ((8, 16), (16,)))
    control = [first.requires_grad_(), last.requires_grad_()]
    optimizers = [torch.optim.Adam(policy.parameters(), 5e-2), torch.optim.Adam(control, 5e-3)]
    discrete, path = [policy.choice_logits, policy.probability_logits], Soft(magnitude_gradient=magnitude)  # type: ignore[arg-type]
    for _ in range(60):
        (images, label), (valid, valid_label) = data(), data()
        valid = 1 - valid if inverted else valid
        sample = policy.sample(32, generator=noise)
        draw = latents(policy, sample, 0.5, generator=noise).joined()
        level = relax(policy, sample, 0.5, generator=noise).level
        augmented = policy.apply(images, sample, path=path, relaxation=Relaxation(level))
        each = losses(weight, augmented, label)
        (step,) = torch.autograd.grad(each.mean(), weight, create_graph=True)
        moved = (weight - step).detach().requires_grad_()
        (direction,) = torch.autograd.grad(losses(moved, valid, valid_label).mean(), moved)
        # What each image's gradient does to the validation loss of the next weights: DADA's reward, to be minimised.
        basis = torch.func.vmap(torch.func.grad(lambda w, x, y: losses(w, x[None], y[None])[0]), (None, 0, 0))
        reward = -basis(weight.detach(), augmented.detach(), label) @ direction
        gradients = relax_gradients(reward, draw, lambda z: torch.tanh(z @ first) @ last, discrete)
        (position,) = torch.autograd.grad(-step @ direction, policy.position_logits)
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.stack([gradient.square().sum() for gradient in gradients]).sum().backward(inputs=control)
        for parameter, gradient in zip([*discrete, policy.position_logits], [*gradients, position], strict=True):
            parameter.grad = gradient.detach()
        for optimizer in optimizers:
            optimizer.step()
        weight = moved
    likely, at = policy.choice_logits.detach().softmax(-1)[0], TOY.index("Invert")
    gate = policy.probability_logits.detach()[at].sigmoid()
    if inverted:
        assert likely[at] > 0.75
        assert gate > 0.75
    else:
        assert likely[at] < 0.2
        assert gate < 0.4


def test_the_magnitude_gradient_of_dada_is_true_through_the_step() -> None:
    """Of ``- <h, grad_w L(w, T(x; m))>`` by m, against differences; the released code's is another."""
    noise, policy = generator(2), LearnablePolicy(TOY, 1, continuous_levels=True).double()
    assert policy.position_logits is not None
    data, losses = toy_task(noise)
    (images, label), sample = data(), policy.sample(32, generator=noise)
    weight, direction = torch.randn(2, 48, generator=noise, dtype=torch.float64).unbind(0)
    weight.requires_grad_()

    def objective(logits: Tensor, path: Soft) -> Tensor:
        assert sample.operations is not None
        level = logits.sigmoid()[sample.operations.op]
        augmented = policy.apply(images.double(), sample, path=path, relaxation=Relaxation(level))
        (step,) = torch.autograd.grad(losses(weight, augmented, label.double()).mean(), weight, create_graph=True)
        return -step @ direction

    logits = torch.tensor([0.2, 0.0, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    (true,) = torch.autograd.grad(objective(logits, Soft()), logits)
    (released,) = torch.autograd.grad(objective(logits, Soft(magnitude_gradient="dada_ste")), logits)
    for at in (0, 2, 3):  # those with a derivative
        shift = torch.zeros(4, dtype=torch.float64)
        shift[at] = 1e-5
        ends = [float(objective(logits + sign * shift, Soft()).detach()) for sign in (1, -1)]
        assert float(true[at]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)
        assert float(released[at]) != pytest.approx(float(true[at]), rel=0.5)
