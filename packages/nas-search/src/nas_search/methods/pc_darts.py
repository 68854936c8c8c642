"""PC-DARTS."""

from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import EdgeSoftmax
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.supernets import PartialChannels
from nas_search.updates import After, OuterStep, WeightStep

__all__ = ["pc_darts"]


def pc_darts(
    *,
    parts: int = 4,
    warm_up: float = 0.3,
    learning_rate: float = 0.1,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 6e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Partial channel connections (Xu et al., ICLR 2020): DARTS on a part of the channels, with normalised edges.

    One of `parts` parts of the channels, S x, goes through the mixed operations, and the rest passes by: ``sum_o softmax(a)_o
    o(S x) + (1 - S) x`` (Eq. 2), which saves memory and allows larger batches: 256 in the paper. Edges compete by weights of
    their own, ``softmax(b)`` over the edges of a node (Eq. 3), which makes up for the noise of sampled channels. The step of
    the architecture is that of first-order `darts`; learning rates, weight decays and the warm-up are the released code's.

    Args:
        parts: K; the supernet's channels must be divisible by it.
        warm_up: the part of the search in which the weights alone are trained: 15 of 50 epochs.
        learning_rate: of the weights at the beginning; cosine to 0.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the logits of operations and edges.
        architecture_weight_decay: of the same.

    Differs from the paper:
        1. The part is always the first of the channels, which the shuffle behind every node changes, as in the released
           code; the paper speaks of a random mask.
        2. What is saved is less than K-fold: with K = 4 the activations kept for the backward pass are 1.3 times fewer in the
           DARTS space and 1.4 times in NAS-Bench-201, and with K = 2 more, against our supernets on whole channels, which
           share and fuse much already (benchmarks/methods.md).
    """
    return Method(
        name="pc_darts",
        updates=(After(warm_up, OuterStep()), WeightStep()),
        relaxation=EdgeSoftmax,
        supernet=PartialChannels(parts),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate), weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
