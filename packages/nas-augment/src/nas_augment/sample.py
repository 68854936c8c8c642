"""The record of what was drawn."""

from dataclasses import dataclass

from torch import Tensor

from nas_augment.errors import ImagesError

__all__ = ["PolicySample"]


@dataclass(frozen=True)
class PolicySample:
    """What was drawn for each image of a batch; applying it again gives the same images.

    Args:
        draws: one tensor ``(batch, numbers)`` of uniform numbers in [0, 1) for each stage of the policy.
        batch: for how many images it was drawn.
    """

    draws: tuple[Tensor, ...]
    batch: int

    def __len__(self) -> int:
        """The number of images it was drawn for."""
        return self.batch

    def check(self, images: Tensor) -> None:
        """Refuse images that are not as many as the sample was drawn for.

        Raises:
            ImagesError: they are more or fewer.
        """
        if len(images) != self.batch:
            raise ImagesError(f"{len(images)} images, but the sample was drawn for {self.batch}.")
