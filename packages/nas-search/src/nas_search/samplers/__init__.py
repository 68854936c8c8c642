"""Samplers: the choice weights that a weight step trains. One file each."""

from nas_search.samplers.relaxed import Relaxed
from nas_search.samplers.uniform import Uniform

__all__ = ["Relaxed", "Uniform"]
