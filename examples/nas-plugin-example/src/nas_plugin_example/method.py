"""A search method: our parts, composed otherwise."""

from functools import partial

from nas_search import Method
from nas_search.optimizers import SGD
from nas_search.relaxations import HardGumbel
from nas_search.samplers import Relaxed
from nas_search.schedules import Cosine, Linear
from nas_search.selection import Derive
from nas_search.updates import After, OuterStep, WeightStep

__all__ = ["patient_gumbel"]


def patient_gumbel(patience: float = 0.5, *, temperature: float = 5.0, learning_rate: float = 0.05) -> Method:
    """GDAS that trains the weights alone for a while.

    Args:
        patience: the part of the search in which the architecture does not learn.
        temperature: of the Gumbel-softmax at the beginning; to 0.1, linearly.
        learning_rate: of the weights at the beginning; to 0 along a cosine.
    """
    return Method(
        name="patient_gumbel",
        updates=(WeightStep(), After(patience, OuterStep())),
        relaxation=partial(HardGumbel, temperature=Linear(temperature, 0.1)),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate)),
    )
