"""The relaxation of a space in the latent space of its autoencoder, which is trained on first use."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nas_search.autoencoder import GraphVAE
from nas_search.pretraining import AutoencoderSettings, obtain_autoencoder
from nas_search.relaxations import Latent
from nas_search.relaxations.gumbel import check_temperature
from nas_search.roles import Observer, Schedule
from nas_search.schedules import Constant
from nas_spaces import SearchSpace

__all__ = ["LatentSpace"]


@dataclass(frozen=True)
class LatentSpace:
    """Makes `Latent` for a space; meets `RelaxationOfSpace`.

    Args:
        settings: of the autoencoder.
        file: where it is kept, and read from if it is there; in the user's cache folder when empty.
        temperature: see `Latent`.
        scale: see `Latent`.
        shortcut: see `Latent`.
    """

    settings: AutoencoderSettings = AutoencoderSettings()
    file: str = ""
    temperature: Schedule = Constant(1.0)
    scale: float = 1e-3
    shortcut: bool = False

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def prepare(self, space: SearchSpace, observers: Sequence[Observer] = ()) -> None:
        """Train the autoencoder unless it is kept already; see `obtain_autoencoder` and `Latent` for what is raised."""
        with torch.random.fork_rng(devices=[]):  # what does not fit is refused before the training
            self._of(space, GraphVAE(space, self.settings.latent, self.settings.hidden))
        obtain_autoencoder(space, self.settings, self.file, observers)

    def of(self, space: SearchSpace) -> Latent:
        """The relaxation, at a point drawn of torch's global random numbers as in all relaxations."""
        return self._of(space, obtain_autoencoder(space, self.settings, self.file))

    def _of(self, space: SearchSpace, autoencoder: GraphVAE) -> Latent:
        return Latent(space, autoencoder, self.temperature, self.scale, self.shortcut)
