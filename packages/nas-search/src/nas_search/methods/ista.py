"""ISTA-NAS."""

from functools import partial

from nas_search.errors import ConfigError
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.recovery import OnceFrozen, RecoverCodes
from nas_search.relaxations import SparseCode
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive, InheritWeights
from nas_search.updates import JointStep, OuterStep, WeightStep

__all__ = ["ista"]


def ista(
    stages: int = 2,
    *,
    sparsity: int = 2,
    penalty: float = 1e-5,
    freeze: float = 1e-3,
    inherit: bool = True,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Architecture search by sparse coding (Yang et al., "ISTA-NAS", NeurIPS 2020): the supernet is as sparse as the result.

    The measurements `b` of every node are learned by gradients, and at the end of every epoch the codes are recovered from
    them, ``argmin_x |A x - b|^2 / 2 + penalty |x|_1``; see `SparseCode`.

    With two stages, `b` is learned on validation and the weights on train batches; what is found is trained anew. With one
    stage both are learned by one loss on all train images, and a node is frozen when its codes stop moving. When all are, the
    search is over, and the remaining epochs train the weights of what was found, which ends as a trained network
    (`InheritWeights`).

    Args:
        stages: 1 or 2.
        sparsity: inputs that a node keeps.
        penalty: of the 1-norm in the recovery.
        freeze: of one stage, the largest movement of a node's codes in an epoch at which it is frozen.
        inherit: of one stage, whether it ends with the network that it has trained. Without, the result is trained anew, as in
            the space ``darts_rnn``, out of whose supernet no network can be taken.
        learning_rate: of the weights; constant with one stage, with two a cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the measurements.
        architecture_weight_decay: of the measurements.

    Differs from the paper:
        1. Learning rates are the defaults of the released code; the paper's two-stage search has 0.1 and 6e-4 at a batch
           of 256.
        2. With one stage the learning rate stays as it is when the search is over; the released code starts 600 epochs with a
           cosine then. A search that is not over at its last epoch ends with the network of the codes that it has.
        3. Batch normalisation in the supernet has no affine parameters, also behind frozen nodes.
        4. A code that makes too large a network is not rejected; the released code does so at 3.7 million parameters.
        5. See `SparseCode` for what is kept of the codes.
    """
    if stages not in (1, 2):
        raise ConfigError(
            f"stages of ista is {stages}; expected 1 (search and training are one) or 2 (search, then train)."
        )
    one = stages == 1
    rate = Constant(learning_rate) if one else Cosine(learning_rate, learning_rate / 25)
    return Method(
        name="ista",
        updates=(OnceFrozen(JointStep(), WeightStep()), RecoverCodes(freeze))
        if one
        else (OuterStep(), WeightStep(), RecoverCodes()),
        relaxation=partial(SparseCode, sparsity=sparsity, penalty=penalty),
        sampler=Relaxed(),
        selector=Derive(),
        network=InheritWeights() if one and inherit else None,
        weights=SGD(rate, weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
        train_share=1.0 if one else 0.5,
    )
