import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_search.relaxations import Concrete, Dirichlet, HardGumbel, Softmax
from nas_search.roles import Relaxation
from nas_search.schedules import Constant
from nas_spaces import (
    Choices,
    Drawn,
    SearchSpace,
    allegro,
    amended_s1,
    darts,
    nas_bench_201_small,
)

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


# Those of NAS-Bench-101 pool what a ReLU has made zero: the maximum ties, and there is no derivative to compare with.
SUPERNETS: dict[str, tuple[SearchSpace, int]] = {
    "nas_bench_201": (nas_bench_201_small(), 1),
    "darts_inputs": (darts(inputs=True), 3),
    "allegro": (allegro(), 3),
    "amended_s1": (amended_s1(), 3),
}


@pytest.mark.parametrize("name", SUPERNETS)
def test_with_all_options_every_weight_of_a_draw_has_its_derivative(name: str) -> None:
    """Along random directions of the weights, drawn or not, by central differences."""
    space, cells = SUPERNETS[name]
    torch.manual_seed(0)
    supernet = space.supernet(classes=3, channels=4, cells=cells).double()
    images, labels = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 1])

    def loss(weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        logits = supernet(images, weights, drawn)
        return F.cross_entropy(logits[0] if isinstance(logits, tuple) else logits, labels)

    relaxation = HardGumbel(space.choices, all_options=True).double()
    with torch.no_grad():  # a node of nothing but `none` is where a ReLU has no derivative
        for row, options in enumerate(space.choices.options):
            relaxation.logits[row, [i for i, option in enumerate(options) if option == "none"]] = -30.0
    noise = relaxation.noise(torch.Generator().manual_seed(1))
    weights, drawn = relaxation(noise, 0.5)
    assert drawn is None
    with torch.no_grad():
        at, path = relaxation(noise, 0.5)
        assert path is not None
        torch.testing.assert_close(loss(at), loss(at, path))
    (slopes,) = torch.autograd.grad(loss(weights), weights)
    for seed in range(3):
        along = torch.randn(at.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        along *= space.choices.mask
        with torch.no_grad():
            expected = (loss(at + 1e-6 * along) - loss(at - 1e-6 * along)) / 2e-6
        torch.testing.assert_close((slopes * along).sum(), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("all_options", [False, True])
def test_a_drawn_none_is_compared_with_the_others_only_if_all_options_are_evaluated(all_options: bool) -> None:
    space = nas_bench_201_small()
    torch.manual_seed(0)
    supernet = space.supernet(classes=3, channels=4, cells=1)
    relaxation = HardGumbel(space.choices, all_options=all_options)
    options = space.choices.options[0]
    with torch.no_grad():
        relaxation.logits[[0, 1], options.index("skip_connect")] = 8.0
        relaxation.logits[2, options.index("none")] = 8.0
    weights, drawn = relaxation(None, 0.0)
    loss = F.cross_entropy(supernet(torch.randn(4, 3, 8, 8), weights, drawn), torch.tensor([0, 1, 2, 1]))
    (grad,) = torch.autograd.grad(loss, relaxation.logits)
    assert grad[:2].any()
    assert bool(grad[2].any()) == all_options
