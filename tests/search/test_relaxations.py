import itertools
from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from nas_search.relaxations import Concrete, Dirichlet, HardGumbel, Softmax
from nas_search.roles import Relaxation
from nas_search.schedules import Constant
from nas_spaces import Choices

CHOICES = Choices(options=(("a", "b", "c"), ("a", "b")))


@pytest.mark.parametrize("make", [Softmax, HardGumbel, Concrete, Dirichlet])
def test_rows_sum_to_one_and_missing_options_have_no_weight(make: type[Relaxation]) -> None:
    relaxation = make(CHOICES)
    noise = relaxation.noise(torch.Generator().manual_seed(0))
    weights = relaxation(noise, 0.5).weights
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(relaxation.probabilities().sum(dim=1), torch.ones(2))
    assert weights[1, 2] == 0
    assert relaxation.probabilities()[1, 2] == 0
    assert not relaxation.probabilities().requires_grad


@pytest.mark.parametrize("make", [Softmax, HardGumbel, Concrete, Dirichlet])
def test_equal_noise_gives_equal_weights_and_the_global_state_is_not_touched(make: type[Relaxation]) -> None:
    relaxation = make(CHOICES)
    state = torch.random.get_rng_state()
    draws = [relaxation(relaxation.noise(torch.Generator().manual_seed(3)), 0.2).weights for _ in range(2)]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(state, torch.random.get_rng_state())


def test_softmax_is_softmax_and_evaluates_everything() -> None:
    relaxation = Softmax(CHOICES)
    weights, drawn = relaxation(None, 0.0)
    torch.testing.assert_close(weights[0], relaxation.logits[0].softmax(dim=0))
    assert drawn is None


def test_softmax_passes_gradcheck() -> None:
    relaxation = Softmax(CHOICES).double()

    def weights(logits: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(relaxation, {"logits": logits}, (None, 0.0)).weights

    assert torch.autograd.gradcheck(weights, relaxation.logits.detach().requires_grad_())


def test_a_gumbel_draw_is_one_hot_and_names_its_options_on_the_host() -> None:
    relaxation = HardGumbel(CHOICES)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        weights, drawn = relaxation(relaxation.noise(generator), 0.5)
        assert drawn is not None
        assert [len(options) for options in drawn] == [1, 1]
        torch.testing.assert_close(weights.detach(), CHOICES.one_hot(drawn))


def test_a_gumbel_draw_takes_as_many_options_of_a_row_as_the_space_picks() -> None:
    """Without replacement: {0, 1} is drawn first 0 and then 1, or first 1 and then 0."""
    choices = Choices(options=(("a", "b", "c", "d"), ("a", "b")), picks=(2, 1))
    relaxation = HardGumbel(choices, temperature=Constant(0.7))
    with torch.no_grad():
        relaxation.logits.copy_(torch.tensor([[0.0, 1.0, 2.0, -0.5], [1.0, -1.0, 9.0, 9.0]]))
    p = relaxation.probabilities()[0].tolist()
    generator = torch.Generator().manual_seed(0)
    draws, found = 4000, Counter[tuple[int, ...]]()
    for _ in range(draws):
        weights, drawn = relaxation(relaxation.noise(generator), 0.5)
        assert drawn is not None
        assert [len(options) for options in drawn] == [2, 1]
        torch.testing.assert_close(weights.detach(), choices.one_hot(drawn))
        found[tuple(drawn[0])] += 1
    for i, j in itertools.combinations(range(4), 2):
        expected = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        assert found[i, j] / draws == pytest.approx(expected, abs=0.024)
    noise = relaxation.noise(generator)
    direction = torch.randn(2, 4, generator=generator)
    (hard,) = torch.autograd.grad((relaxation(noise, 0.5).weights * direction).sum(), relaxation.logits)
    scores = relaxation.logits.masked_fill(~choices.mask, -torch.inf).log_softmax(dim=1) + noise
    (soft,) = torch.autograd.grad((F.softmax(scores / 0.7, dim=1) * direction).sum(), relaxation.logits)
    torch.testing.assert_close(hard, soft)


def test_gumbel_draws_follow_the_softmax_of_the_logits() -> None:
    relaxation = HardGumbel(CHOICES)
    with torch.no_grad():
        relaxation.logits.copy_(torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 9.0]]))
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    counts = sum(relaxation(relaxation.noise(generator), 1.0).weights.detach() for _ in range(draws))
    expected = relaxation.probabilities()
    # Three standard deviations of a frequency of 4000 draws are below 0.024.
    torch.testing.assert_close(torch.as_tensor(counts) / draws, expected, atol=0.024, rtol=0)


def test_the_gradient_of_a_gumbel_draw_is_that_of_the_relaxed_draw() -> None:
    relaxation = HardGumbel(CHOICES, temperature=Constant(0.7))
    noise = relaxation.noise(torch.Generator().manual_seed(1))
    direction = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    (hard,) = torch.autograd.grad((relaxation(noise, 0.5).weights * direction).sum(), relaxation.logits)
    scores = relaxation.logits.masked_fill(~CHOICES.mask, -torch.inf).log_softmax(dim=1) + noise
    (soft,) = torch.autograd.grad((F.softmax(scores / 0.7, dim=1) * direction).sum(), relaxation.logits)
    torch.testing.assert_close(hard, soft)


def test_the_temperature_follows_its_schedule() -> None:
    relaxation = HardGumbel(CHOICES)
    assert [relaxation.temperature(t) for t in (0.0, 1.0)] == pytest.approx([10.0, 0.1])


def test_without_noise_the_most_probable_options_are_taken() -> None:
    relaxation = HardGumbel(CHOICES)
    with torch.no_grad():
        relaxation.logits.copy_(torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.1, 9.0]]))
    assert relaxation(None, 1.0).drawn == ((1,), (1,))
