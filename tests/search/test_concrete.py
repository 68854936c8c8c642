import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from nas_search import ConfigError
from nas_search.relaxations import Concrete
from nas_search.schedules import Constant, Linear
from nas_spaces import Choices

CHOICES = Choices(options=(("a", "b", "c"), ("a", "b")))
LOGITS = torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 9.0]], dtype=torch.float64)


def make(temperature: float) -> Concrete:
    relaxation = Concrete(CHOICES, Constant(temperature)).double()
    with torch.no_grad():
        relaxation.logits.copy_(LOGITS)
    return relaxation


def test_a_draw_is_the_softmax_of_logits_and_noise() -> None:
    relaxation = make(0.7)
    noise = relaxation.noise(torch.Generator().manual_seed(0))
    weights, drawn = relaxation(noise, 0.0)
    for row, size in ((0, 3), (1, 2)):
        scores = torch.stack([(LOGITS[row, k] + noise[row, k]) / 0.7 for k in range(size)]).exp()
        torch.testing.assert_close(weights[row, :size], scores / scores.sum())
    assert weights[1, 2] == 0
    assert drawn is None


def test_the_largest_weight_follows_the_softmax_at_every_temperature() -> None:
    draws = 4000
    for temperature in (1.0, 0.1):
        relaxation = make(temperature)
        generator = torch.Generator().manual_seed(1)
        counts = torch.zeros(2, 3, dtype=torch.float64)
        for _ in range(draws):
            weights = relaxation(relaxation.noise(generator), 0.0).weights.detach()
            counts += F.one_hot(weights.argmax(dim=1), 3)
        # Three standard deviations of a frequency of 4000 draws are below 0.024.
        torch.testing.assert_close(counts / draws, relaxation.probabilities(), atol=0.024, rtol=0)
    torch.testing.assert_close(relaxation.probabilities()[1], torch.tensor([2.0, 0, -torch.inf]).double().softmax(0))


def test_the_temperature_follows_its_schedule_and_makes_draws_one_hot() -> None:
    relaxation = Concrete(CHOICES, Linear(1.0, 1e-3)).double()
    noise = relaxation.noise(torch.Generator().manual_seed(2))
    largest = [relaxation(noise, progress).weights.max(dim=1).values for progress in (0.0, 0.5, 1.0)]
    assert (largest[0] < largest[1]).all()
    torch.testing.assert_close(largest[2], torch.ones(2, dtype=torch.float64))


def test_draws_pass_gradcheck() -> None:
    relaxation = make(0.5)
    noise = relaxation.noise(torch.Generator().manual_seed(3))

    def weights(logits: torch.Tensor) -> torch.Tensor:
        return functional_call(relaxation, {"logits": logits}, (noise, 0.0)).weights

    assert torch.autograd.gradcheck(weights, LOGITS.clone().requires_grad_())


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature goes from 1\.0 to 0\.0; expected positive"):
        Concrete(CHOICES, Linear(1.0, 0.0))
