"""The policies that are installed: ours, and those that others register under the entry point ``nas.policies``."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from nas_augment.errors import UnknownPolicyError, nearest
from nas_augment.policy import AugmentationPolicy

__all__ = ["names", "policy"]

# Names rather than functions, so that listing the policies imports none of them.
_OURS = {
    **{name: f"nas_augment.fixed:{name}" for name in ("identity", "crop_and_flip", "cutout")},
    **{
        name: f"nas_augment.published:{name}"
        for name in (
            "autoaugment_cifar10", "autoaugment_svhn", "autoaugment_imagenet", "randaugment", "trivialaugment",
        )
    },
    **{name: f"nas_augment.searched:{name}" for name in ("daas", "dada", "dha")},
}  # fmt: skip


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
    known = names()
    key = name.replace("-", "_")
    if key not in known:
        raise UnknownPolicyError(
            f"unknown policy {name!r}; did you mean {nearest(key, known)!r}? Installed: {', '.join(known)}."
        )
    module, _, function = known[key].partition(":")
    make: Callable[[], AugmentationPolicy] = getattr(import_module(module), function)
    return make()
