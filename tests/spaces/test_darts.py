import sys
from pathlib import Path

import networkx as nx
import pytest
import torch
from torch import Tensor

from nas_spaces import Architecture, ArchitectureError, InputError, WeightsError, catalog, darts, published
from nas_spaces.cell_space import CellSpace
from nas_spaces.cell_text import to_genotype
from nas_spaces.operations import FactorizedReduce
from nas_spaces.testing import check_space, check_supernet

SPACE = darts()
VARIANTS = [
    SPACE,
    darts(exclude=("none",)),
    darts(inputs=True),
    darts(depth_constrained=True),
    darts(free=True),
]
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("space", VARIANTS, ids=lambda space: space.name)
def test_spaces_conform(space: CellSpace) -> None:
    check_space(space, samples=5)


@pytest.mark.parametrize("space", VARIANTS, ids=lambda space: space.name)
def test_supernets_conform(space: CellSpace) -> None:
    check_supernet(space, images(4, 3, 8, 8), cells=3)


@pytest.mark.parametrize("shape", [(4, 1, 7, 5), (5, 3, 4, 4)])
def test_supernets_conform_on_odd_and_small_images(shape: tuple[int, ...]) -> None:
    check_supernet(SPACE, images(*shape), cells=3)


def test_variants_have_names_of_their_own() -> None:
    assert len({space.name for space in VARIANTS}) == len(VARIANTS)
    assert catalog.space("darts", inputs=True).name == "darts_inputs"


def test_sizes() -> None:
    assert SPACE.size == darts(inputs=True).size == (180 * 7**8) ** 2
    assert darts(depth_constrained=True).size == 7**16
    assert darts(exclude=("none", "max_pool_3x3", "avg_pool_3x3")).size == (180 * 5**8) ** 2


def test_size_counts_its_iteration() -> None:
    space = darts(exclude=tuple(name for name in SPACE.shape.operations if "conv_3x3" not in name), free=False)
    first = [next(iter(space))]
    assert space.size == (180 * 2**8) ** 2
    assert str(first[0]).startswith("normal:|sep_conv_3x3~0|sep_conv_3x3~1|")


def test_rows_of_inputs_choose_different_states() -> None:
    with pytest.raises(ArchitectureError, match=r"inputs=True, free=True.*leave one of the two out"):
        darts(inputs=True, free=True)


@pytest.mark.parametrize("exclude", [("conv",), SPACE.shape.operations])
def test_exclude_must_make_sense(exclude: tuple[str, ...]) -> None:
    with pytest.raises(ArchitectureError, match="exclude="):
        darts(exclude=exclude)


def test_genotype_literals_are_read_and_written() -> None:
    assert SPACE.parse(V2) == published.DARTS_V2
    assert SPACE.parse(to_genotype(SPACE.cells(published.DARTS_V2))) == published.DARTS_V2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at position 0 of '': expected 'normal:', found the end"),
        ("normal:|sep_conv_3x3~0|", "position 23 .* expected an operation, one of none, max_pool_3x3"),
        ("normal:|sep_conv_9x9~0|", "position 8 .* found 'sep_conv_9x9~0|'"),
        ("normal:|sep_conv_3x3~2|", "position 21 .* a state that node 0 may read, one of 0, 1, found '2|'"),
        (str(published.DARTS_V2) + "x", "expected the end, found 'x'"),
        (str(published.DARTS_V2).replace("sep_conv_3x3~0", "none~0", 1), "none of them 'none'"),
        (str(published.DARTS_V2).replace("sep_conv_3x3~0", "sep_conv_3x3~1", 1), "from different states"),
        (V2.replace("sep_conv_3x3', 0", "sep_conv_3x3', 7", 1), r"pair 0 of 'normal' is \('sep_conv_3x3', 7\)"),
        (V2.replace("[2, 3, 4, 5]", "[2, 3]"), r"position 200: expected range\(2, 6\)"),
        (V2.replace("Genotype(", "Genotype(1, "), "takes the keywords"),
        (V2.replace("normal_concat", "concat"), "takes the keywords"),
        (V2.replace("('max_pool_3x3', 0), ", "", 1), "expected a list of 8 pairs for 'reduce'"),
        (V2[:-1], "is no Genotype.* at position"),
        ("Genotype(normal=__import__('os').system('true'), normal_concat=range(2, 6), reduce=[], "
         "reduce_concat=range(2, 6))", "expected a list of 8 pairs"),
        ("Genotypes", "expected Genotype"),
    ],
)  # fmt: skip
def test_parse_errors_name_position_and_expectation(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


def test_published_counts_of_darts_v2() -> None:
    counts = SPACE.count(published.DARTS_V2, channels=36, cells=20)
    assert counts.parameters == 3_349_342
    assert counts.multiply_adds == pytest.approx(528e6, rel=2e-3)


@pytest.mark.parametrize("name", [name for name in published.__all__ if not name.endswith("_RNN")])
def test_published_cells_belong_to_their_space(name: str) -> None:
    a = getattr(published, name)
    space = SPACE if a.space == "darts" else darts(free=True)
    assert space.parse(str(a)) == a
    logits = space.network(a, classes=2, channels=4, cells=3)(torch.randn(2, 3, 8, 8))
    assert logits.shape == (2, 2)


def test_discretize_follows_the_paper() -> None:
    weights = torch.zeros(28, 8)
    weights[:, 0] = 9.0  # none never wins
    weights[2, 4], weights[3, 5], weights[4, 6] = 0.3, 0.2, 0.9  # node 1: edges from states 0, 1, 2
    cells = SPACE.cells(SPACE.discretize(weights))
    assert cells["normal"][1] == (("sep_conv_3x3", 0), ("dil_conv_3x3", 2))
    assert cells["normal"][0] == (("max_pool_3x3", 0), ("max_pool_3x3", 1))


def test_discretize_with_input_rows() -> None:
    space = darts(inputs=True)
    weights = torch.zeros(space.choices.shape)
    row = space.choices.groups["normal.inputs"].start + 3
    weights[row, :5] = torch.tensor([0.1, 0.9, 0.2, 0.0, 0.8])
    weights[9 + 1, 5] = weights[9 + 4, 3] = 1.0
    nodes = space.cells(space.discretize(weights))["normal"]
    assert nodes[3] == (("sep_conv_5x5", 1), ("skip_connect", 4))


def test_neighbors_and_distance_count_connections() -> None:
    a = published.DARTS_V2
    neighbors = list(SPACE.neighbors(a))
    assert all(SPACE.distance(a, b) == 1 for b in neighbors)
    # Node i has i + 2 states: a connection may become any of 7 operations on itself's or a free state.
    assert len(neighbors) == 2 * sum(2 * (7 * (states - 1) - 1) for states in (2, 3, 4, 5))
    assert SPACE.distance(a, published.DARTS_V1) > 1


def test_graph_holds_both_cells() -> None:
    graph = SPACE.graph(published.DARTS_V2)
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.number_weakly_connected_components(graph) == 2
    assert graph.edges[0, 2]["operation"] == "sep_conv_3x3"
    labels = [str(data["label"]) for _, data in graph.nodes(data=True)]
    assert [label for label in labels if label in ("normal", "reduce")] == ["normal", "reduce"]


def test_images_too_small_or_of_other_channels() -> None:
    supernet = SPACE.supernet(channels=2, cells=3)
    with pytest.raises(InputError, match="too small for 2 reductions"):
        supernet(torch.randn(2, 3, 3, 8), torch.zeros(28, 8))
    with pytest.raises(InputError, match="reads"):
        supernet(torch.randn(2, 1, 8, 8), torch.zeros(28, 8))
    with pytest.raises(WeightsError):
        supernet(torch.randn(2, 3, 8, 8), torch.zeros(14, 8))
    with pytest.raises(InputError, match="at least 1"):
        SPACE.supernet(cells=0)
    with pytest.raises(InputError, match="unknown stem"):
        SPACE.supernet(stem="mnist")


def test_an_architecture_of_a_variant_is_refused() -> None:
    a = darts(inputs=True).sample(torch.Generator().manual_seed(0))
    with pytest.raises(ArchitectureError, match="belongs to space 'darts_inputs'"):
        SPACE.network(a)
    with pytest.raises(ArchitectureError):
        SPACE.cells(Architecture("nas_bench_201", ((0,),) * 6, ""))


def test_auxiliary_head_and_imagenet_stem() -> None:
    network = SPACE.network(published.DARTS_V2, classes=4, channels=4, cells=3, auxiliary=True)
    logits, side = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == side.shape == (2, 4)
    assert network.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(InputError, match="auxiliary head needs"):
        network.train()(torch.randn(2, 3, 16, 16))
    large = SPACE.network(published.DARTS_V2, classes=4, channels=4, cells=3, stem="imagenet")
    assert large(torch.randn(2, 3, 64, 64)).shape == (2, 4)
    check = SPACE.supernet(classes=4, channels=4, cells=3, stem="imagenet")
    assert check(torch.randn(2, 3, 64, 64), SPACE.weights(published.DARTS_V2)).shape == (2, 4)


def test_drop_path_acts_in_training_only() -> None:
    network = SPACE.network(published.DARTS_V1, classes=2, channels=4, cells=3)
    batch = torch.randn(4, 3, 8, 8)
    with torch.random.fork_rng():
        plain = network(batch)
        network.drop_path(0.5)
        assert not torch.allclose(plain, network(batch))
        network.eval()
        assert torch.equal(network(batch), network(batch))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_supernet_equals_the_reference(dtype: torch.dtype, tolerance: float, checkpoint: bool) -> None:
    """Outputs and all gradients, against the straightforward network of the benchmarks."""
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        reference = pytest.importorskip("reference_darts")
    finally:
        sys.path.remove(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = SPACE.supernet(channels=4, cells=4, checkpoint=checkpoint).to(dtype)
        theirs = reference.ReferenceSupernet(channels=4, cells=4).to(dtype)
        weights = torch.randn(28, 8, dtype=dtype).softmax(dim=1).requires_grad_()
        target = torch.randn(4, 10, dtype=dtype)
    theirs.load(ours)
    batch = images(4, 3, 16, 16, dtype=dtype)
    a, b = ours(batch, weights), theirs(batch, weights)
    torch.testing.assert_close(a, b, rtol=tolerance / 10, atol=tolerance / 10)
    names = [name for name, _ in ours.named_parameters()]
    mine = dict(ours.named_parameters())
    other = {f"body.stack.{name}": value for name, value in theirs.named_parameters()}
    other |= {f"body.{name}": value for name, value in theirs.named_parameters()}
    ours_grads = torch.autograd.grad((a * target).sum(), [weights, *(mine[name] for name in names)])
    their_grads = torch.autograd.grad((b * target).sum(), [weights, *(other[name] for name in names)])
    for x, y in zip(ours_grads, their_grads, strict=True):
        # What is zero in exact arithmetic, as the gradient of a kernel before a normalisation along itself, is rounding.
        assert float((x - y).abs().max()) <= tolerance * max(0.01, float(y.abs().max()))


def test_second_derivatives_equal_the_finite_difference() -> None:
    """The hand-written gradients must themselves be differentiable: hypergradients need Hessian-vector products."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = SPACE.supernet(classes=2, channels=2, cells=3).double()
        weights = torch.randn(28, 8).double().softmax(dim=1)
    batch = images(4, 3, 8, 8)
    kernels = [p for n, p in supernet.named_parameters() if "sep_conv_5x5.0.depthwise" in n]

    def gradient(choice: Tensor, create_graph: bool) -> tuple[Tensor, ...]:
        loss = supernet(batch, choice).square().sum()
        return torch.autograd.grad(loss, kernels, create_graph=create_graph)

    direction = torch.ones_like(weights) / 3
    direction[:, 4:] *= -1
    choice = weights.clone().requires_grad_()
    dot = sum((g * g.detach()).sum() for g in gradient(choice, True))
    assert isinstance(dot, Tensor)
    (exact,) = torch.autograd.grad(dot, choice)
    vectors = gradient(weights, False)
    step = 1e-6
    plus, minus = gradient(weights + step * direction, False), gradient(weights - step * direction, False)
    numeric = sum(float(((p - m) * v).sum()) for p, m, v in zip(plus, minus, vectors, strict=True)) / (2 * step)
    assert float((exact * direction).sum()) == pytest.approx(numeric, rel=1e-5)


@pytest.mark.parametrize("inputs", [4, 12])
def test_halving_few_channels_has_the_gradients_of_double_precision(inputs: int) -> None:
    """A strided 1 x 1 kernel would have wrong ones with fewer than 8 or 16, or abort the process: uxlfoundation/oneDNN#6035."""
    torch.manual_seed(0)
    reduce = FactorizedReduce(inputs, 4)
    images = torch.randn(8, inputs, 8, 8).contiguous(memory_format=torch.channels_last)
    along = torch.randn(8, 4, 4, 4)
    found = []
    for dtype in (torch.float32, torch.float64):
        module = reduce.to(dtype)
        output = module.convolve(images.to(dtype))
        found.append(torch.autograd.grad(output, [module.even.weight, module.odd.weight], along.to(dtype)))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
