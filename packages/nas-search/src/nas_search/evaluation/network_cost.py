"""What the network of an architecture costs: parameters, multiply-adds, or a latency that was measured."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nas_search.mixed_space import MixedSpace
from nas_spaces import Architecture, SearchSpace
from nas_spaces.costs import Costs, Measure, operation_costs
from nas_spaces.errors import InputError

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["NetworkCost"]


@dataclass(frozen=True)
class NetworkCost:
    """The cost of the network of the size that is searched, for one image; smaller is better.

    The costs of the operations are counted once and added up; in spaces where a cost is no such sum (those with rows for
    inputs) every network is counted by itself, which takes tens of milliseconds.

    Args:
        measure: ``parameters``, ``multiply_adds``, or a function of an operation with its place, such as a
            `nas_spaces.latency.LatencyTable`.
    """

    measure: Measure = "parameters"

    def __call__(self, architecture: Architecture, state: "SearchState") -> float:
        """Signature of an `Evaluator`.

        Raises:
            InputError: the measure is a function, and the space does not say where its operations stand.
        """
        space = state.space
        if isinstance(space, MixedSpace):
            architecture, space = space.split(architecture)[0], space.base
        image = tuple(state.data.train.images.shape[1:])
        sizes = image, state.data.classes, state.channels, state.cells
        costs = _costs(space, self.measure, *sizes)
        if costs is not None:
            return float(costs.of(space.weights(architecture)))
        return _counted(space, architecture, self.measure, *sizes)


@lru_cache(maxsize=8)
def _costs(
    space: SearchSpace, measure: Measure, image: tuple[int, ...], classes: int, channels: int, cells: int | None
) -> Costs | None:
    """None where a cost is not a sum over the choices."""
    try:
        return operation_costs(
            space,
            measure=measure,
            image=image,  # type: ignore[arg-type]
            classes=classes,
            channels=channels,
            cells=cells,
        )
    except InputError:
        if callable(measure):
            raise
        return None


@lru_cache(maxsize=100_000)
def _counted(
    space: SearchSpace,
    architecture: Architecture,
    measure: str,
    image: tuple[int, ...],
    classes: int,
    channels: int,
    cells: int | None,
) -> float:
    counts = space.count(architecture, image=image, classes=classes, channels=channels, cells=cells)
    return float(getattr(counts, measure))
