"""Losses of a weight step. One file each."""

from nas_search.losses.plain import Plain

__all__ = ["Plain"]
