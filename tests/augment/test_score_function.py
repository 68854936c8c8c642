"""Score-function estimators against exact enumeration, and DAAS' hypergradient against automatic differentiation."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from nas_augment import LearnablePolicy, Operation, PolicyError, PolicySample, Space
from nas_augment.score_function import alignment, daas_surrogate, leave_one_out, score_surrogate, unit_factor

SPACE = Space(
    "toy", (Operation("Invert"), Operation("Rotate", 0, 30, "degrees"), Operation("Color", 0, 2, "factor")), 3
)


def policy() -> LearnablePolicy:
    made = LearnablePolicy(SPACE).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return made


def flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def gradient_of(scalar: Tensor, made: LearnablePolicy) -> Tensor:
    return flat(torch.autograd.grad(scalar, list(made.parameters()), retain_graph=True))


def enumerated() -> tuple[LearnablePolicy, Tensor, Tensor]:
    """A policy, the log-probability of all its draws, and a reward of each far from zero."""
    made = policy()
    draw = made.enumerate()
    rewards = torch.randn(len(draw), generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 5
    return made, made.log_prob(PolicySample((), len(draw), draw)), rewards


def test_its_expectation_is_the_gradient_of_the_expected_reward() -> None:
    made, log_prob, rewards = enumerated()
    exact = gradient_of((log_prob.exp() * rewards).sum(), made)
    # The surrogate is a mean over draws: weighing rewards by n p gives its expectation.
    for baseline in (0.0, 3.0):
        made, log_prob, rewards = enumerated()
        weight = log_prob.detach().exp() * len(rewards)
        surrogate = score_surrogate(log_prob, weight * (rewards - baseline))
        torch.testing.assert_close(gradient_of(surrogate, made), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("draws", [2, 4])
def test_leave_one_out_is_unbiased_and_a_mean_with_itself_is_not(draws: int) -> None:
    """All pairs (or quadruples) of a three-way choice, each with its probability."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([5.0, 6.0, 8.0], dtype=torch.float64)
    (exact,) = torch.autograd.grad(logits.softmax(0) @ rewards, logits)
    tuples = torch.cartesian_prod(*[torch.arange(3)] * draws)
    total, naive = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for chosen in tuples:
        log_prob = logits.log_softmax(0)[chosen]
        probability = log_prob.sum().detach().exp()
        surrogate = score_surrogate(log_prob, rewards[chosen], "leave_one_out")
        total += probability * torch.autograd.grad(surrogate, logits, retain_graph=True)[0]
        including = score_surrogate(log_prob, rewards[chosen], rewards[chosen].mean())
        naive += probability * torch.autograd.grad(including, logits)[0]
    torch.testing.assert_close(total, exact, rtol=0, atol=1e-12)
    torch.testing.assert_close(naive, exact * (draws - 1) / draws, rtol=0, atol=1e-12)


def test_monte_carlo_agrees_and_a_baseline_cuts_the_variance() -> None:
    made, log_prob, rewards = enumerated()
    exact = gradient_of((log_prob.exp() * rewards).sum(), made)
    generator = torch.Generator().manual_seed(5)
    made, log_prob, rewards = enumerated()
    jacobian = torch.stack([gradient_of(each, made) for each in made.log_prob(_all(made))])
    index = torch.multinomial(log_prob.detach().exp(), 2**15, replacement=True, generator=generator).view(-1, 16)
    plain = (rewards[index][..., None] * jacobian[index]).mean(1)
    reduced = ((rewards[index] - leave_one_out(rewards[index].T).T)[..., None] * jacobian[index]).mean(1)
    for estimates in (plain, reduced):
        z = (estimates.mean(0) - exact) / (estimates.std(0) / len(estimates) ** 0.5).clamp(min=1e-12)
        assert z.abs().max() < 5
    assert plain.var(0).sum() > 5 * reduced.var(0).sum()


def _all(made: LearnablePolicy) -> PolicySample:
    draw = made.enumerate()
    return PolicySample((), len(draw), draw)


def test_leave_one_out_per_image() -> None:
    rewards = torch.tensor([[1.0, 10.0], [3.0, 30.0], [8.0, 80.0]])
    assert leave_one_out(rewards).tolist() == [[5.5, 55.0], [4.5, 45.0], [2.0, 20.0]]


def test_unit_factor_is_one_with_the_gradient_of_the_logarithm() -> None:
    log_prob = torch.tensor([-2.0, -0.5], requires_grad=True)
    factor = unit_factor(log_prob)
    assert factor.tolist() == [1.0, 1.0]
    (gradient,) = torch.autograd.grad((factor * torch.tensor([3.0, 4.0])).sum(), log_prob)
    assert gradient.tolist() == [3.0, 4.0]


def problem() -> tuple[Mapping[str, Tensor], Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    weights = {"w": torch.randn(4, 3, generator=g, dtype=torch.float64), "b": torch.zeros(3, dtype=torch.float64)}
    return weights, torch.randn(6, 4, generator=g, dtype=torch.float64), torch.randint(3, (6,), generator=g)


def losses(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(x @ parameters["w"] + parameters["b"], y, reduction="none")


def test_the_three_ways_to_an_alignment_agree() -> None:
    weights, x, y = problem()
    direction = {name: torch.ones_like(value) for name, value in weights.items()}
    exact = alignment(lambda p: losses(p, x, y), weights, direction, "vjp")
    assert exact.shape == (6,)
    torch.testing.assert_close(alignment(lambda p: losses(p, x, y), weights, direction, "jvp"), exact)
    near = alignment(lambda p: losses(p, x, y), weights, direction, "difference")
    torch.testing.assert_close(near, exact, rtol=1e-4, atol=1e-5)
    assert not any(value.requires_grad for value in weights.values())


def test_daas_equals_automatic_differentiation_through_the_step() -> None:
    """Eq. 13 without baseline against the gradient of the validation loss after a step on factor-weighted losses."""
    weights, x, y = problem()
    made, xi, draws = policy(), 0.3, 4
    sample = made.sample(draws, generator=torch.Generator().manual_seed(1))
    inputs = torch.stack([x * (1 + 0.3 * n) + 0.1 * n for n in range(draws)])  # what each draw does to the data

    def per_draw(parameters: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([losses(parameters, each, y).mean() for each in inputs])

    live = {name: value.clone().requires_grad_() for name, value in weights.items()}
    weighted = (unit_factor(made.log_prob(sample)) * per_draw(live)).mean()
    gradients = torch.autograd.grad(weighted, list(live.values()), create_graph=True)
    stepped = {name: live[name] - xi * g for name, g in zip(live, gradients, strict=True)}
    through = gradient_of(losses(stepped, x.flip(0), y).mean(), made)

    after = {name: value.detach().requires_grad_() for name, value in stepped.items()}
    h = dict(zip(after, torch.autograd.grad(losses(after, x.flip(0), y).mean(), list(after.values())), strict=True))
    products = alignment(per_draw, weights, h)
    ours = gradient_of(daas_surrogate(made.log_prob(sample), products, xi, "none"), made)
    torch.testing.assert_close(ours, through, rtol=1e-10, atol=1e-12)


def test_a_helpful_draw_becomes_likelier() -> None:
    """Two operations, of which one moves the data to where the validation data is."""
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    weights = {"w": torch.zeros(1, dtype=torch.float64)}
    targets = torch.tensor([1.0, -1.0], dtype=torch.float64)  # of the two draws; the validation target is 1
    h = {"w": weights["w"] - 1.0}
    products = alignment(lambda p: 0.5 * (p["w"] - targets).square(), weights, h)
    daas_surrogate(logits.log_softmax(0), products, 0.1).backward()
    assert logits.grad is not None
    assert logits.grad[0] < 0 < logits.grad[1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PolicyError, match="2 draws or more"):
        leave_one_out(torch.ones(1))
    with pytest.raises(PolicyError, match=r"log_prob has shape \(2,\), rewards \(3,\)"):
        score_surrogate(torch.ones(2), torch.ones(3))
    with pytest.raises(PolicyError, match="unknown baseline 'loo'"):
        score_surrogate(torch.ones(2), torch.ones(2), "loo")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="must broadcast"):
        score_surrogate(torch.ones(2), torch.ones(2), torch.ones(3, 2))
    with pytest.raises(PolicyError, match="lacks or adds"):
        alignment(lambda p: p["w"], {"w": torch.ones(2)}, {"v": torch.ones(2)})
    with pytest.raises(PolicyError, match="unknown method"):
        alignment(lambda p: p["w"], {"w": torch.ones(2)}, {"w": torch.ones(2)}, "exact")  # type: ignore[arg-type]


@pytest.mark.parametrize("normalized", [False, True])
def test_batch_normalisation_makes_the_reward_of_an_image_depend_on_the_others(normalized: bool) -> None:
    """All 4^4 joint draws for four images: each image's own loss is its reward only where the images do not meet.

    With batch statistics the loss of the batch is the one that is right for every image, and its own loss alone is not.
    """
    generator = torch.Generator().manual_seed(0)
    batch, draws = 4, 4
    features = torch.randn(batch, draws, 3, generator=generator, dtype=torch.float64)
    features += 2.0 * torch.arange(draws, dtype=torch.float64)[None, :, None]  # draws that move the statistics
    weight = torch.randn(3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    logits = torch.tensor([0.2, -0.3, 0.1, 0.4], dtype=torch.float64, requires_grad=True)
    joint = torch.cartesian_prod(*[torch.arange(draws)] * batch)  # (256, 4)
    images = features[torch.arange(batch), joint]  # (256, 4, 3)
    if normalized:
        images = (images - images.mean(1, keepdim=True)) / images.std(1, unbiased=False, keepdim=True)
    losses = torch.nn.functional.softplus(-labels * (images @ weight))  # (256, 4)
    log_prob = logits.log_softmax(0)[joint]
    probability = log_prob.sum(1).exp()
    (exact,) = torch.autograd.grad(probability @ losses.mean(1), logits, retain_graph=True)

    def expectation(rewards: Tensor) -> Tensor:
        weighted = rewards * probability.detach()[:, None] * len(joint)  # the surrogate is a mean over (draws, images)
        return torch.autograd.grad(score_surrogate(log_prob, weighted), logits, retain_graph=True)[0]

    of_the_batch = expectation(losses.sum(1, keepdim=True).expand_as(losses))
    torch.testing.assert_close(of_the_batch, exact, rtol=0, atol=1e-12)
    own = expectation(losses)
    error = float((own - exact).norm() / exact.norm())
    assert error < 1e-12 if not normalized else 0.5 < error < 0.9
