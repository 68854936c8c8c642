"""A step of a distribution over what is learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.objective import Objective
from nas_search.optimizers import GaussianPosterior
from nas_search.run_state import check_positive
from nas_search.updates.outer import USES, differentiable_choice, hypergradient_at

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["PosteriorStep"]


@dataclass(frozen=True)
class PosteriorStep:
    """One step of a Gaussian over the outer variables, along the hypergradients at draws from it (BaLeNAS).

    The method's outer optimiser is `VariationalAdam`, which holds the distribution; the outer variables are its means, and
    every other part of the search sees these.

    Args:
        samples: M, the number of draws.
    """

    samples: int = 1

    uses: ClassVar[frozenset[str]] = USES

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` at the last draw, and ``deviation``, the mean standard deviation.

        Raises:
            ConfigError: the outer optimiser holds no distribution.
            NonFiniteError: a hypergradient became NaN or infinite; the message says where.
        """
        optimizer = _posterior(state)
        names = list(state.outer_parameters())
        objective = Objective(state, batch)
        inner = dict(state.require_supernet().named_parameters())
        gradients = []
        for _ in range(self.samples):
            drawn = dict(zip(names, optimizer.sample(state.generator), strict=True))
            found, figures = hypergradient_at(state, objective, inner, drawn)
            gradients.append([found[name] for name in names])
        optimizer.update(gradients, state.method.outer.learning_rate(state.progress))
        deviation = torch.cat([value.flatten() for value in optimizer.deviations()]).mean()
        return {**figures, "deviation": deviation}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the outer optimiser holds no distribution, or a relaxation has no derivative.
        """
        _posterior(state)
        differentiable_choice(state)


def _posterior(state: "SearchState") -> GaussianPosterior:
    optimizer = state.outer_optimizer
    if not isinstance(optimizer, GaussianPosterior):
        raise ConfigError(
            f"method {state.method.name!r} has a PosteriorStep, which needs a relaxation or a policy that learns, and "
            "outer=VariationalAdam(...)."
        )
    return optimizer
