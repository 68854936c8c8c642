"""The interface of an augmentation policy: draw, score and apply, each alone, and the three composed."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nas_augment.errors import ImagesError
from nas_augment.sample import PolicySample

if TYPE_CHECKING:
    from nas_augment.decided import Policy

__all__ = ["AugmentationPolicy", "Augmented", "check_images"]


class Augmented(NamedTuple):
    """A batch after augmentation.

    Attributes:
        images: ``(batch, channels, height, width)``, in the dtype of the input.
        log_prob: log-probability of what was drawn for each image, ``(batch,)`` float32; zeros where nothing is learned.
    """

    images: Tensor
    log_prob: Tensor


class AugmentationPolicy(nn.Module, ABC):
    """A distribution over transformations of an image.

    Images are ``(batch, channels, height, width)``, uint8 or float in [0, 1]. All randomness is drawn in `sample` from
    the generator that is passed: the same sample gives the same images again.
    """

    @abstractmethod
    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        """Draw one transformation for each of `batch` images."""

    @abstractmethod
    def log_prob(self, sample: PolicySample) -> Tensor:
        """The log-probability of each image's draw under the current parameters, ``(batch,)``."""

    @abstractmethod
    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:
        """Transform images as drawn; the input is not modified.

        Raises:
            ImagesError: the images are not as above, or are not as many as the sample was drawn for.
        """

    @abstractmethod
    def decide(self) -> "Policy":
        """The policy that the search ends with, as a value that is saved and used for training."""

    def forward(self, images: Tensor, *, generator: torch.Generator) -> Augmented:
        """Draw, score and apply."""
        check_images(images)
        drawn = self.sample(len(images), generator=generator)
        return Augmented(self.apply(images, drawn), self.log_prob(drawn))


def check_images(images: Tensor) -> None:
    """Refuse what is not a batch of images.

    Raises:
        ImagesError: not ``(batch, channels, height, width)``, or neither uint8 nor floating point.
    """
    if images.ndim != 4:
        raise ImagesError(f"images have shape {tuple(images.shape)}; expected (batch, channels, height, width).")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ImagesError(f"images are {images.dtype}; expected uint8, or floating point in [0, 1].")
