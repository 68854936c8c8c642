"""Exact, batched, learnable augmentation policies on tensors.

Read `policy` first: what every policy is. `fixed` and `published` have the policies that nothing is learned of,
`learnable` the one that learns, `searched` those of published searches, and `catalog` all by name. `operations` is the table
of operations, and `presets` has the published spaces; `exact` and `soft` are the two ways to compute them.
"""

from nas_augment import catalog, fixed, gallery, published
from nas_augment.annotations import Annotated, AnnotationOptions
from nas_augment.applying import apply_operations
from nas_augment.decided import Policy
from nas_augment.errors import (
    AnnotationsError,
    AugmentError,
    ImagesError,
    MissingExtraError,
    PolicyError,
    UnknownPolicyError,
)
from nas_augment.learnable import LearnablePolicy
from nas_augment.operations import Operation, Space
from nas_augment.policy import AugmentationPolicy, Augmented
from nas_augment.presets import preset
from nas_augment.relaxation import Relaxation
from nas_augment.sample import OperationDraw, PolicySample
from nas_augment.searched import daas, dada, dha
from nas_augment.soft import Soft

__all__ = [
    "Annotated",
    "AnnotationOptions",
    "AnnotationsError",
    "AugmentError",
    "AugmentationPolicy",
    "Augmented",
    "ImagesError",
    "LearnablePolicy",
    "MissingExtraError",
    "Operation",
    "OperationDraw",
    "Policy",
    "PolicyError",
    "PolicySample",
    "Relaxation",
    "Soft",
    "Space",
    "UnknownPolicyError",
    "apply_operations",
    "catalog",
    "daas",
    "dada",
    "dha",
    "fixed",
    "gallery",
    "preset",
    "published",
]
