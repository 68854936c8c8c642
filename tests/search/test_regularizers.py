import math

import pytest
import torch

from nas_search import ConfigError
from nas_search.regularizers import Decay, Entropy, depth, entropy, resource, successive_edges
from nas_search.roles import Regularizer
from nas_search.schedules import Constant, Linear
from nas_spaces import nas_bench_201
from nas_spaces.amended import amended_s1
from nas_spaces.darts import darts
from nas_spaces.mobile import mobile


def test_entropy_of_uniform_and_of_one_hot_rows() -> None:
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]])
    assert entropy(weights).item() == pytest.approx(math.log(4) / 2)


@pytest.mark.parametrize(
    ("make", "value"), [(Entropy, math.log(2)), (lambda c: resource(torch.ones(3, 2), c), 3.0), (Decay, 7.0)]
)
def test_the_coefficient_follows_the_progress(make: type, value: float) -> None:
    weights = torch.full((3, 2), 0.5, requires_grad=True)
    outer = {"relaxation.logits": torch.tensor([[1.0, 3.0], [2.0, 0.0]], requires_grad=True)}
    regularizer: Regularizer = make(Linear(0.0, 2.0))
    assert regularizer(weights, 0.0, outer).item() == 0
    assert regularizer(weights, 0.5, outer).item() == pytest.approx(value)
    regularizer(weights, 1.0, outer).backward()
    gradients = [tensor.grad for tensor in (weights, outer["relaxation.logits"]) if tensor.grad is not None]
    assert len(gradients) == 1
    assert torch.isfinite(gradients[0]).all()


def test_decay_is_that_of_the_optimizer() -> None:
    """The gradient of the term is the coefficient times the parameters; those of a policy are left alone."""
    outer = {name: torch.tensor([[1.0, -2.0]], requires_grad=True) for name in ("relaxation.logits", "policy.logits")}
    Decay(Constant(0.1))(torch.ones(1, 2), 0.0, outer).backward()
    assert torch.equal(outer["relaxation.logits"].grad, 0.1 * outer["relaxation.logits"].detach())  # type: ignore[arg-type]
    assert outer["policy.logits"].grad is None


def test_the_expected_cost_is_that_of_sampled_architectures() -> None:
    """Against the mean over all architectures, by their probabilities."""
    space = nas_bench_201()
    costs = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)).softmax(dim=1).requires_grad_()
    value = resource(costs, Constant(2.0))(weights, 0.0, {})
    total = 0.0
    for architecture in space:
        taken = space.weights(architecture).bool()
        total += float(weights.detach()[taken].prod() * costs[taken].sum())
    assert value.item() == pytest.approx(2 * total, rel=1e-4)
    value.backward()
    torch.testing.assert_close(weights.grad, 2 * costs)


def test_successive_nodes_of_nas_bench_201() -> None:
    table = successive_edges(nas_bench_201())
    assert table.sum(dim=1).tolist() == [4, 0, 4, 0, 0, 4]  # 1 <- 0, 2 <- 1, 3 <- 2
    assert table[:, 0].sum() == 0  # none


def test_successive_nodes_of_darts() -> None:
    """Rows 1, 4, 8 and 13 of each of the two cells; `none` does not connect."""
    table = successive_edges(darts())
    assert table.sum(dim=1).nonzero()[:, 0].tolist() == [1, 4, 8, 13, 15, 18, 22, 27]
    assert set(table.sum(dim=1).tolist()) == {0.0, 7.0}
    assert successive_edges(amended_s1()).sum().item() == 2 * 4 * 7


def test_depth_is_rewarded() -> None:
    space = nas_bench_201()
    term = depth(space, Constant(0.05))
    deep = space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
    flat = space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    values = [term(space.weights(a), 0.0, {}).item() for a in (deep, flat)]
    assert values == pytest.approx([-0.15, -0.05])


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"costs have shape \(2, 3\), the choice weights \(6, 5\)"):
        resource(torch.ones(2, 3))(torch.ones(6, 5), 0.0, {})
    for costs in (torch.ones(3), torch.tensor([[1.0, math.inf]])):
        with pytest.raises(ConfigError, match=r"expected \(choices, options\) and finite numbers"):
            resource(costs)
    with pytest.raises(ConfigError, match="space 'mobile' has no cell whose nodes choose their inputs"):
        depth(mobile())


def test_without_architecture_parameters_there_is_nothing_to_decay() -> None:
    with pytest.raises(ConfigError, match="no architecture parameters to decay"):
        Decay()(torch.ones(1, 2), 0.0, {"policy.logits": torch.ones(3)})


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 0.0),
        ([[-0.5, 0.5], [2.0, 2.0]], math.log(2)),
        ([[0.0, 0.0], [1.0, 0.0]], 0.0),
    ],
)
def test_entropy_of_hard_and_of_negative_weights(weights: list[list[float]], expected: float) -> None:
    table = torch.tensor(weights, requires_grad=True)
    value = Entropy(Constant(1.0))(table, 0.0, {})
    value.backward()
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert table.grad is not None
    assert bool(table.grad.isfinite().all())
