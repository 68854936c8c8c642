"""The roles of a search: read this page first.

A method (`nas_search.method.Method`) names one part for each role, and the one loop (`nas_search.loop`) runs them. What
learns is an ``nn.Module``; what does not is a function or a frozen dataclass that meets a ``Protocol`` of one method.

=======================  ==========================================================  =====================================
role                     what it does                                                implementations in
=======================  ==========================================================  =====================================
`Relaxation`             architecture parameters -> choice weights                   ``relaxations/``
`RelaxationOfSpace`      a space -> its `Relaxation`, where choices are not enough   ``latent_space``
`Data`                   examples of a kind, in their parts                          ``data``, ``text``
``Supernet``             images and choice weights -> logits                         nas_spaces
`SupernetFactory`        a space and sizes -> the ``Supernet`` that is trained       ``supernets``, ``critic``
``AugmentationPolicy``   images -> augmented images and their log-probability        nas_augment
`DataPolicyFactory`      the data -> the ``AugmentationPolicy`` that is learned      ``policies``, ``adversarial``
``Hypergradient``        a bilevel problem -> gradient of the outer variables        nas_hypergrad
`HypergradientFactory`   the search at a step -> its ``Hypergradient``               ``estimators/``
`Sampler`                the choice weights that a weight step trains                ``samplers/``
`BatchSampler`           the same, for several candidates of a black-box method      ``samplers/``
`SupernetLoss`           the loss of a weight step                                   ``losses/``
`OuterLoss`              validation and training loss -> outer loss                  ``losses/``
`Regularizer`            a term added to the outer loss                              ``regularizers``, ``gates``
`RegularizerFactory`     the search at a step -> its `Regularizer`                   ``exploration``
`Update`                 what one step of the search does, in order                  ``updates``, ``recovery``,
                                                                                     ``score_function``, ``halving``,
                                                                                     ``policy_gradient``, ``adversarial``,
                                                                                     ``relaxed_policy``, ``critic``,
                                                                                     ``control_variate``
`Checked`                what a part refuses before a search begins                  any part
`Selector`               the finished search -> architecture                         ``selection/``, ``halving``
`Ranks`                  the finished search -> what else it might have found        ``selection/``, ``halving``
`NetworkFactory`         the finished search -> a trained network                    ``selection/``
`Evaluator`              architecture -> score                                       ``evaluation/``
`Schedule`               progress of the run -> value                                ``schedules``
`Observer`               is told of every step and epoch                             ``diagnostics/``, ``evaluation/``,
                                                                                     ``tensorboard``, third parties
`StopRule`               the records of the epochs -> end now?                       ``stopping``, ``recovery``
`HyperparameterFactory`  parameter names -> options of their optimiser that learn    ``hyperparameters``
=======================  ==========================================================  =====================================

Letters: `images` ``(batch, channels, height, width)``, `labels` ``(batch,)``, `weights` ``(choices, options)``,
`progress` in [0, 1]: the part of the run that is done. In a space that reads tokens, `images` are tokens ``(batch,
time)``, `labels` the tokens that follow, ``(batch, time)``, and logits ``(batch, classes, time)``: as cross-entropy takes
them, so that losses, methods and the loop are the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from nas_augment import AugmentationPolicy
from nas_hypergrad import Hypergradient, Loss, Variables
from nas_spaces import Architecture, Choices, Drawn, SearchSpace, Supernet

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.data import Data
    from nas_search.hyperparameters import Hyperparameters
    from nas_search.optimizers import OptimizerSettings
    from nas_search.ranking import Ranking
    from nas_search.run_state import RunState
    from nas_search.state import SearchState

__all__ = [
    "AugmentationPolicy",
    "BatchSampler",
    "Checked",
    "ChoiceWeights",
    "DataPolicyFactory",
    "Evaluator",
    "Event",
    "Hypergradient",
    "HypergradientFactory",
    "HyperparameterFactory",
    "NetworkFactory",
    "Observer",
    "OuterLoss",
    "PolicyFactory",
    "Ranks",
    "Regularizer",
    "RegularizerFactory",
    "Relaxation",
    "RelaxationFactory",
    "RelaxationOfSpace",
    "Sampler",
    "Schedule",
    "Selector",
    "StopRule",
    "Supernet",
    "SupernetFactory",
    "SupernetLoss",
    "Update",
]


class ChoiceWeights(NamedTuple):
    """Choice weights, and for a sampled path the drawn options as integers on the host.

    Attributes:
        weights: ``(choices, options)``.
        drawn: the options of each row that are evaluated at all; all of them when None.
    """

    weights: Tensor
    drawn: Drawn | None = None


class Relaxation(nn.Module, ABC):
    """Turns architecture parameters, its own ``nn.Parameter`` s, into choice weights.

    The parameters stay on the host: a sampled path is then known to the host without waiting for the device.

    Attributes:
        independent: whether the rows of `probabilities` are distributions that do not depend on each other, so that their
            product is the probability of an architecture where every row takes one option.
    """

    independent: ClassVar[bool] = True

    @abstractmethod
    def noise(self, generator: torch.Generator) -> Tensor | None:
        """Draw what `forward` needs of randomness, None if nothing: equal noise gives equal weights."""

    @abstractmethod
    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """The choice weights under the current parameters, differentiable in them."""

    @abstractmethod
    def probabilities(self) -> Tensor:
        """What an architecture is derived from, ``(choices, options)``, without gradient.

        Each row is a distribution over its options, times the weight of its edge, in (0, 1], where edges compete.
        """


RelaxationFactory: TypeAlias = Callable[[Choices], Relaxation]


@runtime_checkable
class RelaxationOfSpace(Protocol):
    """Makes the relaxation of a space, where that takes more than its choices, such as a model that is trained before."""

    def prepare(self, space: SearchSpace, observers: Sequence["Observer"] = ()) -> None:
        """Do now what takes long and lasts, telling observers; `of` does it otherwise.

        Raises:
            ConfigError: the space does not fit.
        """
        ...

    def of(self, space: SearchSpace) -> Relaxation:
        """Return the relaxation at the beginning of a search.

        Raises:
            ConfigError: the space does not fit.
        """
        ...


PolicyFactory: TypeAlias = Callable[[], AugmentationPolicy]


@runtime_checkable
class DataPolicyFactory(Protocol):
    """Makes the ``AugmentationPolicy`` for some data, where it depends on their channels or on what is customary for them."""

    def on(self, data: "Data") -> AugmentationPolicy:
        """Return the policy."""
        ...


class SupernetFactory(Protocol):
    """Makes the supernet of a space."""

    def __call__(
        self, space: SearchSpace, *, classes: int, channels: int, cells: int | None, in_channels: int
    ) -> Supernet:
        """Return a supernet of these sizes."""
        ...


class Sampler(Protocol):
    """Draws the choice weights that a weight step trains, or that a black-box method evaluates next."""

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """Return weights without gradient, drawn with ``state.generator``."""
        ...


@runtime_checkable
class BatchSampler(Protocol):
    """A `Sampler` of a black-box method for which several proposals at once are more than one proposal several times."""

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        ...

    def several(self, state: "SearchState", count: int) -> Sequence[ChoiceWeights]:
        """Return `count` of them, drawn with ``state.generator``; of any other sampler they are independent draws."""
        ...


class SupernetLoss(Protocol):
    """The loss of a weight step, made of one or more evaluations of the supernet on the current batch."""

    def __call__(
        self, evaluate: Callable[[ChoiceWeights], Tensor], choice: ChoiceWeights, state: "SearchState"
    ) -> Tensor:
        """Return a scalar; ``evaluate(choice)`` is the mean cross-entropy of the batch under a choice."""
        ...


@runtime_checkable
class HypergradientFactory(Protocol):
    """Makes the ``Hypergradient`` of a step, where it depends on the learning rate or the optimiser's buffers."""

    def at(self, state: "SearchState") -> Hypergradient:
        """Return the estimator for the search as it is now; change nothing."""
        ...


class HyperparameterFactory(Protocol):
    """Makes what is learned of the options of the weights' optimiser, and learns it."""

    @property
    def optimizer(self) -> "OptimizerSettings":
        """What learns it."""
        ...

    def make(self, names: Sequence[str]) -> "Hyperparameters":
        """Return a module with what is learned, for the supernet's parameters of these names."""
        ...

    def update(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Learn from the weight step that was just taken: an `Update`, which runs after those of the method."""
        ...


class OuterLoss(Protocol):
    """What the outer variables minimise, before regularisers: the validation loss, or a mixture of both losses."""

    def __call__(self, valid: Loss, train: Loss, progress: float) -> Loss:
        """Return a loss ``(inner, outer) -> scalar`` made of the two."""
        ...


class Regularizer(Protocol):
    """A term added to the outer loss."""

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """Return a scalar, differentiable in `weights` ``(choices, options)`` and in the `outer` variables."""
        ...


@runtime_checkable
class RegularizerFactory(Protocol):
    """Makes the `Regularizer` of a step, where it depends on what the search remembers, or on a draw."""

    def at(self, state: "SearchState") -> Regularizer:
        """Return the term for the search as it is now; change nothing but ``state.generator`` and ``state.memory``.

        Raises:
            ConfigError: the method has not what the term is about.
        """
        ...


class Update(Protocol):
    """One part of a step of the search. A method lists its updates in the order in which they run.

    It may say what it uses in an attribute ``uses``, a frozenset of ``hypergradient``, ``outer_loss``, ``regularizers``,
    ``outer`` (it learns the outer variables), ``policy`` (it learns the policy by `policy_optimizer`), ``loss``,
    ``validation`` (it asks for validation images) and ``second_derivatives`` (it takes some of the supernet, besides those of the
    hypergradient): a method whose parts none of its updates uses is then refused.
    """

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Change the state, and return scalars to be averaged over the epoch."""
        ...


@runtime_checkable
class Checked(Protocol):
    """What parts of a method have besides where they can say beforehand what does not fit."""

    def check(self, state: "SearchState") -> None:
        """Refuse a search that this part does not fit; called when it is made.

        Raises:
            ConfigError: what does not fit.
        """
        ...


class Selector(Protocol):
    """Ends the search with an architecture."""

    def __call__(self, state: "SearchState") -> Architecture:
        """Return the architecture that the finished search stands for."""
        ...


@runtime_checkable
class Ranks(Protocol):
    """What a selector has besides where it can say what else the search might have ended with."""

    def rank(self, state: "SearchState") -> "Ranking":
        """Return the ranking of the finished search, after the selector was called; or none, and why."""
        ...


class NetworkFactory(Protocol):
    """Ends a search of one stage with a network that needs no training."""

    def __call__(self, state: "SearchState", architecture: Architecture) -> nn.Module:
        """Return it in evaluation mode: images as they are in the data to logits."""
        ...


class Evaluator(Protocol):
    """Scores an architecture; larger is better.

    It may run in another process, where `state` is a copy: what it draws is drawn with ``state.generator`` or by
    ``state.candidate``, the number of the evaluation, and of what it changes in the state ``state.images`` alone is kept.
    """

    def __call__(self, architecture: Architecture, state: "SearchState") -> float:
        """Return the score, for example validation accuracy in [0, 1]."""
        ...


class Schedule(Protocol):
    """A value that changes during the run."""

    def __call__(self, progress: float) -> float:
        """Return the value at `progress` in [0, 1]."""
        ...


@dataclass(frozen=True)
class Event:
    """What an observer is told.

    Args:
        kind: ``step`` after every step, ``epoch`` after every epoch.
        run: ``search``, ``train``, ``train-random`` for the random architecture that is trained alike, or whatever else is run.
        epoch: epochs that are finished; at the end of one it is among them.
        epochs: epochs of the whole run.
        step: steps finished in the epoch that goes on; 0 at the end of one.
        steps: steps of an epoch.
        record: the means so far; an observer may add to it at the end of an epoch, and what it adds is kept in the history.
        state: the run itself, to be looked at and not changed.
    """

    kind: Literal["step", "epoch"]
    run: str
    epoch: int
    epochs: int
    step: int
    steps: int
    record: dict[str, Any]
    state: "RunState"


class Observer(Protocol):
    """Is told of every step and every epoch."""

    def __call__(self, event: Event) -> None:
        """Take note; an observer that raises stops the run."""
        ...


class StopRule(Protocol):
    """Ends a search before its last epoch."""

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether to end now, by the records of the epochs so far; of these alone, so that a resumed run decides alike."""
        ...
