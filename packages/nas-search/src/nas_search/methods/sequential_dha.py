"""Sequential DHA."""

from dataclasses import replace

from nas_search.adversarial import Weighting
from nas_search.errors import ConfigError
from nas_search.hyperparameters import LearnedHyperparameters
from nas_search.method import Method
from nas_search.methods.dha import PARTS, dha
from nas_search.recovery import Limit, RecoverCodes, TrainAnew
from nas_search.updates import After, JointStep, Until

__all__ = ["sequential_dha"]


def sequential_dha(
    learn: tuple[str, ...] = PARTS,
    *,
    share: float = 0.5,
    weighting: Weighting = "score",
    customary: bool = True,
    cutout: float = 0.5,
    augmentation_learning_rate: float = 0.02,
    architecture_learning_rate: float = 3e-4,
    learning_rate: float = 0.0255,
    lowest_learning_rate: float = 1e-3,
    highest_learning_rate: float = 0.05,
    weight_decay: float = 3e-4,
    logarithmic: bool = False,
    hyperparameter_learning_rate: float = 1e-8,
    max_parameters: float = 0.0,
    max_multiply_adds: float = 0.0,
    limits: tuple[Limit, ...] | None = None,
) -> Method:
    """The parts of DHA one after the other: first the architecture, then augmentation and hyper-parameters for it (DHA, 2021).

    The paper's baseline "Sequential DHA". In the first part of the run one-stage ISTA-NAS searches with what is customary for
    the data; then its architecture stays, the weights begin anew, and the rest is learned while they are trained.

    Args:
        learn: what is; ``("architecture", "augmentation")`` is the paper's sequential NAS + DA, ``("architecture",
            "hyperparameters")`` its sequential NAS + HPO.
        share: the part of the run that searches the architecture.
        weighting: as in `dha`.
        customary: as in `dha`.
        cutout: as in `dha`.
        augmentation_learning_rate: as in `dha`.
        architecture_learning_rate: as in `dha`.
        learning_rate: as in `dha`; also that of the first stage.
        lowest_learning_rate: as in `dha`.
        highest_learning_rate: as in `dha`.
        weight_decay: as in `dha`; also that of the first stage.
        logarithmic: as in `dha`.
        hyperparameter_learning_rate: as in `dha`.
        max_parameters: as in `dha`.
        max_multiply_adds: as in `dha`.
        limits: as in `dha`.

    Differs from the paper:
        1. The first stage is ISTA-NAS of one level on all train images, on a network of the final size; the released code has
           that of two levels on a smaller one.

    Raises:
        ConfigError: as `dha`; a share that leaves no second stage, or nothing for it.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share is {share}; expected a part of the run above 0 and below 1.")
    if set(learn) == {"architecture"}:
        raise ConfigError(
            "sequential_dha learns the architecture alone, which is no sequence; take dha(learn=...) or ista(1)."
        )
    joint = dha(
        learn,
        weighting=weighting,
        customary=customary,
        cutout=cutout,
        augmentation_learning_rate=augmentation_learning_rate,
        architecture_learning_rate=architecture_learning_rate,
        learning_rate=learning_rate,
        lowest_learning_rate=lowest_learning_rate,
        highest_learning_rate=highest_learning_rate,
        weight_decay=weight_decay,
        logarithmic=logarithmic,
        hyperparameter_learning_rate=hyperparameter_learning_rate,
        max_parameters=max_parameters,
        max_multiply_adds=max_multiply_adds,
        limits=limits,
    )
    *learning, recovering = joint.updates
    tuned = joint.hyperparameters
    return replace(
        joint,
        name="sequential_dha",
        updates=(
            *(Until(share, part) for part in (JointStep(customary=True), recovering)),
            TrainAnew(share, recovering.limits if isinstance(recovering, RecoverCodes) else ()),
            *(After(share, part) for part in learning),
        ),
        hyperparameters=replace(tuned, start=share) if isinstance(tuned, LearnedHyperparameters) else None,
    )
