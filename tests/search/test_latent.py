"""The latent relaxation: what learns, what is drawn, and the shortcut of the released code."""

import pytest
import torch
from latent_cases import tiny_cells, untrained

from nas_search import ConfigError
from nas_search.relaxations import Latent
from nas_search.schedules import Constant
from nas_spaces import SearchSpace, darts, nas_bench_201


def make(space: SearchSpace, latent: int = 4, **settings: object) -> Latent:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Latent(space, untrained(space, latent).float(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("space", [nas_bench_201(), darts(), tiny_cells()], ids=lambda space: space.name)
def test_a_path_is_drawn_by_noise_and_only_the_point_learns(space: SearchSpace) -> None:
    relaxation, generator = make(space), torch.Generator().manual_seed(0)
    assert [name for name, each in relaxation.named_parameters() if each.requires_grad] == ["point"]
    paths = set()
    for _ in range(10):
        noise = relaxation.noise(generator)
        weights, drawn = relaxation(noise, 0.5)
        again = relaxation(noise, 0.5)
        assert torch.equal(weights, again.weights)
        assert drawn == again.drawn
        assert torch.equal(weights.detach(), space.choices.one_hot(drawn))
        paths.add(drawn)
        (gradient,) = torch.autograd.grad(weights.square().sum(), relaxation.point)
        assert gradient.abs().min() > 0
    assert len(paths) > 3
    assert space.discretize(relaxation.probabilities()).options == relaxation(None, 0.5).drawn


def test_probabilities_are_distributions() -> None:
    table = make(nas_bench_201()).probabilities()
    torch.testing.assert_close(table.sum(dim=1), torch.ones(6))
    assert not table.requires_grad


def test_draws_do_not_depend_on_the_temperature_and_gradients_do() -> None:
    space, generator = nas_bench_201(), torch.Generator().manual_seed(0)
    warm, cold = make(space, temperature=Constant(5.0)), make(space, temperature=Constant(0.5))
    noise = warm.noise(generator)
    assert warm(noise, 0.0).drawn == cold(noise, 0.0).drawn
    gradients = [torch.autograd.grad(r(noise, 0.0).weights[0, 1], r.point)[0] for r in (warm, cold)]
    assert not torch.allclose(gradients[0], gradients[1])


def test_the_shortcut_has_the_gradient_of_a_softmax_over_all_coordinates() -> None:
    relaxation = make(nas_bench_201(), 30, shortcut=True)
    noise, factors = relaxation.noise(torch.Generator().manual_seed(0)), torch.randn(6, 5)
    weights, drawn = relaxation(noise, 0.0)
    assert torch.equal(weights.detach(), nas_bench_201().choices.one_hot(drawn))
    (gradient,) = torch.autograd.grad((weights * factors).sum(), relaxation.point)
    soft = relaxation.point.detach().softmax(dim=0)
    expected = soft * (factors.flatten() - (soft * factors.flatten()).sum())
    torch.testing.assert_close(gradient, expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"its 4 coordinates are no 30"):
        make(nas_bench_201(), shortcut=True)
    with pytest.raises(ConfigError, match=r"decodes to choice weights \(6, 5\); those of space 'darts' are \(28, 8\)"):
        Latent(darts(), untrained(nas_bench_201()))
    with pytest.raises(ConfigError, match="cells of other operations or edges than those of space 'tiny'"):
        Latent(tiny_cells(("none", "skip_connect", "avg_pool_3x3")), untrained(tiny_cells()))
    with pytest.raises(ConfigError, match="temperature goes from 0.0"):
        make(nas_bench_201(), temperature=Constant(0.0))
