import torch
from torch import nn

from nas_spaces import Counts, count


def test_convolutions_and_linear_layers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
    assert count(network, (1, 3, 8, 8)) == Counts(
        parameters=8 * 27 + 8 + 128 * 5 + 5, multiply_adds=16 * (8 * 27 + 8) + 128 * 5 + 5
    )


def test_groups_divide_the_work() -> None:
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
    assert count(depthwise, (1, 6, 5, 5)) == Counts(parameters=54, multiply_adds=54 * 25)


def test_normalisation_counts_as_parameters_only() -> None:
    assert count(nn.BatchNorm2d(7), (1, 7, 4, 4)) == Counts(parameters=14, multiply_adds=0)


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert count(network, torch.zeros(1, 3)).parameters == 6


def test_the_network_is_not_touched() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count(network, (1, 1, 4, 4))
    assert network.training
    assert not network[0]._forward_hooks
    for name, value in network.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[name])
