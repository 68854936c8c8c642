"""The policies that are installed: ours, and those that others register under the entry point ``nas.policies``."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from nas_augment.errors import UnknownPolicyError, nearest
from nas_augment.policy import AugmentationPolicy

__all__ = ["names", "policy"]

# Names rather than functions, so that listing the policies imports none of them.
_OURS = {
    "identity": "nas_augment.fixed:identity",
    "crop_and_flip": "nas_augment.fixed:crop_and_flip",
    "cutout": "nas_augment.fixed:cutout",
    "autoaugment_cifar10": "nas_augment.published:autoaugment_cifar10",
    "autoaugment_svhn": "nas_augment.published:autoaugment_svhn",
    "autoaugment_imagenet": "nas_augment.published:autoaugment_imagenet",
    "randaugment": "nas_augment.published:randaugment",
    "trivialaugment": "nas_augment.published:trivialaugment",
    "daas": "nas_augment.searched:daas",
    "dada": "nas_augment.searched:dada",
    "dha": "nas_augment.searched:dha",
}


def names() -> dict[str, str]:
    """The name of every installed policy and where it is defined, as ``module:function``."""
    others = {point.name.replace("-", "_"): point.value for point in entry_points(group="nas.policies")}
    return others | _OURS


def policy(name: str) -> AugmentationPolicy:
    """Build an installed policy by its name; hyphens and underscores are the same.

    Example:
        >>> policy("crop-and-flip")
        FixedPolicy(Crop(padding=4), Flip(probability=0.5))

    Raises:
        UnknownPolicyError: no installed policy has that name; the message has the nearest one.
    """
    key = name.replace("-", "_")
    # Nobody replaces ours, and to look for others' reads the metadata of every installed distribution.
    known = _OURS if key in _OURS else names()
    if key not in known:
        raise UnknownPolicyError(
            f"unknown policy {name!r}; did you mean {nearest(key, known)!r}? Installed: {', '.join(known)}."
        )
    module, _, function = known[key].partition(":")
    make: Callable[[], AugmentationPolicy] = getattr(import_module(module), function)
    return make()
