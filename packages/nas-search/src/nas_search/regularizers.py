"""Terms that are added to the outer loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_hypergrad import Variables
from nas_search.errors import ConfigError
from nas_search.roles import Schedule
from nas_search.schedules import Constant
from nas_spaces import SearchSpace
from nas_spaces.cell_space import CellSpace
from nas_spaces.nas_bench_201 import NasBench201

if TYPE_CHECKING:
    from nas_search.roles import Regularizer
    from nas_search.state import SearchState

__all__ = ["Decay", "Entropy", "ExpectedCost", "depth", "entropy", "resource", "successive_edges"]


@dataclass(frozen=True)
class Entropy:
    """``coefficient * mean entropy`` of the rows, in nats: a positive coefficient drives the weights to one-hot.

    Of weights that are no distribution, such as sparse codes, it is the entropy of their magnitudes, each row divided by its
    sum. Its gradient is finite where weights are zero, as in hard choices: there they are held constant.

    Args:
        coefficient: over the run.
    """

    coefficient: Schedule = Constant(0.0)

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """See `Regularizer`."""
        sizes = weights.abs()
        rows = sizes / sizes.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        # At zero the derivative of w log w is infinite: one there, whose logarithm is 0 and stays so.
        return self.coefficient(progress) * -(rows * torch.where(rows > 0, rows, 1.0).log()).sum(dim=1).mean()

    def check(self, state: "SearchState") -> None:
        """See `Checked`; refuse a method without a relaxation."""
        _require_relaxation(self, state)


@dataclass(frozen=True)
class Decay:
    """``coefficient / 2 * sum of squares`` of the architecture parameters.

    With a constant coefficient its gradient is that of the optimiser's own weight decay; this one may follow a schedule.

    Args:
        coefficient: over the run.
    """

    coefficient: Schedule = Constant(1e-3)

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """See `Regularizer`.

        Raises:
            ConfigError: there are no architecture parameters.
        """
        parameters = [value.square().sum() for name, value in outer.items() if name.startswith("relaxation.")]
        if not parameters:
            raise ConfigError(f"{self} has no architecture parameters to decay; give the method a relaxation.")
        return self.coefficient(progress) / 2 * torch.stack(parameters).sum()

    def check(self, state: "SearchState") -> None:
        """See `Checked`; refuse a method without a relaxation."""
        _require_relaxation(self, state)


@dataclass(frozen=True)
class ExpectedCost:
    """``coefficient * sum of weights * costs``: the cost in expectation, if the weights are probabilities.

    Made by `resource` and `depth`.

    Args:
        costs: of every option, row by row.
        coefficient: over the run.
    """

    costs: tuple[tuple[float, ...], ...]
    coefficient: Schedule

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """See `Regularizer`.

        Raises:
            ConfigError: the weights have another shape than the costs.
        """
        costs = torch.tensor(self.costs, dtype=weights.dtype, device=weights.device)
        if costs.shape != weights.shape:
            raise ConfigError(
                f"costs have shape {tuple(costs.shape)}, the choice weights {tuple(weights.shape)} (choices, options); "
                "make the table for the space that is searched."
            )
        return self.coefficient(progress) * (weights * costs).sum()

    def check(self, state: "SearchState") -> None:
        """See `Checked`; refuse a method without a relaxation."""
        _require_relaxation(self, state)


def _require_relaxation(term: "Regularizer", state: "SearchState") -> None:
    if state.relaxation is None:
        raise ConfigError(
            f"method {state.method.name!r} has the regulariser {term}, which is about what a relaxation learns, and has no "
            "relaxation; give it one, or leave the regulariser out."
        )


def resource(costs: Tensor, coefficient: Schedule = Constant(1.0)) -> ExpectedCost:
    """A cost of the architecture, such as its multiply-adds, in expectation (Xie et al., "SNAS", ICLR 2019, sec. 2.3).

    Args:
        costs: ``(choices, options)``, in any unit; what the coefficient is to be measured in.
        coefficient: over the run.

    Raises:
        ConfigError: the costs are no table of finite numbers.

    Example:
        >>> term = resource(torch.tensor([[0.0, 3.0]]), Constant(0.5))
        >>> term(torch.tensor([[0.5, 0.5]]), 0.0, {}).item()
        0.75
    """
    if costs.ndim != 2 or not bool(torch.isfinite(costs).all()):
        raise ConfigError(
            f"costs have shape {tuple(costs.shape)}; expected (choices, options) and finite numbers, 0 where there is no option."
        )
    return ExpectedCost(tuple(tuple(row) for row in costs.tolist()), coefficient)


def depth(space: SearchSpace, coefficient: Schedule = Constant(0.05)) -> ExpectedCost:
    """Minus the expected number of connections between successive nodes: deep cells cost less (thesis, Eq. 4.13 and 5.20).

    Args:
        space: whose nodes are meant.
        coefficient: zeta over the run; 0.05 in E2NAS-R.

    Raises:
        ConfigError: a space without nodes that choose what they are connected to.
    """
    return resource(-successive_edges(space), coefficient)


def successive_edges(space: SearchSpace) -> Tensor:
    """1 for each option that connects a node with the node before it, ``(choices, options)`` float; 0 for ``none``.

    Raises:
        ConfigError: a space whose rows are not the edges of a cell.
    """
    if isinstance(space, NasBench201):
        rows = [row for row, (source, target) in enumerate(space.edges) if source == target - 1]
    elif isinstance(space, CellSpace):
        # State i + 1 is the node before node i; for the first node it is the output of the last cell.
        edges = [row for row, (state, node) in enumerate(space.shape.edges) if state == node + 1]
        rows = [space.choices.groups[cell][row] for cell in space.cell_names for row in edges]
    else:
        raise ConfigError(f"space {space.name!r} has no cell whose nodes choose their inputs; depth needs one.")
    table = torch.zeros(space.choices.shape)
    for row in rows:
        for option, name in enumerate(space.choices.options[row]):
            table[row, option] = float(name != "none")
    return table


def entropy(weights: Tensor) -> Tensor:
    """Mean over the rows of ``- sum w log w``, in nats; `weights` ``(choices, options)`` with rows that sum to 1."""
    # xlogy is 0 at 0, where the product would be NaN.
    return -torch.special.xlogy(weights, weights).sum(dim=1).mean()
