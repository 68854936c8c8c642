"""NSAS and its variants."""

from dataclasses import replace

from nas_search.errors import ConfigError, did_you_mean
from nas_search.losses import Archive, Constraints, Pieces, Replay, complement, diverse, previous, random_path
from nas_search.method import Method
from nas_search.methods.gdas import gdas
from nas_search.methods.random_nas import random_nas
from nas_search.run_state import check_positive

__all__ = ["nsas"]


def nsas(
    *,
    base: str = "random",
    strategy: str = "nsas",
    constraints: int = 5,
    beta: float = 0.5,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Weight sharing without forgetting: a few diverse architectures are replayed in every weight step (thesis chapter 3).

    The loss of a weight step on the path a_t is ``(1 - beta) L(a_t) + beta / M sum_i L(a_i)``, over the same batch (Eq. 3.6);
    see `Replay`. The optimisers' settings are those of NAS-Bench-201's searches.

    Args:
        base: ``random``, `random_nas` (M = 5, beta = 0.5 in the thesis), or ``gdas`` (M = 2, beta = 0.2).
        strategy: ``nsas``, diverse paths made anew in every step; ``g``, so that they cover the current path; ``lg``,
            likewise, the first being the previous path; ``archive``, the most diverse of those that were trained
            (Algorithms 2 and 3; for the DARTS space); ``random``; ``previous``; ``previous+random``.
        constraints: M, how many are replayed; 1 for ``previous`` and 2 for ``previous+random`` whatever it is.
        beta: their weight in the loss.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters, which only ``gdas`` has.
        architecture_weight_decay: of the same.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. All losses that are replayed have a gradient. In the released code they have none with GDAS, nor in the DARTS
           space: there nothing acts on the weights but the loss of the path that is trained.
        2. ``nsas`` makes its paths anew, as the released code for NAS-Bench-201 does; ``archive`` is that of Algorithms 2 and
           3, see `nas_search.losses.Archive`.
        3. The result is chosen as in `random_nas` or `gdas`; see there.
    """
    if base not in ("random", "gdas"):
        near = did_you_mean(base, ("random", "gdas"))
        raise ConfigError(f"base of nsas is {base!r}; expected 'random' or 'gdas'; {near}")
    if base == "random":
        method = random_nas(learning_rate=learning_rate, weight_decay=weight_decay, momentum=momentum, clip=clip)
    else:
        method = gdas(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            architecture_learning_rate=architecture_learning_rate,
            architecture_weight_decay=architecture_weight_decay,
            momentum=momentum,
            clip=clip,
        )
    return replace(method, name="nsas", loss=Replay(_strategy(strategy, constraints), beta))


def _strategy(name: str, count: int) -> Constraints:
    check_positive(constraints=count)
    least = 2 if name in ("g", "lg", "archive") else 1
    if count < least:
        raise ConfigError(f"constraints is {count}; strategy {name!r} of nsas needs {least} or more.")
    known: dict[str, Constraints] = {
        "nsas": Pieces((random_path, *(diverse,) * (count - 1))),
        "g": Pieces((random_path, *(diverse,) * (count - 2), complement)),
        "lg": Pieces((previous, *(diverse,) * (count - 2), complement)),
        "archive": Archive(max(2, count)),
        "random": Pieces((random_path,) * count),
        "previous": Pieces((previous,)),
        "previous+random": Pieces((previous, random_path)),
    }
    if name not in known:
        raise ConfigError(f"strategy of nsas is {name!r}; expected {', '.join(known)}; {did_you_mean(name, known)}")
    return known[name]
