"""End with a network that is trained already: that of the supernet."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from nas_search.errors import ConfigError
from nas_search.extraction import calibrate, extract, inheriting
from nas_search.run_state import check_positive
from nas_spaces import Architecture, SpacesError

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["InheritWeights"]


@dataclass(frozen=True)
class InheritWeights:
    """The found architecture with the supernet's weights; meets `NetworkFactory`. For one-stage methods, whose supernet is it.

    Its operations are scaled as the relaxation weighs them, and its batch normalisations get the statistics of train
    batches as they are, without augmentation.

    Args:
        batches: how many.
    """

    batches: int = 50

    def __post_init__(self) -> None:
        check_positive(batches=self.batches)

    def __call__(self, state: "SearchState", architecture: Architecture) -> nn.Module:
        """See `NetworkFactory`.

        Raises:
            ConfigError: the method has no relaxation that weighs its supernet's operations, or one whose weights are drawn.
        """
        self.check(state)
        assert state.relaxation is not None
        with torch.no_grad():
            weights = state.relaxation(None, 1.0).weights
        network = extract(state.require_supernet(), state.space, architecture, weights, **state.sizes)
        count = min(self.batches, len(state.train))
        calibrate(network, (state.normalize(state.train[position].images) for position in range(count)))
        whole = nn.Sequential(copy.deepcopy(state.normalize), network)
        return whole.to(memory_format=torch.channels_last).eval()

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the method has no relaxation that weighs its supernet's operations, or one whose weights are drawn; or
                the space does not say what its supernet shares with its networks.
        """
        if state.relaxation is None:
            raise ConfigError(
                f"method {state.method.name!r} inherits weights from its relaxation's supernet, but has none."
            )
        if state.relaxation.noise(torch.Generator()) is not None:
            raise ConfigError(
                f"method {state.method.name!r} inherits weights, but its relaxation {type(state.relaxation).__name__} draws those "
                "of its operations: no one network is trained. Take SparseCode, or leave network out and train the result."
            )
        try:
            with torch.random.fork_rng(devices=[]):  # what is built here is not kept
                inheriting(state.space, state.space.discretize(state.relaxation.probabilities()), **state.sizes)
        except SpacesError as error:
            raise ConfigError(
                f"method {state.method.name!r} inherits weights, but no network can be taken out of a supernet of "
                f"{state.space.name}: {error} Leave network out (for ista, --set inherit=false) and train the result."
            ) from error
