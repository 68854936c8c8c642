"""Exact, batched, learnable augmentation policies on tensors.

Read `policy` first: what every policy is. `fixed` has the policies that nothing is learned of.
"""

from nas_augment import fixed
from nas_augment.decided import Policy
from nas_augment.errors import AugmentError, ImagesError, PolicyError
from nas_augment.policy import AugmentationPolicy, Augmented
from nas_augment.sample import PolicySample

__all__ = [
    "AugmentError",
    "AugmentationPolicy",
    "Augmented",
    "ImagesError",
    "Policy",
    "PolicyError",
    "PolicySample",
    "fixed",
]
