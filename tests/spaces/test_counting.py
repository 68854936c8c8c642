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


def test_what_is_no_layer_of_convolution_counts_too() -> None:
    wide = nn.ConvTranspose2d(3, 5, 3, stride=2)
    assert count(wide, (1, 3, 4, 4)).multiply_adds == 16 * 3 * 5 * 9 + 81 * 5
    assert count(nn.LSTM(5, 7), (4, 1, 5)).multiply_adds == 4 * 4 * 7 * (5 + 7)
    attention = count(nn.MultiheadAttention(12, 3, batch_first=True), *[(1, 10, 12)] * 3).multiply_adds
    assert attention == 4 * 10 * 12 * 12 + 2 * 10 * 10 * 12  # four maps, the scores and their mixture

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.zeros(8, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(x, self.kernel)

    assert count(Own(), (1, 3, 6, 6)).multiply_adds == 16 * 8 * 27


def test_what_is_counted_does_not_depend_on_where_it_is() -> None:
    class Clamped(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.weight.clamp_(-1, 1)
            return super().forward(x)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), Clamped(16, 5))
    expected = 4 * (4 * 27 + 4) + 16 * 5 + 5
    assert count(network, (1, 3, 4, 4)).multiply_adds == expected
    with torch.inference_mode():
        assert count(network, (1, 3, 4, 4)).multiply_adds == expected


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
