import pytest
import torch
from scipy.special import gammaincinv
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from nas_search.relaxations import Dirichlet
from nas_search.relaxations.dirichlet import log_gamma_quantile
from nas_spaces import Choices

CHOICES = Choices(options=(("a", "b", "c"), ("a", "b")))
LOGITS = torch.tensor([[-0.7, 0.3, 1.5], [0.5, -1.0, 9.0]], dtype=torch.float64)


def make(logits: Tensor = LOGITS) -> Dirichlet:
    relaxation = Dirichlet(CHOICES).double()
    with torch.no_grad():
        relaxation.logits.copy_(logits)
    return relaxation


def weights(relaxation: Dirichlet, logits: Tensor, noise: Tensor) -> Tensor:
    return functional_call(relaxation, {"logits": logits}, (noise, 0.0)).weights


def test_a_draw_is_made_of_gamma_quantiles() -> None:
    relaxation = make()
    noise = relaxation.noise(torch.Generator().manual_seed(0))
    drawn = relaxation(noise, 0.0)
    concentration = F.elu(LOGITS) + 1
    for row, size in ((0, 3), (1, 2)):
        parts = torch.as_tensor(gammaincinv(concentration[row, :size].numpy(), noise[row, :size].numpy()))
        torch.testing.assert_close(drawn.weights[row, :size], parts / parts.sum())
    assert drawn.weights[1, 2] == 0
    assert drawn.drawn is None


def test_draws_have_the_mean_and_the_variance_of_the_distribution() -> None:
    concentration = (F.elu(LOGITS) + 1)[0]
    total = concentration.sum()
    relaxation, generator = make(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        draws = torch.stack([relaxation(relaxation.noise(generator), 0.0).weights[0] for _ in range(5000)])
    mean = concentration / total
    # Four standard deviations of a mean of 5000 draws.
    torch.testing.assert_close(draws.mean(dim=0), mean, atol=4 * 0.25 / 5000**0.5, rtol=0)
    torch.testing.assert_close(draws.var(dim=0), mean * (1 - mean) / (total + 1), rtol=0.1, atol=0)
    torch.testing.assert_close(relaxation.probabilities()[0], mean)
    torch.testing.assert_close(relaxation(None, 0.0).weights[0], mean)


def test_the_gradient_is_that_of_the_mean() -> None:
    """The pathwise gradient of E[direction . weights] against its closed form, direction . d mean / d logits."""
    relaxation, generator = make(), torch.Generator().manual_seed(2)
    direction = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    grads = []
    for _ in range(5000):
        drawn = relaxation(relaxation.noise(generator), 0.0).weights
        (grad,) = torch.autograd.grad((drawn[0] * direction).sum(), relaxation.logits)
        grads.append(grad[0])
    sample = torch.stack(grads)
    leaf = LOGITS[0].clone().requires_grad_()
    concentration = F.elu(leaf) + 1
    (expected,) = torch.autograd.grad((concentration / concentration.sum() * direction).sum(), leaf)
    error = 4 * sample.std(dim=0) / len(sample) ** 0.5
    assert ((sample.mean(dim=0) - expected).abs() < error).all()
    assert (error < 0.2 * expected.abs()).all()  # or the comparison would say nothing


def test_equal_noise_gives_a_smooth_function_of_the_logits() -> None:
    relaxation = make()
    for seed in range(5):
        noise = relaxation.noise(torch.Generator().manual_seed(seed))
        # PyTorch's implicit derivative is a rational approximation, good to about 2e-5.
        assert torch.autograd.gradcheck(
            lambda logits, noise=noise: weights(relaxation, logits, noise)[CHOICES.mask],
            LOGITS.clone().requires_grad_(),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("concentration", [1e-9, 1e-3, 0.05, 1.0, 30.0, 1e4])
def test_the_logarithm_of_a_quantile_is_right_however_small_it_is(concentration: float) -> None:
    a = torch.full((3,), concentration, dtype=torch.float64, requires_grad=True)
    u = torch.tensor([1e-6, 0.3, 0.99], dtype=torch.float64)
    value = log_gamma_quantile(a, u)
    direct = torch.as_tensor(gammaincinv(a.detach().numpy(), u.numpy()))
    seen = direct > 1e-290
    torch.testing.assert_close(value[seen], direct[seen].log())
    # Where the quantile is smaller than any number: P(a, x) = x^a / gamma(a + 1).
    small = value < -50
    torch.testing.assert_close((value * a - torch.lgamma(a + 1))[small].exp(), u[small])
    (grad,) = torch.autograd.grad(value.sum(), a)
    step = 1e-5 * concentration
    difference = (log_gamma_quantile(a.detach() + step, u) - log_gamma_quantile(a.detach() - step, u)) / (2 * step)
    torch.testing.assert_close(grad, difference, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value", [-1e4, -100.0, -20.0, 0.0, 100.0, 1e4])
def test_extreme_logits_give_finite_weights_and_gradients(value: float) -> None:
    logits = torch.tensor([[value, 0.0, 0.0], [value, value, 0.0]], dtype=torch.float64, requires_grad=True)
    relaxation = make()
    drawn = weights(relaxation, logits, relaxation.noise(torch.Generator().manual_seed(3)))
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(2, dtype=torch.float64))
    (grad,) = torch.autograd.grad((drawn * LOGITS).sum(), logits)
    assert torch.isfinite(grad).all()


def test_noise_is_never_zero_or_one() -> None:
    relaxation = make()
    noise = torch.stack([relaxation.noise(torch.Generator().manual_seed(seed)) for seed in range(200)])
    assert 0 < noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert (2**53 - 1) * 2.0**-53 < 1  # the largest that it can be
