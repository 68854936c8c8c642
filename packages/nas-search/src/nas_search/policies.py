"""Augmentation policies that are learned for the data at hand."""

from dataclasses import dataclass
from typing import Literal

from nas_augment import AugmentationPolicy, LearnablePolicy, PolicyError, preset
from nas_search.data import Data
from nas_search.errors import ConfigError

__all__ = ["LearnedOnTop"]


@dataclass(frozen=True)
class LearnedOnTop:
    """A learnable policy, followed by what is customary for the data, such as a crop and a flip.

    Args:
        operations: a space of ``nas_augment.preset``.
        count: K, operations for an image.
        share: what has a probability and levels of its own; ``pair`` is DAAS' and DADA's, see `LearnablePolicy`.
        per: draw once for every ``image``, or once for the ``batch``.
        choice: one choice for each of the ``slots``, as DAAS, or one among ``unordered`` sets, as DADA.

    Raises:
        ConfigError: no such operations, or a choice that is unknown.
    """

    operations: str = "fast_aa"
    count: int = 2
    share: Literal["position", "operation", "pair"] = "pair"
    per: Literal["image", "batch"] = "batch"
    choice: Literal["slots", "unordered"] = "slots"

    def __post_init__(self) -> None:
        self._make()

    def on(self, data: Data) -> AugmentationPolicy:
        """See `DataPolicyFactory`; the learned operations come first, as in Fast AutoAugment and DADA."""
        return self._make(data)

    def _make(self, data: Data | None = None) -> LearnablePolicy:
        stages = () if data is None else data.policy.stages
        try:
            return LearnablePolicy(
                preset(self.operations), self.count, choice=self.choice, share=self.share, per=self.per, after=stages
            )
        except PolicyError as error:
            raise ConfigError(f"the augmentation policy cannot be made: {error}") from error
