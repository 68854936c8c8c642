"""Losses: those of a weight step, and what the outer variables minimise. One file each."""

from nas_search.losses.blended import Blended
from nas_search.losses.constraints import Archive, Constraints, Pieces, complement, diverse, previous, random_path
from nas_search.losses.exploiting import Exploiting
from nas_search.losses.plain import Plain
from nas_search.losses.replay import Replay
from nas_search.losses.validation import Validation

__all__ = [
    "Archive",
    "Blended",
    "Constraints",
    "Exploiting",
    "Pieces",
    "Plain",
    "Replay",
    "Validation",
    "complement",
    "diverse",
    "previous",
    "random_path",
]
