"""DHA."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from nas_search.adversarial import AdversarialStep, UniformPairs, Weighting
from nas_search.errors import ConfigError, did_you_mean
from nas_search.hyperparameters import LearnedHyperparameters, Range
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.recovery import Limit, RecoverCodes
from nas_search.relaxations import SparseCode
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant
from nas_search.selection import Derive, InheritWeights
from nas_search.updates import JointStep

__all__ = ["PARTS", "dha"]

PARTS = ("architecture", "augmentation", "hyperparameters")

# What changes nothing unless its part is learned.
_AUGMENTATION = ("weighting", "customary", "cutout", "augmentation_learning_rate")
_HYPERPARAMETERS = (
    "lowest_learning_rate",
    "highest_learning_rate",
    "lowest_weight_decay",
    "highest_weight_decay",
    "logarithmic",
    "hyperparameter_learning_rate",
)


def dha(
    learn: tuple[str, ...] = PARTS,
    *,
    weighting: Weighting = "score",
    customary: bool = True,
    cutout: float = 0.5,
    augmentation_learning_rate: float = 0.02,
    sparsity: int = 2,
    penalty: float = 1e-5,
    freeze: float = 1e-3,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    learning_rate: float = 0.0255,
    lowest_learning_rate: float = 1e-3,
    highest_learning_rate: float = 0.05,
    weight_decay: float = 3e-4,
    lowest_weight_decay: float = 1e-4,
    highest_weight_decay: float = 5e-4,
    logarithmic: bool = False,
    hyperparameter_learning_rate: float = 1e-8,
    max_parameters: float = 0.0,
    max_multiply_adds: float = 0.0,
    limits: tuple[Limit, ...] | None = None,
) -> Method:
    """Architecture, augmentation, learning rate and weight decay in one stage, with a trained network at the end (DHA, 2021).

    Zhou et al., "DHA: End-to-End Joint Optimization of Data Augmentation Policy, Hyper-parameter and Architecture",
    Algorithm 1, on all train images. In every step the policy p moves towards what the network does badly, ``min - sum_k p_k
    L_k`` over its draws (Eq. 2), then the weights w (Eq. 3) and the measurements of the sparse codes (Eq. 5 to 7) along one
    gradient, and then learning rate and weight decay h along that through the weights' step, ``h - beta d L(w'(h)) / dh``
    (Eq. 4). The codes are recovered after every epoch.

    Args:
        learn: what is; ``("architecture", "augmentation")`` is the paper's ablation NAS + DA, ``("architecture",
            "hyperparameters")`` is NAS + HPO, and ``("architecture",)`` one-stage ISTA-NAS. What is not learned is what
            is customary for the data, and the first values.
        weighting: ``score`` or ``paper``, see `AdversarialStep`.
        customary: whether a crop, a flip or what else is customary for the data comes before the learned operations.
        cutout: side of the square cut out after them, as a part of the image's.
        augmentation_learning_rate: of SGD on the policy.
        sparsity: inputs that a node keeps.
        penalty: of the 1-norm in the recovery of the codes, see `SparseCode`.
        freeze: the largest movement of a node's codes in an epoch at which it is frozen.
        architecture_learning_rate: of Adam on the measurements.
        architecture_weight_decay: of the measurements.
        learning_rate: of the weights at the beginning; it has no schedule.
        lowest_learning_rate: the least that it may become.
        highest_learning_rate: the most that it may become.
        weight_decay: of the weights at the beginning.
        lowest_weight_decay: the least that it may become.
        highest_weight_decay: the most that it may become.
        logarithmic: learn logarithms by Adam, so that `hyperparameter_learning_rate` is the factor less 1 by which a step may
            change them; 0.01 is a good one. The paper's raw form moves them by a learning rate of 1e-8, which needs very many
            steps.
        hyperparameter_learning_rate: beta of Eq. 4.
        max_parameters: C of Eq. 1 for parameters, 0 for no limit.
        max_multiply_adds: C of Eq. 1 for multiply-adds, 0 for no limit.
        limits: others, such as ``(Limit(LatencyTable(...), 0.01),)``.

    Differs from the paper:
        1. Settings that the paper leaves to a missing appendix are those of the released code.
        2. The codes are recovered once an epoch, as in the released code; Algorithm 1 does it in every step.
        3. When all codes are frozen, the search goes on to its last epoch with the weights that it has; the released code
           starts its 600 epochs with a cosine learning rate then.
        4. See `AdversarialStep`, `LearnedHyperparameters`, `RecoverCodes` and `SparseCode` for those of the parts.

    Raises:
        ConfigError: `learn` names something else, or not the architecture; a setting of a part that is not learned is
            given; a setting does not fit.
    """
    given = dict(locals())
    unknown = [part for part in learn if part not in PARTS]
    if unknown or "architecture" not in learn:
        near = f"; of {unknown[0]!r}, {did_you_mean(unknown[0], PARTS)}" if unknown else "."
        raise ConfigError(
            f"learn of dha is {tuple(learn)}; expected the architecture and any others of {', '.join(PARTS)}{near}"
        )
    _refuse_idle(learn, given)
    augments = "augmentation" in learn
    learned = None
    if "hyperparameters" in learn:
        beta = Constant(hyperparameter_learning_rate)
        learned = LearnedHyperparameters(
            learning_rate=Range(learning_rate, lowest_learning_rate, highest_learning_rate),
            weight_decay=Range(weight_decay, lowest_weight_decay, highest_weight_decay),
            log=logarithmic,
            optimizer=Adam(beta, (0.9, 0.999), 0.0) if logarithmic else SGD(beta, 0.9, 5e-4, clip=None),
        )
    caps = [Limit("parameters", max_parameters)] if max_parameters else []
    caps += [Limit("multiply_adds", max_multiply_adds)] if max_multiply_adds else []
    adversarial = (AdversarialStep(weighting),) if augments else ()
    return Method(
        name="dha",
        updates=(*adversarial, JointStep(), RecoverCodes(freeze, (*caps, *(limits or ())))),
        relaxation=partial(SparseCode, sparsity=sparsity, penalty=penalty),
        sampler=Relaxed(),
        selector=Derive(),
        network=InheritWeights(),
        policy=UniformPairs(customary, cutout) if augments else None,
        policy_optimizer=SGD(Constant(augmentation_learning_rate), 0.9, 5e-4, clip=None) if augments else None,
        weights=SGD(Constant(learning_rate), weight_decay=weight_decay, nesterov=False),
        hyperparameters=learned,
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
        train_share=1.0,
    )


def _refuse_idle(learn: tuple[str, ...], given: Mapping[str, Any]) -> None:
    """Refuse values other than the defaults for settings of a part that is not learned."""
    defaults = {name: each.default for name, each in inspect.signature(dha).parameters.items()}
    for part, names in (("augmentation", _AUGMENTATION), ("hyperparameters", _HYPERPARAMETERS)):
        idle = [name for name in names if given[name] != defaults[name]]
        if part not in learn and idle:
            raise ConfigError(
                f"{', '.join(idle)} changes nothing, because learn is {tuple(learn)}; leave it out, or add {part!r} to learn."
            )
