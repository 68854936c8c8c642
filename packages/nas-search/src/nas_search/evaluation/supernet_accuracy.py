"""Score an architecture by its path through the supernet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas_search.errors import ConfigError
from nas_search.evaluation.accuracy import require_validation, top1
from nas_search.run_state import check_positive
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["SupernetAccuracy"]


@dataclass(frozen=True)
class SupernetAccuracy:
    """Validation accuracy with the shared weights and batch statistics; the architecture is held fixed while it is scored.

    Of text it is the share of tokens that are predicted first.

    Args:
        images: how many validation images, or segments of text, are used, the same for every architecture;
            NAS-Bench-201's runs use 512.
    """

    images: int = 512

    def __post_init__(self) -> None:
        check_positive(validation_images=self.images)
        if self.images < 2:
            raise ConfigError(f"{self.images} validation images; batch normalisation needs 2 or more.")

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there are no validation images.
        """
        require_validation(state)

    def __call__(self, architecture: Architecture, state: "SearchState") -> float:
        """See `Evaluator`."""
        supernet = state.require_supernet()
        weights = state.space.weights(architecture)
        count = min(self.images, len(state.valid_examples.labels))
        # Evenly spread over the validation part, so that every class is seen.
        examples = state.valid_examples.take(torch.linspace(0, len(state.valid_examples.labels) - 1, count).long())
        training = supernet.training
        supernet.eval()  # without dropout; batch statistics stay
        try:
            return top1(
                lambda images: supernet(state.normalize(images), weights, architecture.options), examples, state.device
            )
        finally:
            supernet.train(training)
