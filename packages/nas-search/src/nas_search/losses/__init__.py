"""Losses: those of a weight step, and what the outer variables minimise. One file each."""

from nas_search.losses.blended import Blended
from nas_search.losses.plain import Plain
from nas_search.losses.validation import Validation

__all__ = ["Blended", "Plain", "Validation"]
