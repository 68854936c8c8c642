"""A method: one part for each role, as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas_hypergrad import FirstOrder, Hypergradient
from nas_search.losses import Plain, Validation
from nas_search.optimizers import SGD, Adam, OptimizerSettings
from nas_search.roles import (
    DataPolicyFactory,
    HypergradientFactory,
    HyperparameterFactory,
    NetworkFactory,
    Observer,
    OuterLoss,
    PolicyFactory,
    Regularizer,
    RegularizerFactory,
    RelaxationFactory,
    RelaxationOfSpace,
    Sampler,
    Schedule,
    Selector,
    StopRule,
    SupernetFactory,
    SupernetLoss,
    Update,
)
from nas_search.schedules import Cosine
from nas_search.stopping import Never
from nas_search.supernets import WholeChannels
from nas_spaces import SearchSpace

__all__ = ["Method"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a search does, without any of its data: see `nas_search.roles` for what each part is.

    Args:
        name: as in reports.
        updates: what one step of the search does, in order.
        sampler: what a weight step trains, or what a black-box method evaluates next.
        selector: how the search ends with an architecture.
        network: takes the trained network of what was found out of the search; None where it is to be trained anew.
        relaxation: makes the architecture parameters for a space's choices, or for the space; None if there are none.
        supernet: which supernet of the space is trained.
        hypergradient: how the gradient of the outer variables is estimated; a factory where that depends on the step.
        outer_loss: what the outer variables minimise.
        loss: of a weight step.
        policy: makes the augmentation policy, for some data or for any; None for the one that is customary for the data.
        regularizers: terms of the outer loss; factories where they depend on the step.
        weights: optimiser of the supernet's weights; None for black-box methods, which have no supernet.
        outer: optimiser of the outer variables.
        policy_optimizer: optimiser of the policy alone, where an update of its own learns it (`PolicyStep`); None where
            the policy is one of the outer variables, or nothing is learned of it.
        hyperparameters: what is learned of the options of the weights' optimiser, after every step; None for nothing.
        train_share: the share of the train images that weight steps see; the rest validates. With 1 there is no rest, and
            nothing of the method may ask for a validation image.
        steps: steps of an epoch; None for one pass over the training part.
        observers: what the method needs to be recorded of every epoch; told before those of the caller.
        stop: ends the search before its last epoch.
        annealing: the learning rate of the training of what was found, made from its first value.
    """

    name: str
    updates: tuple[Update, ...]
    sampler: Sampler
    selector: Selector
    network: NetworkFactory | None = None
    relaxation: RelaxationFactory | RelaxationOfSpace | None = None
    supernet: SupernetFactory = WholeChannels()
    hypergradient: Hypergradient | HypergradientFactory = FirstOrder()
    outer_loss: OuterLoss = Validation()
    loss: SupernetLoss = Plain()
    policy: PolicyFactory | DataPolicyFactory | None = None
    regularizers: tuple[Regularizer | RegularizerFactory, ...] = ()
    weights: OptimizerSettings | None = SGD()
    outer: OptimizerSettings = Adam()
    policy_optimizer: OptimizerSettings | None = None
    hyperparameters: HyperparameterFactory | None = None
    train_share: float = 0.5
    steps: int | None = None
    observers: tuple[Observer, ...] = ()
    stop: StopRule = Never()
    annealing: Callable[[float], Schedule] = Cosine

    @property
    def sequence(self) -> tuple[Update, ...]:
        """All updates of a step in order: the method's own, and that of the hyper-parameters after them."""
        return self.updates if self.hyperparameters is None else (*self.updates, self.hyperparameters.update)

    def prepare(self, space: SearchSpace, observers: Sequence[Observer] = ()) -> None:
        """Do now, telling observers, what takes long before a search in the space; see `RelaxationOfSpace.prepare`."""
        if isinstance(self.relaxation, RelaxationOfSpace):
            self.relaxation.prepare(space, observers)
