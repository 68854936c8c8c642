"""The interface of an augmentation policy: draw, score and apply, each alone, and the three composed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nas_augment import annotations as following
from nas_augment.annotations import Annotated, ApplyArguments, divide
from nas_augment.errors import ImagesError, PolicyError, is_count
from nas_augment.geometry import Matrices, Motion, matrices
from nas_augment.sample import PolicySample

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nas_augment.decided import Policy

__all__ = ["AugmentationPolicy", "Augmented", "check_batch", "check_form", "check_generator", "check_images"]


class Augmented(NamedTuple):
    """A batch after augmentation.

    Attributes:
        images: ``(batch, channels, height, width)``, in the dtype of the input.
        log_prob: log-probability of each image's draw, ``(batch,)`` float32; zeros where nothing is learned.
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
        """The log-probability of each image's draw under the current parameters, ``(batch,)``.

        What no parameter decides, such as signs and probabilities that are given, is left out.
        """

    # The name is the design's; nn.Module.apply, which maps a function over submodules, is not used on policies.
    @abstractmethod
    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
        """Transform images as drawn; the input is not modified, and what is returned is no view of it.

        Raises:
            ImagesError: the images are not as above, or are not as many as the sample was drawn for.
        """

    @abstractmethod
    def decide(self) -> "Policy":
        """The policy that the search ends with, as a value that is saved and used for training."""

    def motions(self, sample: PolicySample, height: int, width: int) -> tuple[Motion, ...]:
        """Where each step moves the pixels of images of a size; annotations follow. ``()`` if none ever moves.

        Raises:
            PolicyError: this policy, or a stage of it, does not say.
        """
        raise PolicyError(
            f"{type(self).__name__} cannot take annotations along, nor give matrices: implement its method motions()."
        )

    def matrices(self, sample: PolicySample, height: int, width: int) -> Matrices:
        """The motions as tensors: the inverse of each step, and the forward motion of all together."""
        return matrices(self.motions(sample, height, width), len(sample))

    def apply_annotated(self, images: Tensor, sample: PolicySample, **arguments: "Unpack[ApplyArguments]") -> Annotated:
        """Transform images as drawn, and masks, boxes and key points with them; see `annotations.AnnotationArguments`.

        What is none of these, such as ``path``, goes to `apply`.

        Raises:
            ImagesError: as `apply`.
            AnnotationsError: an annotation does not fit the images.
            PolicyError: the policy does not say where pixels go.
        """
        annotations, options = divide(arguments)
        apply: Callable[..., Tensor] = self.apply
        moved = apply(images, sample, **options)
        return following.move(moved, self.motions(sample, images.shape[2], images.shape[3]), **annotations)

    def forward(
        self, images: Tensor, *, generator: torch.Generator, **arguments: "Unpack[ApplyArguments]"
    ) -> Augmented | Annotated:
        """Draw, score and apply; `Annotated` if anything is passed along with the images.

        What is no annotation, such as ``path="soft"``, goes to `apply`.
        """
        check_form(images)
        annotations, options = divide(arguments)
        drawn = self.sample(len(images), generator=generator)
        if annotations:
            return self.apply_annotated(images, drawn, **arguments)._replace(log_prob=self.log_prob(drawn))
        apply: Callable[..., Tensor] = self.apply
        return Augmented(apply(images, drawn, **options), self.log_prob(drawn))


def check_generator(generator: torch.Generator) -> None:
    """Refuse what is no generator, such as a seed.

    Raises:
        PolicyError: it is none.
    """
    if not isinstance(generator, torch.Generator):
        raise PolicyError(
            f"generator is {generator!r:.80}; expected a torch.Generator, such as torch.Generator().manual_seed(0)."
        )


def check_batch(batch: int) -> None:
    """Refuse what is no number of images.

    Raises:
        PolicyError: it is none.
    """
    if not is_count(batch):
        raise PolicyError(f"batch is {batch!r:.80}; expected the number of images to draw for, 0 or more.")


def check_images(images: Tensor) -> None:
    """Refuse what is not a batch of images.

    Raises:
        ImagesError: not ``(batch, 1 or 3, height, width)``, neither uint8 nor floating point, or floats that are not
            in [0, 1]. Finding that out reads floats once and, on a GPU, waits for them; uint8 needs neither.
    """
    check_form(images)
    if images.is_floating_point() and images.numel():
        low, high = (float(bound) for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise ImagesError(
                f"images range from {low} to {high}; expected floats in [0, 1]: augment before normalising, "
                "and look for NaN in the data."
            )


def check_form(images: Tensor) -> None:
    """As `check_images`, without the range of floats, which is read once a call: by what transforms them.

    Raises:
        ImagesError: not ``(batch, 1 or 3, height, width)``, or neither uint8 nor floating point.
    """
    if not isinstance(images, Tensor):
        raise ImagesError(f"images are of type {type(images).__name__}; expected a tensor.")
    if images.ndim != 4:
        raise ImagesError(f"images have shape {tuple(images.shape)}; expected (batch, channels, height, width).")
    if images.shape[1] not in (1, 3):
        raise ImagesError(f"images have {images.shape[1]} channels; expected 1 (grey) or 3 (red, green, blue).")
    if 0 in images.shape[2:]:
        raise ImagesError(f"images have shape {tuple(images.shape)}; expected at least one pixel.")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ImagesError(f"images are {images.dtype}; expected uint8, or floating point in [0, 1].")
