import math

import pytest
import torch

from nas_search import ConfigError
from nas_search.gates import HardConcrete, OpenGates
from nas_search.relaxations import GatedSoftmax
from nas_search.schedules import Constant
from nas_spaces import Choices, darts, mobile, nas_bench_201

CHOICES = Choices(options=(("none", "a", "b"), ("a", "none", "b"), ("none", "a")), nodes=((0,), (2, 1)))


def test_a_gate_is_the_stretched_and_clamped_coin() -> None:
    gates = HardConcrete(low=-0.2, high=1.3, temperature=0.5)
    logits, uniform = torch.tensor([0.4, -1.0, 3.0]).double(), torch.tensor([0.3, 0.05, 0.9]).double()
    coin = 1 / (1 + torch.exp(-(torch.log(uniform) - torch.log(1 - uniform) + logits) / 0.5))
    expected = torch.clamp(coin * 1.5 - 0.2, 0, 1)
    torch.testing.assert_close(gates.gate(logits, uniform.logit()), expected)
    assert expected[1] == 0
    assert expected[2] == 1


def test_gates_are_open_with_their_probability() -> None:
    gates, logits = HardConcrete(), torch.tensor([-3.0, 0.0, 2.0]).double()
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([gates.gate(logits, gates.noise(logits, generator)) for _ in range(4000)])
    frequency = (draws > 0).double().mean(dim=0)
    # Three standard deviations of a frequency of 4000 draws are below 0.024.
    torch.testing.assert_close(frequency, gates.open_probability(logits), atol=0.024, rtol=0)
    torch.testing.assert_close(gates.open_probability(logits), torch.sigmoid(logits - 2 / 3 * math.log(0.1 / 1.1)))


def test_the_regularizer_drives_the_gates_open() -> None:
    logits = torch.tensor([0.0, 1.0]).double().requires_grad_()
    term = OpenGates(Constant(0.05))(torch.zeros(0), 0.5, {"relaxation.gates": logits})
    opened = torch.sigmoid(logits.detach() - 2 / 3 * math.log(0.1 / 1.1))
    torch.testing.assert_close(term.detach(), -0.05 * opened.sum())
    (grad,) = torch.autograd.grad(term, logits)
    torch.testing.assert_close(grad, -0.05 * opened * (1 - opened))
    with pytest.raises(ConfigError, match="needs gates to open; give the method the relaxation GatedSoftmax"):
        OpenGates()(torch.zeros(0), 0.5, {"relaxation.logits": logits})


def test_gates_stand_on_the_last_edge_of_every_node() -> None:
    # Rows 1, 4, 8 and 13 of the 14 of a cell.
    assert GatedSoftmax(darts().choices).rows == [1, 4, 8, 13, 15, 18, 22, 27]
    assert GatedSoftmax(CHOICES).rows == [0, 1]


def test_a_gate_shares_its_row_between_none_and_the_operations() -> None:
    relaxation = GatedSoftmax(CHOICES).double()
    with torch.no_grad():
        relaxation.logits.copy_(torch.tensor([[9.0, 0.5, 1.0], [0.2, 9.0, -0.3], [0.1, 0.7, 9.0]]))
        relaxation.gates.copy_(torch.tensor([0.3, -0.6]))
    noise = relaxation.noise(torch.Generator().manual_seed(1))
    weights = relaxation(noise, 0.0).weights
    gates = HardConcrete().gate(relaxation.gates, noise)
    torch.testing.assert_close(weights[0, 1:], gates[0] * torch.tensor([0.5, 1.0]).double().softmax(dim=0))
    torch.testing.assert_close(weights[0, 0], 1 - gates[0])
    torch.testing.assert_close(weights[1, [0, 2]], gates[1] * torch.tensor([0.2, -0.3]).double().softmax(dim=0))
    torch.testing.assert_close(weights[2, :2], torch.tensor([0.1, 0.7]).double().softmax(dim=0))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3).double())
    expected = HardConcrete().gate(relaxation.gates.detach(), None)
    torch.testing.assert_close(relaxation.probabilities()[0, 0], 1 - expected[0])
    half_open = relaxation(torch.zeros(2).double(), 0.0).weights
    grads = torch.autograd.grad(half_open[0, 1], [relaxation.gates, relaxation.logits])
    assert grads[0][0] > 0
    assert grads[1][0, 0] == 0  # the logit of `none` has given way to the gate


@pytest.mark.parametrize("space", [mobile(), darts(exclude=("none",))])
def test_a_space_without_depth_edges_is_refused(space: object) -> None:
    with pytest.raises(ConfigError, match="depth gates stand on edges between nodes that may carry 'none'"):
        GatedSoftmax(space.choices)  # type: ignore[attr-defined]


def test_a_distribution_without_mass_on_both_ends_is_refused() -> None:
    for values in ({"low": 0.1}, {"high": 0.9}, {"temperature": 0.0}):
        with pytest.raises(ConfigError, match="needs low < 0, high > 1 and a positive temperature"):
            HardConcrete(**values)


def test_nas_bench_201_has_depth_edges() -> None:
    assert GatedSoftmax(nas_bench_201().choices).rows == [0, 2, 5]
