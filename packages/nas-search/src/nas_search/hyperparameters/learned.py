"""The part of a method that learns hyper-parameters, and what a training does with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from nas_search.data import NO_VALIDATION
from nas_search.errors import ConfigError
from nas_search.hyperparameters.gradient import hypergradient
from nas_search.hyperparameters.values import OPTIONS, Hyperparameters, Range, StepTaken
from nas_search.objective import Objective
from nas_search.optimizers import SGD, Adam, OptimizerSettings, apply_step
from nas_search.schedules import Constant, Interpolated

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["LearnedHyperparameters", "with_learned"]


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
        3. Where the search draws paths, the loss is that of the path that its sampler draws next.
        4. Where a step of the search is several of the weights, as in `idarts`, the last one is learned from; the next train
           batch is then that of the hypergradient.

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
            raise ConfigError(f"no hyper-parameter is learned; give a range to one of {', '.join(OPTIONS)}.")
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
        ranges = {name: getattr(self, name) for name in OPTIONS}
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
        stepped = state.weight_batch or batch
        probe = {"train": stepped.ahead, "valid": lambda: batch, "same": stepped.unaugmented}[self.examples]()
        inner = dict(state.require_supernet().named_parameters())
        outer = {name: value.detach() for name, value in state.outer_parameters().items()}
        with (
            torch.no_grad(),
            state.unchanged(),
        ):  # a sampler may learn from what it draws, and this is no step of the weights
            choice = state.method.sampler(state)
        loss = Objective(state, probe, choice).valid_loss(inner, outer)
        names = list(taken.inner)
        grads = torch.autograd.grad(loss, [inner[name] for name in names], allow_unused=True)
        return loss.detach(), {name: grad for name, grad in zip(names, grads, strict=True) if grad is not None}


def with_learned(settings: SGD, hyperparameters: Mapping[str, Any], *, only: Iterable[str] = tuple(OPTIONS)) -> SGD:
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
            f"{', '.join(OPTIONS)}, numbers one after the other."
        ) from error
