"""What the names of a run's configuration stand for."""

from dataclasses import dataclass, replace

import torch

from nas_search import catalog
from nas_search.config import RunConfig
from nas_search.data import Data, ImageData
from nas_search.data_sources import image_folders, load_data
from nas_search.errors import ConfigError
from nas_search.lazy_images import ImageFolders, Reading
from nas_search.measure import choose_device
from nas_search.method import Method
from nas_search.mixed_space import MixedSpace, named
from nas_spaces import Architecture, SearchSpace
from nas_spaces.counting import count

__all__ = ["RunParts"]


@dataclass(frozen=True)
class RunParts:
    """What the names of a configuration stand for."""

    config: RunConfig
    searched: SearchSpace
    source: Data | ImageFolders
    device: torch.device
    method: Method
    reading: Reading | None = None

    @property
    def data(self) -> Data:
        """What is whole in memory."""
        assert not isinstance(self.source, ImageFolders)
        return self.source

    @staticmethod
    def of(config: RunConfig, reading: Reading | None = None) -> "RunParts":
        """With a `reading`, images in folders are left there."""
        method = catalog.method(config.method, config.settings)
        if reading is not None:
            folders = image_folders(config.data)
            return RunParts(config, named(config.space), folders, choose_device(config.device), method, reading)
        data = load_data(config.data)
        if config.policy != "default":
            policy = catalog.policy(config.policy)
            if not isinstance(data, ImageData):
                raise ConfigError(
                    f"policy {config.policy!r} is for images; {data.name} is made of tokens: leave it out."
                )
            data = replace(data, policy=policy)
        return RunParts(config, named(config.space), data, choose_device(config.device), method)

    @property
    def space(self) -> SearchSpace:
        """Whose networks are trained: what was found has settings of the training apart from its architecture."""
        return self.searched.base if isinstance(self.searched, MixedSpace) else self.searched

    @property
    def sizes(self) -> dict[str, int]:
        """What a network is made with."""
        return {
            "classes": self.source.classes,
            "channels": self.config.channels,
            "cells": self.config.cells,
            "in_channels": self.source.in_channels,
        }

    def counts(self, architecture: Architecture, shape: tuple[int, ...], stem: str = "cifar") -> dict[str, int]:
        """The ``parameters`` and ``multiply_adds`` of the network of an architecture, for an example of a shape."""
        if stem == "cifar":
            sizes = {key: value for key, value in self.sizes.items() if key != "in_channels"}
            counts = self.space.count(architecture, image=shape, **sizes)
        else:
            with torch.device("meta"):
                network = self.space.network(architecture, **self.sizes, stem=stem)  # type: ignore[call-arg]
            counts = count(network, (1, *shape))
        return {"parameters": counts.parameters, "multiply_adds": counts.multiply_adds}
