"""The learnable policies of published searches."""

from nas_augment.fixed import Cutout, Stage
from nas_augment.learnable import LearnablePolicy
from nas_augment.presets import preset

__all__ = ["daas", "dada", "dha"]


def daas(*, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()) -> LearnablePolicy:
    """The policy of DAAS: 15 operations, two slots, probabilities and levels for each of 225 pairs; one a batch."""
    return LearnablePolicy(preset("fast_aa"), share="pair", per="batch", before=before, after=after)


def dada(
    *, continuous_levels: bool = False, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()
) -> LearnablePolicy:
    """The policy of DADA (Li et al., 2020): 105 pairs of different operations; one a batch.

    Differs from the paper: the magnitude is one of 10 levels, learned by the score function, unless it is continuous:
    then it is the paper's number in [0, 1], learned through the soft path, and one of 1001 levels where it is applied
    exactly.
    """
    return LearnablePolicy(
        preset("fast_aa", 1001 if continuous_levels else None),
        choice="unordered",
        share="pair",
        per="batch",
        continuous_levels=continuous_levels,
        before=before,
        after=after,
    )


def dha(*, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = (Cutout(16),)) -> LearnablePolicy:
    """The policy of DHA (Zhou et al., 2021): 14 x 14 ordered pairs, always applied, levels uniform; one an image.

    Differs from the released code: Posterize keeps 4 to 8 bits, as in Fast AutoAugment, and not 1 to 4; the paper gives no
    ranges.
    """
    return LearnablePolicy(
        preset("ops14_ra"), choice="joint", probability=1.0, learn_levels=False, before=before, after=after
    )
