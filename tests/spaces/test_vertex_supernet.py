import pytest
import torch

from nas_spaces import WeightsError, nas_bench_1shot1, nas_bench_101
from nas_spaces.vertex_supernet import VertexSupernet


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
