"""A chain of your own modules: search it by gradients, then train what was found and a random architecture alike.

Three layers, each a convolution of 1, 3 or 5 pixels, on scikit-learn's digits; seconds. docs/own_space.md explains it, and a graph.
"""

import torch
from torch import nn
from torch.nn import functional as F

from nas_search import ImageData, methods, search
from nas_search.data_sources import digits
from nas_spaces import Layer, chain
from nas_spaces.chain import MakeLayer


def conv(kernel: int) -> MakeLayer:
    """An option: from (input channels, output channels, stride) to a module."""

    def make(inputs: int, outputs: int, stride: int) -> nn.Module:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())

    return make


def accuracy(network: nn.Module, data: ImageData, epochs: int = 5) -> float:
    """On the test images, after a plain training."""
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(network.parameters(), lr=3e-3)
    images = data.train.images / 255
    for _ in range(epochs):
        for index in torch.randperm(len(images), generator=generator).split(64)[:-1]:
            optimizer.zero_grad()
            F.cross_entropy(network(images[index]), data.train.labels[index]).backward()
            optimizer.step()
    network.eval()
    return (network(data.test.images / 255).argmax(1) == data.test.labels).float().mean().item()


def main() -> None:
    """Search, train, compare."""
    data = digits()
    layers = [Layer(), Layer(width=2, stride=2), Layer(width=2)]
    space = chain(layers, {"conv1": conv(1), "conv3": conv(3), "conv5": conv(5)}, name="mine")
    method = methods.darts(architecture_learning_rate=0.01)
    found = search(space, data, method, epochs=10, batch_size=64, channels=8).architecture
    for what, architecture in (("found", found), ("random", space.sample(torch.Generator().manual_seed(0)))):
        torch.manual_seed(0)
        network = space.network(architecture, classes=10, channels=8, in_channels=1)
        print(f"{what}: {architecture}, test accuracy {accuracy(network, data):.1%}")


if __name__ == "__main__":
    main()
