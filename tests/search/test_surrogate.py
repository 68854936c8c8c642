"""The Gaussian process over architectures against its formula, and what it suggests."""

import subprocess
import sys
from typing import Any

import networkx as nx
import pytest
import torch
from scipy.stats import norm, rankdata
from torch.nn import Identity

from nas_search import ConfigError
from nas_search.surrogate import (
    ArchitectureKernel,
    BySpace,
    Hamming,
    Paths,
    WeisfeilerLehman,
    fit,
    pareto_front,
    suggest,
    suggest_pareto,
)
from nas_search.surrogate.joint_posterior import JointPosterior
from nas_search.surrogate.kernels import _operations
from nas_search.surrogate.process import standardized
from nas_spaces import Architecture, SearchSpace, chain, darts, nas_bench_101, nas_bench_201

D = torch.float64
SPACE = nas_bench_201()


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
        codes = Hamming().embed(space, [a, b]).inputs
        assert (codes[0] == codes[1]).tolist() == same


def test_the_posterior_is_that_of_the_formula() -> None:
    architectures = draw(30)
    codes, covariance = Hamming().embed(SPACE, architectures)
    scores = torch.tensor([worth(a) for a in architectures], dtype=D)
    model = fit(codes, scores, covariance)
    scale = model.covar_module.outputscale.item()
    lengths = model.covar_module.base_kernel.lengthscale.detach().flatten()
    noise, mean = model.likelihood.noise.item(), model.mean_module.constant.item()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return scale * torch.exp(-((a[:, None] != b[None]) / lengths).mean(-1))

    other = Hamming().embed(SPACE, draw(5, seed=1)).inputs
    ranks = torch.from_numpy(norm.ppf((rankdata(scores) - 0.5) / 30))  # equal scores have their mean rank
    values = (ranks - ranks.mean()) / ranks.std()
    solved = torch.linalg.solve(kernel(codes, codes) + noise * torch.eye(30, dtype=D), values - mean)
    expected = mean + kernel(other, codes) @ solved
    torch.testing.assert_close(model.posterior(other).mean.flatten(), expected, rtol=1e-6, atol=1e-6)


def test_scores_count_by_their_ranks() -> None:
    scores = torch.tensor([10.0, 93.0, 94.0, 93.0, 94.3])
    values = standardized(scores)
    torch.testing.assert_close(values, standardized(scores**3))
    assert values[1] == values[3] < values[2] < values[4]
    torch.testing.assert_close(values.std(), torch.ones((), dtype=D))
    assert standardized(torch.full((4,), 0.5)).tolist() == [0.0] * 4
    with pytest.raises(ConfigError, match="1 of 3 scores are NaN"):
        standardized(torch.tensor([0.5, float("nan"), 0.7]))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (SPACE, WeisfeilerLehman()),
        (chain(3, {"a": lambda i, o, s: Identity(), "b": lambda i, o, s: Identity()}), Hamming()),
    ],
)
def test_the_kernel_is_that_of_the_space(space: SearchSpace, expected: ArchitectureKernel) -> None:
    architectures = [space.sample(torch.Generator().manual_seed(seed)) for seed in range(6)]
    found, other = BySpace().embed(space, architectures), expected.embed(space, architectures)
    assert torch.equal(found.inputs, other.inputs)
    columns = range(found.inputs.shape[1])
    assert type(found.covariance(columns)) is type(other.covariance(columns))


def test_a_joint_posterior_answers_as_the_process_itself() -> None:
    """Batches of points by number, with the covariances among them."""
    architectures = draw(30)
    inputs, covariance = Hamming().embed(SPACE, [*architectures, *draw(6, seed=1)])
    process = fit(inputs[:30], torch.tensor([worth(a) for a in architectures], dtype=D), covariance)
    places = torch.tensor([[30, 31, 4], [35, 2, 33]])
    asked = torch.stack([torch.zeros(2, 3, dtype=D), places.to(D)], dim=2)
    found = JointPosterior(process, inputs, column=1).posterior(asked).distribution
    expected: Any = process.posterior(inputs[places])
    torch.testing.assert_close(found.mean, expected.distribution.mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.covariance_matrix, expected.distribution.covariance_matrix, rtol=1e-6, atol=1e-8)


def test_rows_that_matter_get_short_length_scales() -> None:
    architectures = draw(150)
    codes, covariance = Hamming().embed(SPACE, architectures)
    model = fit(codes, torch.tensor([worth(a) for a in architectures]), covariance)
    lengths = model.covar_module.base_kernel.lengthscale.detach().flatten()
    assert lengths[0] < lengths[3:].min()


def test_the_best_candidate_is_suggested_and_a_batch_has_no_repetition() -> None:
    observed = [(a, worth(a)) for a in draw(80)]
    known = {a for a, _ in observed}
    pools = [[a for a in draw(400, seed=seed) if a not in known] for seed in range(2, 7)]
    pool = pools[0]
    before = torch.random.get_rng_state()
    chosen = suggest(SPACE, observed, pool, count=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(set(chosen)) == 4
    assert worth(chosen[0]) >= 13.0
    for each in pools:  # the first edge, which decides most, of five that it may be
        assert worth(suggest(SPACE, observed, each, generator=torch.Generator().manual_seed(0))[0]) >= 10.0
    again = suggest(SPACE, observed, pool, count=4, generator=torch.Generator().manual_seed(0))
    assert chosen == again


def test_what_cannot_be_fitted_or_suggested_is_refused() -> None:
    a = draw(3)
    with pytest.raises(ConfigError, match="2 architectures and 1 scores"):
        fit(torch.zeros(2, 6), torch.ones(1), Hamming().embed(SPACE, a).covariance)
    with pytest.raises(ConfigError, match="1 architectures and 1 scores"):
        suggest(SPACE, [(a[0], 1.0)], a, generator=torch.Generator())
    with pytest.raises(ConfigError, match="4 suggestions from 3 candidates"):
        suggest(SPACE, [(x, 1.0) for x in a], a, count=4, generator=torch.Generator())


def test_equal_scores_are_no_error() -> None:
    a = draw(6)
    (chosen,) = suggest(SPACE, [(x, 0.5) for x in a], draw(5, seed=3), generator=torch.Generator())
    assert chosen in draw(5, seed=3)


@pytest.mark.slow
def test_a_first_suggestion_prints_no_warning_of_other_packages() -> None:
    program = (
        "import torch; from nas_search.surrogate import suggest; from nas_spaces import nas_bench_201\n"
        "g = torch.Generator().manual_seed(0); a = [nas_bench_201().sample(g) for _ in range(4)]\n"
        "suggest(nas_bench_201(), [(x, float(i)) for i, x in enumerate(a)], a, generator=g)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr == ""


@pytest.mark.parametrize("kernel", [Hamming(), WeisfeilerLehman(), WeisfeilerLehman(1), Paths()])
def test_every_kernel_finds_what_is_better_and_is_a_covariance(kernel: ArchitectureKernel) -> None:
    observed = [(a, float(str(a).count("nor_conv_3x3"))) for a in draw(60)]
    known = {a for a, _ in observed}
    pool = list({a for a in draw(300, seed=2) if a not in known})
    chosen = suggest(SPACE, observed, pool, kernel=kernel, count=3, generator=torch.Generator().manual_seed(0))
    assert len(set(chosen)) == 3
    counts = [str(a).count("nor_conv_3x3") for a in pool]
    assert sum(str(a).count("nor_conv_3x3") for a in chosen) / 3 > sum(counts) / len(counts) + 1
    inputs, covariance = kernel.embed(SPACE, draw(40))
    with torch.no_grad():
        made = covariance(range(inputs.shape[1])).double()
        matrix, diagonal = made(inputs).to_dense(), made(inputs, diag=True)
    torch.testing.assert_close(matrix.diagonal(), diagonal)
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix)[0] > -1e-9
    torch.testing.assert_close(matrix.diagonal(), torch.ones(40, dtype=D))


def test_weisfeiler_lehman_histograms_count_subtrees() -> None:
    """Operations are vertices between input and output: 3x3, skip, 3x3, and 3x3, skip, 1x1; ``none`` is no edge."""
    a = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
    b = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
    features = WeisfeilerLehman(1).histograms(SPACE, [a, a, b])
    torch.testing.assert_close(features[0], features[1], rtol=0, atol=0)
    # Level 0: input, output, skip and twice 3x3; in the other cell five kinds once each.
    assert sorted(features[0, :5].tolist()) == pytest.approx([0.0, *[7**-0.5] * 3, 2 * 7**-0.5])
    assert features[2, :5].tolist() == pytest.approx([5**-0.5] * 5)
    assert float(features[0, :5] @ features[2, :5]) == pytest.approx(5 / 35**0.5)
    # Level 1: the same vertices with the same neighbours, of five that are all different (those behind do not count for
    # networkx before 3.5).
    assert features[0, 5:].norm() == pytest.approx(1.0)
    assert float(features[0, 5:] @ features[2, 5:]) in (pytest.approx(2 / 5), pytest.approx(3 / 5))


def test_operations_on_edges_are_vertices_and_nodes_that_add_up_are_none() -> None:
    a = SPACE.parse("|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|")
    found = _operations(SPACE.graph(a))
    colours = nx.get_node_attributes(found, "colour")
    assert sorted(colours.values()) == sorted(
        ["input ", "output ", "nor_conv_3x3", "avg_pool_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_1x1"]
    )
    assert sorted((colours[u], colours[v]) for u, v in found.edges) == sorted(
        [
            ("input ", "nor_conv_3x3"), ("input ", "avg_pool_3x3"), ("nor_conv_3x3", "skip_connect"),
            ("nor_conv_3x3", "nor_conv_1x1"), ("avg_pool_3x3", "avg_pool_3x3"), ("skip_connect", "avg_pool_3x3"),
            ("nor_conv_1x1", "output "), ("avg_pool_3x3", "output "),
        ]
    )  # fmt: skip
    space = nas_bench_101()
    vertices = space.graph(space.parse("conv3x3-bn-relu~0+maxpool3x3~0+output~1~2"))
    assert set(_operations(vertices).edges) == set(vertices.edges)  # there they are vertices already


def test_cells_that_differ_in_the_names_of_their_nodes_are_the_same_to_two_kernels() -> None:
    space = nas_bench_101()
    a = space.parse("conv3x3-bn-relu~0+maxpool3x3~0+output~1~2")
    b = space.parse("maxpool3x3~0+conv3x3-bn-relu~0+output~1~2")
    for kernel in (WeisfeilerLehman(), Paths()):
        inputs, covariance = kernel.embed(space, [a, b])
        with torch.no_grad():
            assert covariance([0]).double()(inputs).to_dense()[0, 1] == pytest.approx(1.0)


def test_a_depth_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"depth of the Weisfeiler-Lehman kernel is 0; expected 1 or more"):
        WeisfeilerLehman(0)


def test_the_front_is_what_nothing_beats() -> None:
    generator = torch.Generator().manual_seed(0)
    points = [(i, *torch.randint(12, (2,), generator=generator).double().tolist()) for i in range(60)]
    front: list[tuple[int, float, float]] = pareto_front(points)
    beaten = {
        i
        for i, score, cost in points
        for _, other, price in points
        if other >= score and price <= cost and (other, price) != (score, cost)
    }
    assert {(score, cost) for _, score, cost in front} == {(s, c) for i, s, c in points if i not in beaten}
    assert [cost for _, _, cost in front] == sorted({cost for _, _, cost in front})
    assert pareto_front([]) == []


def test_a_cheap_good_candidate_beats_a_dear_better_one_where_the_front_has_room() -> None:
    """Scores are the first edges'; the cost is told: among equals in score the cheap ones are suggested."""
    observed = [(a, worth(a), 10.0) for a in draw(80)]
    known = {a for a, _, _ in observed}
    pool = list({a for a in draw(400, seed=2) if a not in known})
    priced = [(a, 1.0 if place % 2 else 20.0) for place, a in enumerate(pool)]
    before = torch.random.get_rng_state()
    chosen = suggest_pareto(SPACE, observed, priced, count=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    cost = dict(priced)
    assert len(set(chosen)) == 4
    assert all(cost[a] == 1.0 for a in chosen)
    assert worth(chosen[0]) >= 10.0
    assert chosen == suggest_pareto(SPACE, observed, priced, count=4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="4 suggestions from 3 candidates"):
        suggest_pareto(SPACE, observed, priced[:3], count=4, generator=torch.Generator())
