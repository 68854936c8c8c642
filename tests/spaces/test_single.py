"""A space of one architecture."""

import pickle

import networkx as nx
import pytest
import torch
from torch import nn

from nas_spaces import ArchitectureError, InputError, WeightsError, single


def make(*, classes: int, in_channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, classes))


def test_it_has_one_architecture() -> None:
    space = single(make, name="mine")
    architecture = space.sample(torch.Generator())
    assert (space.size, str(architecture), list(space)) == (1, "mine", [architecture])
    assert space.parse("mine") == space.discretize(torch.zeros(0, 0)) == architecture
    assert list(space.neighbors(architecture)) == []
    assert space.weights(architecture).shape == space.choices.mask.shape == space.choices.shape == (0, 0)
    assert space.choices.mask.dtype == torch.bool
    graph = space.graph(architecture)
    assert nx.get_edge_attributes(graph, "operation") == {(0, 1): "mine"}
    assert space.count(architecture, image=(1, 8, 8)).parameters == 3 * 9 + 3 + 6 + 108 * 10 + 10


def test_what_it_does_not_have_is_refused() -> None:
    space = single(make)
    with pytest.raises(ArchitectureError, match="'mine' is no architecture of space 'single'"):
        space.parse("mine")
    with pytest.raises(ArchitectureError, match="no neighbour of single to draw; this space has one architecture"):
        space.mutate(space.sample(torch.Generator()), torch.Generator())
    with pytest.raises(WeightsError, match=r"this space has \(0, 0\)"):
        space.supernet(in_channels=1)(torch.rand(2, 1, 8, 8), torch.zeros(1, 2))
    with pytest.raises(InputError, match="classes is 0"):
        space.supernet(classes=0)
    with pytest.raises(ArchitectureError, match="belongs to space 'single', not to 'mine'"):
        single(make, name="mine").network(space.sample(torch.Generator()))


def test_its_supernet_is_the_network_with_the_statistics_of_the_batch() -> None:
    space, images = single(make), torch.rand(4, 1, 8, 8)
    supernet = space.supernet(classes=7, in_channels=1)
    network = space.network(space.sample(torch.Generator()), classes=7, in_channels=1)
    network.load_state_dict({k.removeprefix("network."): v for k, v in supernet.state_dict().items()}, strict=False)
    supernet.eval()
    torch.testing.assert_close(supernet(images, torch.zeros(0, 0), ()), network(images))
    assert not any("running" in name for name in supernet.state_dict())
    assert any("running" in name for name in network.state_dict())


def test_a_network_itself_is_copied_with_its_weights() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    space, images = single(network), torch.rand(2, 1, 8, 8)
    supernet = space.supernet(in_channels=1)
    assert torch.equal(supernet(images, torch.zeros(0, 0)), network(images))
    with torch.no_grad():
        next(supernet.parameters()).zero_()
    assert torch.equal(space.network(space.parse("single"), in_channels=1)(images), network(images))
    assert not torch.equal(supernet(images, torch.zeros(0, 0)), network(images))


def test_a_space_of_a_network_pickles() -> None:
    space = single(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    again = pickle.loads(pickle.dumps(space))
    networks = [each.network(each.parse("single"), classes=2) for each in (space, again)]
    assert torch.equal(*(network.state_dict()["1.weight"] for network in networks))
