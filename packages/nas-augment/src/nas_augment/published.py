"""Published policies: AutoAugment's tables, RandAugment, TrivialAugment; and genotypes of searches, read in."""

from collections.abc import Iterable

from nas_augment.errors import PolicyError, is_count, nearest
from nas_augment.fixed import FixedPolicy, Stage
from nas_augment.presets import preset
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations

__all__ = [
    "autoaugment",
    "autoaugment_cifar10",
    "autoaugment_imagenet",
    "autoaugment_svhn",
    "from_dada",
    "from_fast_autoaugment",
    "randaugment",
    "trivialaugment",
]

# Tables 7 to 9 of Cubuk et al. (2019): operation, probability, level; two operations a line.
_TABLES = {
    "cifar10": """
Invert 0.1 0 Contrast 0.2 6
Rotate 0.7 2 TranslateX 0.3 9
Sharpness 0.8 1 Sharpness 0.9 3
ShearY 0.5 8 TranslateY 0.7 9
AutoContrast 0.5 0 Equalize 0.9 0
ShearY 0.2 7 Posterize 0.3 7
Color 0.4 3 Brightness 0.6 7
Sharpness 0.3 9 Brightness 0.7 9
Equalize 0.6 0 Equalize 0.5 0
Contrast 0.6 7 Sharpness 0.6 5
Color 0.7 7 TranslateX 0.5 8
Equalize 0.3 0 AutoContrast 0.4 0
TranslateY 0.4 3 Sharpness 0.2 6
Brightness 0.9 6 Color 0.2 8
Solarize 0.5 2 Invert 0.0 0
Equalize 0.2 0 AutoContrast 0.6 0
Equalize 0.2 0 Equalize 0.6 0
Color 0.9 9 Equalize 0.6 0
AutoContrast 0.8 0 Solarize 0.2 8
Brightness 0.1 3 Color 0.7 0
Solarize 0.4 5 AutoContrast 0.9 0
TranslateY 0.9 9 TranslateY 0.7 9
AutoContrast 0.9 0 Solarize 0.8 3
Equalize 0.8 0 Invert 0.1 0
TranslateY 0.7 9 AutoContrast 0.9 0
""",
    "svhn": """
ShearX 0.9 4 Invert 0.2 0
ShearY 0.9 8 Invert 0.7 0
Equalize 0.6 0 Solarize 0.6 6
Invert 0.9 0 Equalize 0.6 0
Equalize 0.6 0 Rotate 0.9 3
ShearX 0.9 4 AutoContrast 0.8 0
ShearY 0.9 8 Invert 0.4 0
ShearY 0.9 5 Solarize 0.2 6
Invert 0.9 0 AutoContrast 0.8 0
Equalize 0.6 0 Rotate 0.9 3
ShearX 0.9 4 Solarize 0.3 3
ShearY 0.8 8 Invert 0.7 0
Equalize 0.9 0 TranslateY 0.6 6
Invert 0.9 0 Equalize 0.6 0
Contrast 0.3 3 Rotate 0.8 4
Invert 0.8 0 TranslateY 0.0 2
ShearY 0.7 6 Solarize 0.4 8
Invert 0.6 0 Rotate 0.8 4
ShearY 0.3 7 TranslateX 0.9 3
ShearX 0.1 6 Invert 0.6 0
Solarize 0.7 2 TranslateY 0.6 7
ShearY 0.8 4 Invert 0.8 0
ShearX 0.7 9 TranslateY 0.8 3
ShearY 0.8 5 AutoContrast 0.7 0
ShearX 0.7 2 Invert 0.1 0
""",
    "imagenet": """
Posterize 0.4 8 Rotate 0.6 9
Solarize 0.6 5 AutoContrast 0.6 0
Equalize 0.8 0 Equalize 0.6 0
Posterize 0.6 7 Posterize 0.6 6
Equalize 0.4 0 Solarize 0.2 4
Equalize 0.4 0 Rotate 0.8 8
Solarize 0.6 3 Equalize 0.6 0
Posterize 0.8 5 Equalize 1.0 0
Rotate 0.2 3 Solarize 0.6 8
Equalize 0.6 0 Posterize 0.4 6
Rotate 0.8 8 Color 0.4 0
Rotate 0.4 9 Equalize 0.6 0
Equalize 0.0 0 Equalize 0.8 0
Invert 0.6 0 Equalize 1.0 0
Color 0.6 4 Contrast 1.0 8
Rotate 0.8 8 Color 1.0 2
Color 0.8 8 Solarize 0.8 7
Sharpness 0.4 7 Invert 0.6 0
ShearX 0.6 5 Equalize 1.0 0
Color 0.4 0 Equalize 0.6 0
Equalize 0.4 0 Solarize 0.2 4
Solarize 0.6 5 AutoContrast 0.6 0
Invert 0.6 0 Equalize 1.0 0
Color 0.6 4 Contrast 1.0 8
Equalize 0.8 0 Equalize 0.6 0
""",
}


def autoaugment(data: str = "cifar10", *, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()) -> FixedPolicy:
    """AutoAugment (Cubuk et al., 2019) as torchvision has it: 25 sub-policies of two operations.

    Args:
        data: ``cifar10``, ``svhn`` or ``imagenet``.
        before: stages before it, such as a crop and a flip.
        after: stages after it, such as Cutout.

    Differs from the paper: 1. Enhancements go to both sides of 1 by a random sign, as in torchvision; the reference's
    factor is 0.1 + 1.8 level / 10. 2. Posterize keeps 8 to 4 bits, not 4 to 0.

    Raises:
        PolicyError: no such table.
    """
    if data not in _TABLES:
        raise PolicyError(f"no AutoAugment table for {data!r}; did you mean {nearest(data, _TABLES)!r}?")
    entries = []
    for line in _TABLES[data].strip().splitlines():
        first, p, first_level, second, q, second_level = line.split()
        steps = (Step(first, float(p), int(first_level)), Step(second, float(q), int(second_level)))
        entries.append(SubPolicy(steps))
    return FixedPolicy((*before, SubPolicies(preset("autoaugment"), tuple(entries)), *after))


def autoaugment_cifar10() -> FixedPolicy:
    """AutoAugment's table for CIFAR-10."""
    return autoaugment("cifar10")


def autoaugment_svhn() -> FixedPolicy:
    """AutoAugment's table for SVHN."""
    return autoaugment("svhn")


def autoaugment_imagenet() -> FixedPolicy:
    """AutoAugment's table for ImageNet."""
    return autoaugment("imagenet")


def randaugment(
    count: int = 2, level: int = 9, *, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()
) -> FixedPolicy:
    """RandAugment (Cubuk et al., 2020): `count` operations of 14, uniformly, all at `level` of 0 to 30."""
    return FixedPolicy((*before, UniformOperations(preset("randaugment"), count, level), *after))


def trivialaugment(*, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()) -> FixedPolicy:
    """TrivialAugment Wide (Mueller and Hutter, 2021): one operation of 14 at one of 31 levels, uniformly."""
    return FixedPolicy((*before, UniformOperations(preset("trivial_wide"), 1), *after))


def from_fast_autoaugment(genotype: Iterable[Iterable[tuple[str, float, float]]], *, levels: int = 1001) -> SubPolicies:
    """Read a genotype of Fast AutoAugment: sub-policies of (operation, probability, level in [0, 1]).

    Args:
        genotype: the list as it is published, its operations named as in `preset("fast_aa")`.
        levels: the grid that levels are rounded to.

    Raises:
        PolicyError: a name is unknown, or a number is not in [0, 1].
    """
    if not is_count(levels) or levels < 2:
        raise PolicyError(f"levels are {levels!r}; expected a whole number, 2 or more.")
    space = preset("fast_aa", levels)
    return SubPolicies(space, tuple(SubPolicy(tuple(_step(*step, levels) for step in entry)) for entry in genotype))


def from_dada(
    genotype: Iterable[Iterable[tuple[str, float, float]]],
    weights: Iterable[float] | None = None,
    *,
    levels: int = 1001,
) -> SubPolicies:
    """Read a genotype of DADA: as Fast AutoAugment's, with an optional weight for each sub-policy.

    Raises:
        PolicyError: as `from_fast_autoaugment`, or the weights are not as many as the sub-policies.
    """
    policy = from_fast_autoaugment(genotype, levels=levels)
    if weights is None:
        return policy
    numbers = tuple(weights)
    if len(numbers) != len(policy.entries):
        raise PolicyError(f"{len(numbers)} weights for {len(policy.entries)} sub-policies.")
    entries = zip(policy.entries, numbers, strict=True)
    return SubPolicies(policy.space, tuple(SubPolicy(entry.steps, weight) for entry, weight in entries))


def _step(name: str, probability: float, level: float, levels: int) -> Step:
    if not 0 <= level <= 1:
        raise PolicyError(f"level of {name} is {level}; genotypes have levels in [0, 1].")
    return Step(name, probability, round(level * (levels - 1)))
