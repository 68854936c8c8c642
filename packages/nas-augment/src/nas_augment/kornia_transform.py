"""A decided policy as a module on kornia's functions; kornia is imported when it is first applied."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_augment import exact
from nas_augment.applying import program
from nas_augment.decided import Policy
from nas_augment.enhancement import ENHANCEMENTS, enhance
from nas_augment.errors import ImagesError, PolicyError
from nas_augment.fixed import Crop, Cutout, FixedPolicy, Flip, OperationStage
from nas_augment.operations import CODES, GEOMETRIC
from nas_augment.policy import check_images
from nas_augment.sample import OperationDraw, PolicySample
from nas_augment.source import Source
from nas_augment.stages import SubPolicies, UniformOperations

__all__ = ["KorniaTransform", "apply_kornia"]

_EXPORTED = (Crop, Flip, Cutout, SubPolicies, UniformOperations)


class KorniaTransform(nn.Module):
    """Batches of float images in [0, 1], each by a draw of its own, computed by kornia's functions.

    Args:
        policy: what to draw from.
        generator: to draw with; see `source.Source`.

    Raises:
        PolicyError: a stage is none of ours, so that nothing of kornia is known to be the same.
    """

    def __init__(self, policy: Policy, generator: torch.Generator | None = None) -> None:
        super().__init__()
        for stage in policy.stages:
            if not isinstance(stage, _EXPORTED):
                raise PolicyError(
                    f"a stage of type {type(stage).__name__} cannot be exported to kornia; expected "
                    f"{', '.join(kind.__name__ for kind in _EXPORTED)}. Use Policy.apply for it."
                )
        self.policy = policy
        self._source = Source(generator)

    def forward(self, images: Tensor, sample: PolicySample | None = None) -> Tensor:
        """Augment ``(batch, channels, height, width)`` floats in [0, 1].

        Args:
            images: as said.
            sample: drawn before, by ``FixedPolicy(policy.stages).sample``; None draws one.

        Raises:
            ImagesError: the images are not such floats, or not as many as were drawn for.
            PolicyError: the sample is another policy's.
        """
        _check(images)
        fixed = FixedPolicy(self.policy.stages)
        if sample is None:
            sample = fixed.sample(len(images), generator=self._source.generator())
        fixed.check_sample(images, sample)
        for stage, draw in zip(self.policy.stages, sample.draws, strict=True):
            if isinstance(stage, OperationStage):
                images = apply_kornia(images, stage.decode(draw))
            else:
                # A crop, a flip and a square only copy pixels.
                images = stage.apply(images, draw.to(images.device))
        return images


def apply_kornia(images: Tensor, draw: OperationDraw) -> Tensor:
    """Apply what was drawn by kornia's functions, each kind of operation once for all its images.

    Args:
        images: ``(batch, channels, height, width)`` float in [0, 1].
        draw: for as many images.

    Raises:
        ImagesError: the images are not such floats, not as many, or a pixel high or wide where one is to be warped:
            kornia has no coordinates there.
        PolicyError: the draw is not one of its space.
    """
    _check(images)
    draw.check()
    if len(images) != len(draw):
        raise ImagesError(f"{len(images)} images, but the draw is for {len(draw)}.")
    code, value = program(draw, *images.shape[2:])
    out = images.to(torch.promote_types(images.dtype, torch.float32))
    for slot in range(code.shape[1]):
        for kind in code[:, slot].unique().tolist():
            rows = (code[:, slot] == kind).nonzero().flatten()
            local = rows.to(images.device)
            how = (each[rows, slot].to(images.device) for each in (code, value, draw.center))
            out = out.index_copy(0, local, _apply(_NAMES[kind], out.index_select(0, local), *how))
    return out.to(images.dtype)


def _check(images: Tensor) -> None:
    check_images(images)
    if not images.is_floating_point():
        raise ImagesError(f"kornia takes floats in [0, 1], not {images.dtype}; pass images.float() / 255.")


def _apply(name: str, images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    if name in GEOMETRIC:
        return _warp(images, exact.coefficients(code, value, *images.shape[2:]))
    if name in ENHANCEMENTS:
        return enhance(name, images, value)
    if name == "Cutout":
        return _cutout(images, value, center)
    return _TABLES[name](images, value.to(images.dtype))


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    from kornia.geometry import transform

    height, width = images.shape[2:]
    if min(height, width) == 1:
        raise ImagesError(f"images of {height} x {width} pixels cannot be warped by kornia; expected 2 x 2 or more.")
    # Pillow's maps are of pixel edges and backwards; kornia's of the middles of pixels, and forwards.
    a, b, c, d, e, f = matrix.unbind(1)
    first = torch.stack((a, b, c + (a + b - 1) / 2), 1)
    second = torch.stack((d, e, f + (d + e - 1) / 2), 1)
    last = torch.tensor([0.0, 0.0, 1.0], dtype=matrix.dtype, device=matrix.device).expand_as(first)
    forwards = torch.linalg.inv(torch.stack((first, second, last), 1))[:, :2]
    return transform.affine(images, forwards.to(images.dtype), mode="nearest", align_corners=True)


def _cutout(images: Tensor, value: Tensor, center: Tensor) -> Tensor:
    """By torch: kornia has no function for it."""
    height, width = images.shape[2:]
    left, right, top, bottom = (each[:, None] for each in exact.cutout_box(value, center, height, width))
    x, y = (torch.arange(size, device=images.device) for size in (width, height))
    inside = ((y >= top) & (y <= bottom))[:, None, :, None] & ((x >= left) & (x <= right))[:, None, None, :]
    fill = torch.tensor(exact.CUTOUT_FILL, device=images.device).to(images.dtype).view(1, 3, 1, 1) / 255
    if images.shape[1] == 1:
        from kornia.color import rgb_to_grayscale

        fill = (rgb_to_grayscale(fill) * 255).round() / 255
    return torch.where(inside & (value > 0)[:, None, None, None], fill, images)


def _autocontrast(images: Tensor, value: Tensor) -> Tensor:
    from kornia.enhance import normalize_min_max

    # kornia makes a constant channel black, and one that is constant but for rounding errors noise.
    levels = (images * 255).round()
    constant = levels.amax((2, 3), keepdim=True) == levels.amin((2, 3), keepdim=True)
    return torch.where(constant, images, normalize_min_max(images).clamp(0, 1))


def _equalize(images: Tensor, value: Tensor) -> Tensor:
    from kornia.enhance import equalize

    return equalize((images * 255).round() / 255)


def _solarize(images: Tensor, value: Tensor) -> Tensor:
    from kornia.enhance import solarize

    # kornia refuses thresholds above 1, which invert nothing.
    inverted = solarize(images, (value / 255).clamp(max=1))
    return torch.where((value > 255)[:, None, None, None], images, inverted)


def _posterize(images: Tensor, value: Tensor) -> Tensor:
    from kornia.enhance import posterize

    return posterize((images * 255).round() / 255, value.to(torch.int32))


def _invert(images: Tensor, value: Tensor) -> Tensor:
    from kornia.enhance import invert

    return invert(images)


_NAMES = {code: name for name, code in CODES.items()}
_TABLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Identity": lambda images, value: images,
    "AutoContrast": _autocontrast,
    "Invert": _invert,
    "Equalize": _equalize,
    "Solarize": _solarize,
    "Posterize": _posterize,
}
