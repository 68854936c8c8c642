"""Losses of a weight step. One file each."""

from nas_search.losses.constraints import Archive, Constraints, Pieces, complement, diverse, previous, random_path
from nas_search.losses.plain import Plain
from nas_search.losses.replay import Replay

__all__ = [
    "Archive",
    "Constraints",
    "Pieces",
    "Plain",
    "Replay",
    "complement",
    "diverse",
    "previous",
    "random_path",
]
