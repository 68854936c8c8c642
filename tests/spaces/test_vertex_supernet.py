import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces import WeightsError, nas_bench_1shot1, nas_bench_101
from nas_spaces.nas_bench_101_cells import EDGES, OUTPUT
from nas_spaces.vertex_network import Stacks
from nas_spaces.vertex_supernet import VertexSupernet


def normalised(x: Tensor) -> Tensor:
    mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


def one_cell(supernet: VertexSupernet) -> torch.nn.Module:
    body = supernet.body
    assert isinstance(body, Stacks)
    return body.get_submodule("stacks.0.0")


def longhand(state: dict[str, Tensor], x: Tensor, weights: Tensor) -> Tensor:
    """The mixed cell of NAS-Bench-101 from its definition."""
    edge = {e: weights[row, 1] for row, e in enumerate(EDGES)}
    values: dict[int, Tensor] = {}

    def projected(target: int) -> Tensor:
        return normalised(F.conv2d(x, state[f"projections.{target}.0.weight"])).relu()

    for vertex in range(1, OUTPUT):
        total = edge[0, vertex] * projected(vertex)
        for source in range(1, vertex):
            total = total + edge[source, vertex] * values[source]
        outputs = [
            normalised(F.conv2d(total, state[f"convolutions.{vertex}-0.0.weight"], padding=1)).relu(),
            normalised(F.conv2d(total, state[f"convolutions.{vertex}-1.0.weight"])).relu(),
            F.max_pool2d(total, 3, 1, 1),
        ]
        values[vertex] = sum(
            (weights[len(EDGES) + vertex - 1, option] * output for option, output in enumerate(outputs)),
            torch.zeros_like(total),
        )
    joined = torch.cat([edge[vertex, OUTPUT] * value for vertex, value in values.items()], dim=1)
    return joined + edge[0, OUTPUT] * projected(OUTPUT)


def test_the_mixed_cell_equals_its_definition_with_gradients() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = nas_bench_101().supernet(classes=2, channels=3, cells=1).double()
        x = torch.randn(4, 3, 6, 5, dtype=torch.float64, requires_grad=True)
        weights = torch.rand(26, 3, dtype=torch.float64, requires_grad=True)
    assert isinstance(supernet, VertexSupernet)
    cell = one_cell(supernet)
    recorded: list[Tensor] = []
    cell.register_forward_hook(lambda _module, inputs, output: recorded.extend((inputs[0], output)))
    supernet(x, weights)
    features, ours = recorded
    theirs = longhand(dict(cell.named_parameters()), features, weights)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    target = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).reshape(ours.shape)
    inputs = [weights, *cell.parameters()]
    gradients = [torch.autograd.grad((output * target).sum(), inputs, retain_graph=True) for output in (ours, theirs)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_an_edge_without_a_choice_is_always_there() -> None:
    space = nas_bench_1shot1(1)
    a = space.parse("maxpool3x3~0+conv1x1-bn-relu~0~1+loose~0~1+loose~0~1+output~1~2")
    supernet = space.supernet(classes=2, channels=2, cells=1)
    assert isinstance(supernet, VertexSupernet)
    assert [edge for edge, place in supernet.rows.edges.items() if place is None] == [(0, 1), (0, 2), (1, 2)]
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = supernet(images, space.weights(a), a.options)
    with torch.no_grad():
        supernet.get_parameter("body.stacks.0.0.projections.1.0.weight").neg_()
    assert not torch.allclose(before, supernet(images, space.weights(a), a.options))


def test_a_block_without_an_operation_reads_nothing() -> None:
    space = nas_bench_1shot1(1)
    a = space.parse("maxpool3x3~0+conv1x1-bn-relu~0~1+conv3x3-bn-relu~0~2+loose~0~1+output~1~3")
    supernet = space.supernet(classes=2, channels=2, cells=1)
    called: list[str] = []
    for target in "1234":
        projection = supernet.get_submodule(f"body.stacks.0.0.projections.{target}")
        projection.register_forward_hook(lambda _module, _inputs, _output, target=target: called.append(target))
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    supernet(images, space.weights(a), a.options)
    assert called == ["1", "2", "3"]


def test_a_drawn_path_gives_gradients_to_its_own_options_only() -> None:
    for space in (nas_bench_101(), nas_bench_1shot1(3)):
        generator = torch.Generator().manual_seed(1)
        a = space.sample(generator)
        weights = space.weights(a).requires_grad_()
        supernet = space.supernet(classes=2, channels=2, cells=1)
        supernet(torch.randn(3, 3, 8, 8, generator=generator), weights, a.options).square().sum().backward()
        assert weights.grad is not None
        assert weights.grad.any()
        assert not weights.grad[space.weights(a) == 0].any()


def test_a_path_that_leads_nowhere_gives_the_same_logits_for_all_images() -> None:
    space = nas_bench_101()
    supernet = space.supernet(classes=2, channels=2, cells=1)
    drawn = ((0,),) * 21 + ((1,),) * 5
    logits = supernet(torch.randn(3, 3, 8, 8), space.choices.one_hot(drawn), drawn)
    assert torch.equal(logits, logits[:1].expand_as(logits))


def test_weights_of_another_shape() -> None:
    with pytest.raises(WeightsError, match=r"this space has \(7, 5\)"):
        nas_bench_1shot1(1).supernet(channels=2)(torch.randn(2, 3, 8, 8), torch.zeros(26, 3))
