"""What a path that a relaxation draws stands for, where a space takes some of its rows only."""

from typing import TYPE_CHECKING

import torch

from nas_search.roles import ChoiceWeights

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["architecture_of"]


def architecture_of(state: "SearchState", path: ChoiceWeights) -> ChoiceWeights:
    """The architecture that the space derives from a path.

    A path of one option in every row says nothing of which edges to keep where a node takes some of them only. These are
    drawn: uniformly, among the edges that have an operation, and so that the draw does not depend on what a relaxation
    learned; with ``none`` a relaxation leaves out an edge itself. Where that leaves a node less edges than it takes, the
    operation of another one is drawn uniformly.
    """
    weights, options = path.weights, state.space.choices.mask.to(path.weights.device)
    strengths = 0.5 + 0.5 * torch.rand((len(weights), 1), generator=state.generator)
    # Far below what was drawn: it decides where nothing was.
    spread = 1e-3 * torch.rand(weights.shape, generator=state.generator)
    architecture = state.space.discretize(weights * strengths.to(weights) + spread.to(weights) * options)
    return ChoiceWeights(state.space.weights(architecture), architecture.options)
