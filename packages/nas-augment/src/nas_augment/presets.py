"""The published spaces: which operations each has, and the range of each."""

from collections.abc import Callable
from typing import Any

from nas_augment.errors import PolicyError, nearest
from nas_augment.operations import Operation, Space, Unit, Whole

__all__ = ["preset", "preset_names"]


def _enhance(low: float, high: float, unit: Unit, signed: bool = False) -> tuple[Operation, ...]:
    names = ("Contrast", "Color", "Brightness", "Sharpness")
    return tuple(Operation(name, low, high, unit, signed) for name in names)


def _warps(slope: tuple[float, float], shift: Operation, degrees: tuple[float, float], whole: Whole = "no") -> Any:
    return (
        Operation("ShearX", *slope, "slope", True),
        Operation("ShearY", *slope, "slope", True),
        Operation("TranslateX", shift.low, shift.high, shift.unit, True, shift.whole),
        Operation("TranslateY", shift.low, shift.high, shift.unit, True, shift.whole),
        Operation("Rotate", *degrees, "degrees", True, whole),
    )


_PLAIN = (Operation("AutoContrast"), Operation("Invert"), Operation("Equalize"))


def _fast_aa() -> tuple[Operation, ...]:
    shift = Operation("TranslateX", -0.45, 0.45, "fraction")
    return (
        *_warps((-0.3, 0.3), shift, (-30.0, 30.0)),
        *_PLAIN,
        Operation("Solarize", 0.0, 256.0, "threshold"),
        Operation("Posterize", 4.0, 8.0, "bits", whole="truncate"),
        *_enhance(0.1, 1.9, "factor"),
        Operation("Cutout", 0.0, 0.2, "fraction"),
    )


def _ops14_aa() -> tuple[Operation, ...]:
    return tuple(operation for operation in _fast_aa() if operation.name != "Cutout")


def _ops14_ra() -> tuple[Operation, ...]:
    return (Operation("Identity"), *(each for each in _ops14_aa() if each.name != "Invert"))


def _grey() -> tuple[Operation, ...]:
    changing = {"Invert", "Equalize", "Solarize", "Posterize", "Color"}
    return (Operation("Identity"), *(operation for operation in _fast_aa() if operation.name not in changing))


def _autoaugment() -> tuple[Operation, ...]:
    shift = Operation("TranslateX", 0.0, 150.0 / 331.0, "fraction")
    return (
        *_warps((0.0, 0.3), shift, (0.0, 30.0)),
        *_PLAIN,
        Operation("Solarize", 255.0, 0.0, "threshold"),
        Operation("Posterize", 8.0, 4.0, "bits", whole="round"),
        *_enhance(0.0, 0.9, "offset", True),
    )


def _pba() -> tuple[Operation, ...]:
    shift = Operation("TranslateX", 0.0, 10.0, "pixels", whole="truncate")
    return (
        *_warps((0.0, 0.3), shift, (0.0, 30.0), "truncate"),
        *_PLAIN,
        # The reference takes 256 - int(256 l / 10) and 4 - int(4 l / 10): truncation of what is subtracted.
        Operation("Solarize", 256.0, 0.0, "threshold", whole="up"),
        Operation("Posterize", 4.0, 0.0, "bits", whole="up"),
        *_enhance(0.1, 1.9, "factor"),
        Operation("Cutout", 0.0, 20.0, "pixels", whole="truncate"),
    )


def _randaugment() -> tuple[Operation, ...]:
    return (Operation("Identity"), *(each for each in _autoaugment() if each.name != "Invert"))


def _trivial_wide() -> tuple[Operation, ...]:
    shift = Operation("TranslateX", 0.0, 32.0, "pixels", whole="truncate")
    return (
        Operation("Identity"),
        *_warps((0.0, 0.99), shift, (0.0, 135.0)),
        Operation("AutoContrast"),
        Operation("Equalize"),
        Operation("Solarize", 255.0, 0.0, "threshold"),
        Operation("Posterize", 8.0, 2.0, "bits", whole="round"),
        *_enhance(0.0, 0.99, "offset", True),
    )


_PRESETS: dict[str, tuple[Callable[[], tuple[Operation, ...]], int]] = {
    "fast_aa": (_fast_aa, 10),
    "ops14_aa": (_ops14_aa, 10),
    "ops14_ra": (_ops14_ra, 10),
    "grey": (_grey, 10),
    "autoaugment": (_autoaugment, 10),
    "pba": (_pba, 11),
    "randaugment": (_randaugment, 31),
    "trivial_wide": (_trivial_wide, 31),
}


def preset_names() -> tuple[str, ...]:
    """The names that `preset` knows."""
    return tuple(_PRESETS)


def preset(name: str, levels: int | None = None) -> Space:
    """A published space.

    * ``fast_aa``: the 15 operations of Fast AutoAugment (Lim et al., 2019), DADA and DAAS. The geometric ranges are
      symmetric and mirrored again by a random sign, so the middle of the levels is the weakest.
    * ``ops14_aa``: these without Cutout, which are AutoAugment's 16 without Cutout and SamplePairing.
    * ``ops14_ra``: RandAugment's 14 (Identity instead of Invert) with the ranges of ``fast_aa``; used by DHA.
    * ``grey``: for drawings and signs in grey: Identity, and those of ``fast_aa`` that move them or change how bright they
      are; nothing that makes dark what is bright or has no effect without colours.
    * ``autoaugment``, ``randaugment``, ``trivial_wide``: as torchvision has them.
    * ``pba``: the 15 of Population Based Augmentation (Ho et al., 2019), levels 0 to 10.

    Args:
        name: one of the above.
        levels: how many, instead of the published number.

    Raises:
        PolicyError: no such space, with the nearest name.
    """
    if name not in _PRESETS:
        raise PolicyError(
            f"unknown space {name!r}; did you mean {nearest(name, _PRESETS)!r}? There are {', '.join(_PRESETS)}."
        )
    make, published = _PRESETS[name]
    return Space(name, make(), published if levels is None else levels)
