"""NSAS and its variants."""

from collections.abc import Callable
from dataclasses import replace

from nas_search.errors import ConfigError
from nas_search.losses import Archive, Constraints, Pieces, Replay, complement, diverse, previous, random_path
from nas_search.method import Method
from nas_search.methods.gdas import gdas
from nas_search.methods.random_nas import random_nas

__all__ = ["nsas"]

_BASES: dict[str, Callable[..., Method]] = {"random": random_nas, "gdas": gdas}


def nsas(*, base: str = "random", strategy: str = "nsas", constraints: int = 5, beta: float = 0.5) -> Method:
    """Weight sharing without forgetting: a few diverse architectures are replayed in every weight step (thesis chapter 3).

    Args:
        base: ``random``, `random_nas` (M = 5, beta = 0.5 in the thesis), or ``gdas`` (M = 2, beta = 0.2).
        strategy: ``nsas``, diverse paths made anew in every step; ``g``, so that they cover the current path; ``lg``,
            likewise, the first being the previous path; ``archive``, the most diverse of those that were trained
            (Algorithms 2 and 3; for the DARTS space); ``random``; ``previous``; ``previous+random``.
        constraints: M, how many are replayed; 1 for ``previous`` and 2 for ``previous+random`` whatever it is.
        beta: their weight in the loss.
    """
    if base not in _BASES:
        raise ConfigError(f"base of nsas is {base!r}; expected {' or '.join(map(repr, _BASES))}.")
    return replace(_BASES[base](), name="nsas", loss=Replay(_strategy(strategy, constraints), beta))


def _strategy(name: str, count: int) -> Constraints:
    least = 2 if name in ("g", "lg") else 1
    if count < least:
        raise ConfigError(f"constraints is {count}; strategy {name!r} of nsas needs {least} or more.")
    known: dict[str, Constraints] = {
        "nsas": Pieces((random_path, *(diverse,) * (count - 1))),
        "g": Pieces((random_path, *(diverse,) * (count - 2), complement)),
        "lg": Pieces((previous, *(diverse,) * (count - 2), complement)),
        "archive": Archive(count),
        "random": Pieces((random_path,) * count),
        "previous": Pieces((previous,)),
        "previous+random": Pieces((previous, random_path)),
    }
    if name not in known:
        raise ConfigError(f"strategy of nsas is {name!r}; expected {', '.join(known)}.")
    return known[name]
