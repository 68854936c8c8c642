"""What recovers the codes of `SparseCode` during a search, within limits, and what settles them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_search.compatibility import used
from nas_search.errors import ConfigError
from nas_search.relaxations import SparseCode
from nas_search.relaxations.budget import Budget
from nas_search.roles import Update
from nas_search.streams import stream_seed
from nas_spaces.costs import Measure, operation_costs

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["Limit", "OnceFrozen", "RecoverCodes", "TrainAnew"]


@dataclass(frozen=True)
class Limit:
    """A resource constraint ``c(alpha) <= C`` (DHA, Eq. 1).

    Args:
        measure: ``"parameters"``, ``"multiply_adds"``, or the cost of an operation at its place, such as a
            ``nas_spaces.latency.LatencyTable``, in whose seconds the limit is then and which counts the operations alone.
        most: C, of the network in the sizes of the search.

    Raises:
        ConfigError: a limit that is not above 0.
    """

    measure: Measure
    most: float

    def __post_init__(self) -> None:
        if not 0 < self.most < float("inf"):
            raise ConfigError(f"the limit of {self.name} is {self.most}; expected a number above 0.")

    @property
    def name(self) -> str:
        """What is limited."""
        return self.measure if isinstance(self.measure, str) else type(self.measure).__name__

    def budget(self, state: "SearchState") -> Budget:
        """What is left for the operations.

        Raises:
            ConfigError: what every network of the space has, such as its stem, costs more.
        """
        images = state.data.train.images
        costs = operation_costs(
            state.space,
            measure=self.measure,
            image=(images.shape[1], images.shape[2], images.shape[3]),
            classes=state.data.classes,
            channels=state.channels,
            cells=state.cells,
        )
        if costs.constant >= self.most:
            raise ConfigError(
                f"the limit of {self.name} is {self.most:g}, and what every network of {state.space.name} has costs "
                f"{costs.constant:g} already in these sizes: raise it."
            )
        return Budget(self.name, costs.options, self.most - costs.constant)


@dataclass(frozen=True)
class RecoverCodes:
    """At the end of every epoch, solve for the sparse codes of the learned measurements; the last update of a method.

    Args:
        freeze: the distance at or below which a node's codes are frozen; None for never.
        limits: of what is kept; exchanged for what costs less where it would exceed them, see `keep_within`. Held from the end
            of the first epoch on.

    Differs from the papers:
        1. The released code of ISTA-NAS and DHA leaves out a step after which the network would be too large; here the largest
           codes that are within the limits are kept instead, so that a search cannot stay where it began.
    """

    freeze: float | None = None
    limits: tuple[Limit, ...] = ()

    uses: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``frozen``, the share of the nodes whose codes are frozen, once an epoch.

        Raises:
            ConfigError: the method has no sparse codes, or nothing is within the limits.
            ConvergenceError: they were not found.
        """
        codes = _codes(state)
        if state.step < state.steps - 1:
            return {}
        codes.recover(self.freeze, [limit.budget(state) for limit in self.limits])
        return {"frozen": codes.frozen.float().mean()}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no architecture within the limits.
        """
        if self.limits:
            _codes(state).within([limit.budget(state) for limit in self.limits])


@dataclass(frozen=True)
class TrainAnew:
    """Once, settle the codes and give the supernet new weights: the second stage of a sequential search.

    The codes are those of the measurements as they are then, also where it happens within an epoch.

    Args:
        start: the progress at which it happens, in [0, 1].
        limits: of what is kept, as in `RecoverCodes`.

    Raises:
        ConfigError: a start outside of [0, 1].
    """

    start: float
    limits: tuple[Limit, ...] = ()

    uses: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ConfigError(f"training starts anew at {self.start}; expected a part of the run, from 0 to 1.")

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report nothing.

        Raises:
            ConfigError: the method has no sparse codes, or nothing is within the limits.
            ConvergenceError: they were not found.
        """
        codes = _codes(state)
        if state.progress < self.start or state.memory.get("trained_anew"):
            return {}
        assert state.weight_optimizer is not None
        codes.recover(None, [limit.budget(state) for limit in self.limits])
        codes.settle()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(stream_seed(state.seed, "anew"))
            fresh = state.make_supernet()
        state.require_supernet().load_state_dict(fresh.state_dict())
        state.weight_optimizer.state.clear()
        state.memory["trained_anew"] = True
        return {}


@dataclass(frozen=True)
class OnceFrozen:
    """One update while codes still move, another from the termination on, when those of all nodes are frozen.

    Args:
        before: what searches, such as `JointStep`.
        after: what trains on what was found, such as `WeightStep`.
    """

    before: Update
    after: Update

    @property
    def updates(self) -> tuple[Update, ...]:
        """Both."""
        return self.before, self.after

    @property
    def uses(self) -> frozenset[str] | None:
        """What they use."""
        return used(self.updates)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report what the update does whose time it is.

        Raises:
            ConfigError: the method has no sparse codes.
        """
        update = self.after if bool(_codes(state).frozen.all()) else self.before
        return update(state, batch)


def _codes(state: "SearchState") -> SparseCode:
    if not isinstance(state.relaxation, SparseCode):
        raise ConfigError(f"method {state.method.name!r} recovers codes; give it the relaxation SparseCode.")
    return state.relaxation
