"""Hyper-parameters of training that are learned while the weights are: learning rate, weight decay and momentum.

A method that names a `LearnedHyperparameters` learns them after every weight step, whatever else it does::

    replace(methods.darts(), hyperparameters=LearnedHyperparameters())
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas_hypergrad import HypergradError, InnerStep, Variables, optimizer_step
from nas_search.data import NO_VALIDATION
from nas_search.errors import ConfigError
from nas_search.objective import Objective
from nas_search.optimizers import SGD, Adam, OptimizerSettings, apply_step
from nas_search.schedules import Constant, Interpolated

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = ["Hyperparameters", "LearnedHyperparameters", "Range", "StepTaken", "hypergradient", "with_learned"]

# How torch.optim calls them.
_OPTIONS = {"learning_rate": "lr", "weight_decay": "weight_decay", "momentum": "momentum"}


@dataclass(frozen=True)
class Range:
    """Where a hyper-parameter starts, and where it may go.

    Args:
        start: its first value.
        low: the smallest, 0 or more.
        high: the largest.

    Raises:
        ConfigError: numbers that are not in this order.
    """

    start: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.start <= self.high < math.inf:
            raise ConfigError(f"{self} expects 0 <= low <= start <= high, all of them finite.")


@dataclass(frozen=True)
class StepTaken:
    """One step of the weights' optimiser, as it was about to be taken.

    Args:
        step: the optimiser's update, with its momentum buffers or moments before it.
        inner: the weights before it that had a gradient.
        gradient: their gradients, clipped as they were.
    """

    step: InnerStep
    inner: dict[str, Tensor]
    gradient: dict[str, Tensor]


class Hyperparameters(nn.Module):
    """The hyper-parameters that are learned, and where the optimiser gets them from.

    Args:
        ranges: of each of them, by ``learning_rate``, ``weight_decay``, ``momentum``.
        names: of the supernet's parameters.
        groups: prefixes of the names; each group has values of its own, and the longest prefix that fits a name counts.
        log: whether the logarithm is what is learned.

    Attributes:
        raw: by hyper-parameter, the value of each group or its logarithm, ``(groups,)`` float64 on the host.

    Raises:
        ConfigError: a prefix that no name has, or a name without a prefix.
    """

    def __init__(self, ranges: Mapping[str, Range], names: Sequence[str], groups: Sequence[str], log: bool) -> None:
        super().__init__()
        self.ranges, self.groups, self.log = dict(ranges), tuple(groups), log
        self.members = _members(names, groups)
        starts = {name: self._raw(item.start) for name, item in ranges.items()}
        self.raw = nn.ParameterDict(
            {name: torch.full((len(groups),), start, dtype=torch.float64) for name, start in starts.items()}
        )
        self.last: StepTaken | None = None

    def _raw(self, value: float) -> float:
        return math.log(value) if self.log else value

    def forward(self) -> dict[str, Tensor]:
        """The values, ``(groups,)`` each, by the name of the hyper-parameter."""
        return {name: raw.exp() if self.log else raw + 0.0 for name, raw in self.raw.items()}

    @torch.no_grad()
    def project(self) -> None:
        """Bring every value back into its range."""
        for name, item in self.ranges.items():
            self.raw[name].clamp_(self._raw(item.low), self._raw(item.high))

    @torch.no_grad()
    def options(self) -> dict[str, dict[str, float]]:
        """The values as torch's optimisers call them, by group: ``{"lr": {"": 0.1}}``."""
        return {
            _OPTIONS[name]: dict(zip(self.groups, self._inside(name, values).tolist(), strict=True))
            for name, values in self().items()
        }

    def _inside(self, name: str, values: Tensor) -> Tensor:
        # The exponential of a logarithm at its bound may be one rounding beyond it.
        return values.clamp(self.ranges[name].low, self.ranges[name].high)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """The mean over the groups of each hyper-parameter; with several groups also that of each, ``learning_rate[PREFIX]``."""
        record: dict[str, float] = {}
        for name, values in self().items():
            inside = self._inside(name, values)
            record[name] = float(inside.mean())
            if len(self.groups) > 1:
                record |= {f"{name}[{group}]": float(value) for group, value in zip(self.groups, inside, strict=True)}
        return record

    def attach(self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        """Make an optimiser take its next steps with these values, whatever a schedule says, and note each of them in `last`.

        Raises:
            ConfigError: the optimiser lacks an option that is learned, or its step cannot be differentiated.
        """
        (options,) = optimizer.param_groups
        lacking = [name for name in self.ranges if _OPTIONS[name] not in options]
        if lacking:
            raise ConfigError(
                f"{', '.join(lacking)} cannot be learned of {type(optimizer).__name__}, which has no such option; learn only "
                f"what it has, or give the weights another optimiser."
            )
        try:
            optimizer_step(optimizer, dict(parameters))
        except HypergradError as error:
            raise ConfigError(
                f"hyper-parameters cannot be learned through a step of the weights' optimiser: {error}"
            ) from error
        shared = {key: value for key, value in options.items() if key != "params"}
        optimizer.param_groups.clear()
        for members in self.members:
            optimizer.add_param_group({**shared, "params": [parameters[name] for name in members]})
        self.write(optimizer)
        optimizer.register_step_pre_hook(lambda taker, args, kwargs: self._before(taker, parameters))

    def write(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the options of the optimiser's groups."""
        for option, values in self.options().items():
            for group, value in zip(optimizer.param_groups, values.values(), strict=True):
                group[option] = value

    def _before(self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        self.write(optimizer)
        # A parameter without a gradient is left as it is by the optimiser, and its decay too.
        stepped = {name: parameter for name, parameter in parameters.items() if parameter.grad is not None}
        step = optimizer_step(optimizer, stepped)
        gradient = {name: _copy(parameter.grad) for name, parameter in stepped.items() if parameter.grad is not None}
        self.last = StepTaken(_with_own_state(step), {name: _copy(value) for name, value in stepped.items()}, gradient)

    def learned(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What a result keeps: the last value of each, and as ``schedule`` the first one with those after every epoch."""
        last = self.values()
        schedule = {
            name: [item.start, *(record["hyperparameters"][name] for record in history)]
            for name, item in self.ranges.items()
        }
        return {**last, "schedule": schedule}


def hypergradient(hyperparameters: Hyperparameters, taken: StepTaken, vector: Variables) -> dict[str, Tensor]:
    """``d L(theta'(eta)) / d eta`` through one optimiser step ``theta' = OP(theta, eta, g)`` (DHA, Eq. 3 and 4).

    `theta`, the gradient `g` and the optimiser's buffers do not depend on `eta`: the step is differentiated, nothing before
    it. For SGD, with `v` the updated buffer, it is ``dL/dlr = - <dL/dtheta', v>`` and
    ``dL/ddecay = - lr <dL/dtheta', theta>``.

    Args:
        hyperparameters: eta.
        taken: the step.
        vector: ``dL/dtheta'`` by the names of the weights; those that are left out count as zero.

    Returns:
        By the names of the parameters of `hyperparameters`, ``(groups,)`` each.
    """
    eta = {name: value.detach().requires_grad_() for name, value in hyperparameters.named_parameters()}
    values: dict[str, Tensor] = functional_call(hyperparameters, eta, ())
    outer = {f"{name}.{index}": value for name, each in values.items() for index, value in enumerate(each)}
    settings = {
        _OPTIONS[name]: {group: f"{name}.{index}" for index, group in enumerate(hyperparameters.groups)}
        for name in values
    }
    step = replace(taken.step, **settings)  # type: ignore[type-var]  # the inner steps of optimizer_step are dataclasses
    following, _ = step(taken.inner, taken.gradient, outer, step.start(taken.inner))
    reached = [name for name in following if name in vector and following[name].requires_grad]
    if not reached:
        return {name: torch.zeros_like(value) for name, value in eta.items()}
    grads = torch.autograd.grad(
        [following[name] for name in reached],
        list(eta.values()),
        [vector[name] for name in reached],
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(eta, grads, strict=True))


@dataclass(frozen=True, kw_only=True)
class LearnedHyperparameters:
    """Learn options of the weights' optimiser through one of its steps; meets `HyperparameterFactory` (DHA, Eq. 3 and 4).

    Zhou et al., "DHA: End-to-End Joint Optimization of Data Augmentation Policy, Hyper-parameter and Architecture", 2021.
    After each step of the weights, the loss at the new weights is differentiated through that step, with its gradient and its
    momentum held constant, and the values are moved and brought back into their ranges. They hold from the next step on
    and take the place of any schedule. A search keeps a copy of the weights, of their gradients and of the
    optimiser's buffers for it.

    Args:
        learning_rate: its range; None leaves it to the method.
        weight_decay: its range; None leaves it to the method.
        momentum: its range, below 1; None leaves it to the method.
        log: learn the logarithm, so that a step changes a value by a factor; the lower end of every range is above 0 then.
        groups: prefixes of the names of the supernet's parameters, such as ``("", "body.classifier")``, each with values of its
            own.
        examples: whose loss is differentiated: ``train``, the images of the next weight step, which are not augmented;
            ``valid``, the validation batch, or ``same``, the images of the step itself, not augmented.
        optimizer: of the values.
        start: the part of the run after which learning begins.

    Differs from the paper:
        1. Values are learned as logarithms by Adam; with ``log=False`` and the settings of ``methods.dha`` as there.
        2. Eq. 4 prints the batch of the step itself, Algorithm 1 validation images, and the released code a batch of a
           fiftieth of the train images. The default, the batch of the next step, is of the train images too, and of all of
           them; on the batch that was just trained on, too large a learning rate looks good.
        3. Where the search draws paths, the loss is that of a path of its own.

    Raises:
        ConfigError: nothing to learn, ranges that do not fit, or an unknown kind of examples.
    """

    learning_rate: Range | None = Range(0.025, 1e-4, 1.0)
    weight_decay: Range | None = Range(3e-4, 1e-6, 0.1)
    momentum: Range | None = None
    log: bool = True
    groups: tuple[str, ...] = ("",)
    examples: Literal["train", "valid", "same"] = "train"
    optimizer: OptimizerSettings = Adam(Constant(0.02), (0.9, 0.999), 0.0)
    start: float = 0.0

    def __post_init__(self) -> None:
        if not self.ranges:
            raise ConfigError(f"no hyper-parameter is learned; give a range to one of {', '.join(_OPTIONS)}.")
        for name, item in self.ranges.items():
            if (self.log or name == "learning_rate") and item.low == 0:
                raise ConfigError(
                    f"the range of {name} begins at 0; expected a number above 0, or log=False for a decay."
                )
        if self.momentum is not None and self.momentum.high >= 1:
            raise ConfigError(f"the range of momentum goes up to {self.momentum.high}; expected a number below 1.")
        if not 0 <= self.start <= 1:
            raise ConfigError(f"learning starts at {self.start}; expected a part of the run, from 0 to 1.")
        if self.examples not in ("train", "valid", "same"):
            raise ConfigError(f"examples is {self.examples!r}; expected train, valid or same.")
        if not self.groups or len(set(self.groups)) < len(self.groups):
            raise ConfigError(f"groups are {self.groups!r}; expected different prefixes, ('',) for one group.")

    @property
    def ranges(self) -> dict[str, Range]:
        """Those that are learned, by name."""
        ranges = {name: getattr(self, name) for name in _OPTIONS}
        return {name: item for name, item in ranges.items() if item is not None}

    def make(self, names: Sequence[str]) -> Hyperparameters:
        """See `HyperparameterFactory`."""
        return Hyperparameters(self.ranges, names, self.groups, self.log)

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: validation images are asked for, and there are none.
        """
        if self.examples == "valid" and not len(state.valid_examples.labels):
            raise ConfigError(f"hyper-parameters are to be learned on validation images, but {NO_VALIDATION}")

    def update(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Learn from the weight step that was just taken; nothing if none was, or before the start.

        Report ``hyperparameter_loss``, the loss that is differentiated.
        """
        hyperparameters, weights, optimizer = (
            state.hyperparameters,
            state.weight_optimizer,
            state.hyperparameter_optimizer,
        )
        assert hyperparameters is not None
        assert weights is not None
        assert optimizer is not None
        taken, hyperparameters.last = hyperparameters.last, None
        if taken is None or state.progress < self.start:
            return {}
        loss, vector = self._gradient(state, batch, taken)
        for name, grad in hypergradient(hyperparameters, taken, vector).items():
            hyperparameters.get_parameter(name).grad = grad
        apply_step(optimizer, self.optimizer, state.progress)
        hyperparameters.project()
        hyperparameters.write(weights)
        return {"hyperparameter_loss": loss}

    def _gradient(self, state: "SearchState", batch: "Batch", taken: StepTaken) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at the weights as they are now, and its gradient in those that were stepped."""
        probe = {"train": batch.ahead, "valid": lambda: batch, "same": batch.unaugmented}[self.examples]()
        inner = dict(state.require_supernet().named_parameters())
        outer = {name: value.detach() for name, value in state.outer_parameters().items()}
        loss = Objective(state, probe).valid_loss(inner, outer)
        names = list(taken.inner)
        grads = torch.autograd.grad(loss, [inner[name] for name in names], allow_unused=True)
        return loss.detach(), {name: grad for name, grad in zip(names, grads, strict=True) if grad is not None}


def with_learned(settings: SGD, hyperparameters: Mapping[str, Any], *, only: Iterable[str] = tuple(_OPTIONS)) -> SGD:
    """An optimiser that goes through the values that a search learned, stretched or shrunk to the length of its own run.

    Args:
        settings: what is not learned.
        hyperparameters: of a `SearchResult`.
        only: which of the learned ones are taken over.

    Raises:
        ConfigError: they are no record of a search.
    """
    try:
        schedule: dict[str, Any] = {
            name: Interpolated(tuple(values)) for name, values in hyperparameters["schedule"].items() if name in only
        }
        return replace(settings, **schedule)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"hyper-parameters {dict(hyperparameters)!r} are not those of a search, which have a `schedule` of "
            f"{', '.join(_OPTIONS)}, numbers one after the other."
        ) from error


def _members(names: Sequence[str], groups: Sequence[str]) -> list[list[str]]:
    """The names of each group."""
    members: dict[str, list[str]] = {group: [] for group in groups}
    for name in names:
        fitting = [group for group in groups if name.startswith(group)]
        if not fitting:
            raise ConfigError(
                f"parameter {name!r} of the supernet is in none of the groups {tuple(groups)}; add '' for the rest."
            )
        members[max(fitting, key=len)].append(name)
    empty = [group for group, inside in members.items() if not inside]
    if empty:
        raise ConfigError(
            f"no parameter of the supernet is in group {empty[0]!r}; they are named like {names[0]!r} and {names[-1]!r}."
        )
    return list(members.values())


def _with_own_state(step: InnerStep) -> InnerStep:
    """The same with copies of the optimiser's buffers, which the optimiser changes in place."""
    field = "buffers" if hasattr(step, "buffers") else "moments"
    return replace(step, **{field: {name: _copy(value) for name, value in getattr(step, field).items()}})  # type: ignore[type-var]


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone()
