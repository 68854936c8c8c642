"""The Gaussian process over architectures against its formula, and what it suggests."""

import subprocess
import sys

import pytest
import torch

from nas_search import ConfigError
from nas_search.surrogate import encode, fit, suggest
from nas_spaces import Architecture, darts, nas_bench_201

D = torch.float64


def draw(count: int, seed: int = 0) -> list[Architecture]:
    generator = torch.Generator().manual_seed(seed)
    return [nas_bench_201().sample(generator) for _ in range(count)]


def worth(architecture: Architecture) -> float:
    """The first edge decides most, the last nothing."""
    taken = [options[0] for options in architecture.options]
    return 10.0 * (taken[0] == 3) + 3.0 * (taken[1] == 2) + 1.0 * (taken[2] == 1)


def test_codes_are_equal_where_rows_are() -> None:
    space = darts()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        a = space.sample(generator)
        b = space.mutate(a, generator)
        same = [x == y for x, y in zip(a.options, b.options, strict=True)]
        codes = encode([a, b])
        assert (codes[0] == codes[1]).tolist() == same


def test_the_posterior_is_that_of_the_formula() -> None:
    architectures = draw(30)
    codes = encode(architectures)
    scores = torch.tensor([worth(a) for a in architectures], dtype=D)
    model = fit(codes, scores)
    scale = model.covar_module.outputscale.item()
    lengths = model.covar_module.base_kernel.lengthscale.detach().flatten()
    noise, mean = model.likelihood.noise.item(), model.mean_module.constant.item()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return scale * torch.exp(-((a[:, None] != b[None]) / lengths).mean(-1))

    other = encode(draw(5, seed=1))
    values = (scores - scores.mean()) / scores.std()
    solved = torch.linalg.solve(kernel(codes, codes) + noise * torch.eye(30, dtype=D), values - mean)
    expected = mean + kernel(other, codes) @ solved
    torch.testing.assert_close(model.posterior(other).mean.flatten(), expected, rtol=1e-6, atol=1e-6)


def test_rows_that_matter_get_short_length_scales() -> None:
    architectures = draw(150)
    model = fit(encode(architectures), torch.tensor([worth(a) for a in architectures]))
    lengths = model.covar_module.base_kernel.lengthscale.detach().flatten()
    assert lengths[0] < lengths[3:].min()


def test_the_best_candidate_is_suggested_and_a_batch_has_no_repetition() -> None:
    observed = [(a, worth(a)) for a in draw(80)]
    known = {a for a, _ in observed}
    pool = [a for a in draw(400, seed=2) if a not in known]
    before = torch.random.get_rng_state()
    chosen = suggest(observed, pool, count=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(set(chosen)) == 4
    assert worth(chosen[0]) >= 13.0
    again = suggest(observed, pool, count=4, generator=torch.Generator().manual_seed(0))
    assert chosen == again


def test_what_cannot_be_fitted_or_suggested_is_refused() -> None:
    a = draw(3)
    with pytest.raises(ConfigError, match="2 architectures and 1 scores"):
        fit(encode(a[:2]), torch.ones(1))
    with pytest.raises(ConfigError, match="1 architectures and 1 scores"):
        suggest([(a[0], 1.0)], a, generator=torch.Generator())
    with pytest.raises(ConfigError, match="4 suggestions from 3 candidates"):
        suggest([(x, 1.0) for x in a], a, count=4, generator=torch.Generator())


def test_equal_scores_are_no_error() -> None:
    a = draw(6)
    (chosen,) = suggest([(x, 0.5) for x in a], draw(5, seed=3), generator=torch.Generator())
    assert chosen in draw(5, seed=3)


def test_a_first_suggestion_prints_no_warning_of_other_packages() -> None:
    program = (
        "import torch; from nas_search.surrogate import suggest; from nas_spaces import nas_bench_201\n"
        "g = torch.Generator().manual_seed(0); a = [nas_bench_201().sample(g) for _ in range(4)]\n"
        "suggest([(x, float(i)) for i, x in enumerate(a)], a, generator=g)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr == ""
