"""Everything that changes during a search, and how it is saved and restored."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas_augment import AugmentationPolicy
from nas_hypergrad import Variables
from nas_search.batches import Batch, BatchStream
from nas_search.compatibility import check_parts, computation_of
from nas_search.computation import Computation, placed
from nas_search.data import Data, preparation
from nas_search.engines import Run
from nas_search.errors import ConfigError
from nas_search.method import Method
from nas_search.optimizers import SGD, OptimizerSettings
from nas_search.regularizers import entropy
from nas_search.roles import (
    ChoiceWeights,
    DataPolicyFactory,
    Regularizer,
    RegularizerFactory,
    Relaxation,
    RelaxationOfSpace,
)
from nas_search.run_state import RunState, check_positive
from nas_search.streams import stream_seed
from nas_spaces import Architecture, SearchSpace, Supernet

if TYPE_CHECKING:
    from nas_search.hyperparameters import Hyperparameters
    from nas_search.lazy_images import ImageFolders

__all__ = ["SearchState", "require_fit"]

_log = logging.getLogger(__name__)


class SearchState(RunState):
    """A search at one moment.

    Updates, samplers and selectors read and change it; `advance` is one step. All randomness of the steps comes from
    `generator`, on the host, so that the same architectures and augmentations are drawn on every device.

    Args:
        space: where architectures come from.
        data: labelled images or text; the test part is not touched.
        method: what a step does.
        epochs: of the whole search.
        batch_size: images of a train batch and of a validation batch.
        seed: of the initial weights, the split, the order of the images and every draw.
        device: where images and weights live.
        channels: width of the supernet's first cell.
        cells: depth, in the unit of the space; the space's own when None.
        computation: number format of the supernet's passes, and of the trainings of candidates.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: Data,
        method: Method,
        *,
        epochs: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        channels: int = 16,
        cells: int | None = None,
        computation: Computation = Computation("float32"),
    ) -> None:
        super().__init__(epochs=epochs, seed=seed, device=device, stop=method.stop, tokens=data.kind == "tokens")
        self.asked, self.computation = computation, computation_of(method, computation, device)
        check_positive(batch_size=batch_size, channels=channels, cells=1 if cells is None else cells)
        require_fit(space, data)
        _require_images(data, method)
        self.space, self.data, self.method = space, data, method
        self.batch_size, self.channels, self.cells = batch_size, channels, cells
        self.archive: list[tuple[str, float]] = []
        # What parts remember between steps, by a name of theirs: texts, numbers, lists and tensors, which are saved.
        self.memory: dict[str, Any] = {}
        # What scores candidates in the place of this process, and the number of the one that is being scored: see `scoring`.
        self.workers: Run | None = None
        self.candidate = 0
        self._split()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self._build()
        check_parts(self)

    def _split(self) -> None:
        self.train_examples, self.valid_examples = self.data.split(self.method.train_share, self.seed)
        seeds = stream_seed(self.seed, "train"), stream_seed(self.seed, "valid")
        self.train = BatchStream(self.train_examples, self.batch_size, seeds[0], self.device)
        self.valid = BatchStream(self.valid_examples, self.batch_size, seeds[1], self.device)
        for part, stream in (("train", self.train), ("validation", self.valid)):
            if 0 < stream.batch_size < self.batch_size:
                told = "a batch of %s is more than the %s examples of the %s part of the train data: it is all of them."
                _log.info(told, self.batch_size, stream.batch_size, part)

    def _build(self) -> None:
        """Make all modules, on the host first, so that they start equal on every device."""
        method = self.method
        self.normalize = preparation(self.data.train.images).to(self.device)
        self.customary_policy = self.data.augmentation()
        self.policy = self._make_policy()
        self.relaxation = self._relaxation()
        self.supernet: Supernet | None = None
        self.weight_optimizer: torch.optim.Optimizer | None = None
        self._passes = 0  # of the supernet, in this step
        if method.weights is not None:
            # Channels last is what convolutions like best, on a CPU (1.2 to 1.9 times as fast: benchmarks/RESULTS.md).
            self.supernet = placed(self.make_supernet(), self.device)
            self.weight_optimizer = method.weights.build(self.supernet.parameters())
            self.supernet.register_forward_pre_hook(self._count_pass)
        self._build_hyperparameters()
        outer = self.outer_parameters()
        self.outer_optimizer = method.outer.build(outer.values()) if outer else None
        learned = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        own = method.policy_optimizer
        self.policy_optimizer = own.build(learned) if own is not None and learned else None

    @property
    def sizes(self) -> dict[str, Any]:
        """Of the supernet and of its networks: ``classes``, ``channels``, ``cells``, ``in_channels``."""
        data = self.data
        return {
            "classes": data.classes,
            "channels": self.channels,
            "cells": self.cells,
            "in_channels": data.in_channels,
        }

    def make_supernet(self) -> Supernet:
        """A supernet with new weights, on the host."""
        return self.method.supernet(self.space, **self.sizes)

    def _make_policy(self) -> AugmentationPolicy:
        factory = self.method.policy
        if factory is None:
            return self.customary_policy
        return factory.on(self.data) if isinstance(factory, DataPolicyFactory) else factory()

    def _relaxation(self) -> Relaxation | None:
        make = self.method.relaxation
        if isinstance(make, RelaxationOfSpace):
            return make.of(self.space)
        return None if make is None else make(self.space.choices)

    def regularizers(self) -> list[Regularizer]:
        """The method's terms of the outer loss at this step; asking again draws again what is random in them."""
        terms = self.method.regularizers
        return [each.at(self) if isinstance(each, RegularizerFactory) else each for each in terms]

    def _build_hyperparameters(self) -> None:
        # That of the last step of the weights, which an update on fresh batches takes from within the step's.
        self.weight_batch: Batch | None = None
        self.hyperparameters: Hyperparameters | None = None
        self.hyperparameter_optimizer: torch.optim.Optimizer | None = None
        factory = self.method.hyperparameters
        if factory is None or self.weight_optimizer is None:
            return
        parameters = dict(self.require_supernet().named_parameters())
        self.hyperparameters = factory.make(list(parameters))
        self.hyperparameters.attach(self.weight_optimizer, parameters)
        self.hyperparameter_optimizer = factory.optimizer.build(self.hyperparameters.parameters())

    def outer_parameters(self) -> dict[str, nn.Parameter]:
        """What the outer loss is minimised over: ``relaxation.*``, and ``policy.*`` where the policy has no own optimiser."""
        policy = self.policy if self.method.policy_optimizer is None else None
        modules = {"relaxation": self.relaxation, "policy": policy}
        return {
            f"{prefix}.{name}": parameter
            for prefix, module in modules.items()
            if module is not None
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @property
    def name(self) -> str:
        """``search``."""
        return "search"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.train) if self.method.steps is None else self.method.steps

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the supernet's weights at this moment; of several groups the mean."""
        if self.hyperparameters is not None and "learning_rate" in self.hyperparameters.ranges:
            return self.hyperparameters.values()["learning_rate"]
        return None if self.method.weights is None else self.method.weights.learning_rate(self.progress)

    def weight_options(self) -> dict[str, Any]:
        """What the weights' optimiser is set to in its next step, by torch's names.

        What differs between parameters, or may, is given by prefixes of their names.
        """
        settings, options = self.method.weights, dict[str, Any]()
        if settings is not None:
            options["lr"] = {"": settings.learning_rate(self.progress)}
        if isinstance(settings, SGD):
            options |= settings.options(self.progress)
        return options if self.hyperparameters is None else options | self.hyperparameters.options()

    @property
    def remedy(self) -> str:
        """A smaller learning rate."""
        return "Start a new run with a smaller learning rate (--set learning_rate=...)."

    def modules(self) -> dict[str, nn.Module]:
        """Supernet, relaxation, policy and hyper-parameters, those that there are."""
        modules = {
            "supernet": self.supernet,
            "relaxation": self.relaxation,
            "policy": self.policy,
            "hyperparameters": self.hyperparameters,
        }
        return {name: module for name, module in modules.items() if module is not None}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers of the weights, the outer variables, the policy and the hyper-parameters, those that there are."""
        optimizers = {
            "weights": self.weight_optimizer,
            "outer": self.outer_optimizer,
            "policy": self.policy_optimizer,
            "hyperparameters": self.hyperparameter_optimizer,
        }
        return {name: optimizer for name, optimizer in optimizers.items() if optimizer is not None}

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """For drawing to see what comes: random numbers and memory are put back as they were."""
        before, memory = self.generator.get_state(), copy.deepcopy(self.memory)
        try:
            yield
        finally:
            self.generator.set_state(before)
            self.memory = memory

    def require_policy_learning(self) -> tuple[torch.optim.Optimizer, OptimizerSettings, float]:
        """The policy's own optimiser with its settings, and the learning rate of the weights, of a state that was checked."""
        settings, rate = self.method.policy_optimizer, self.learning_rate
        assert self.policy_optimizer is not None
        assert settings is not None
        assert rate is not None
        return self.policy_optimizer, settings, rate

    def require_supernet(self) -> Supernet:
        """The supernet.

        Raises:
            ConfigError: the method has none.
        """
        if self.supernet is None:
            raise ConfigError(f"method {self.method.name!r} has a part that needs a supernet, but it trains none.")
        return self.supernet

    def logits(self, images: Tensor, choice: ChoiceWeights, inner: Variables | None = None) -> Tensor:
        """What the supernet says while it is trained, computed in the number format of the search.

        Args:
            images: ready for the supernet, ``(batch, channels, height, width)``, or tokens ``(batch, time)``.
            choice: what is evaluated.
            inner: weights in place of the supernet's own.

        Returns:
            Logits ``(batch, classes)``, or ``(batch, classes, time)``, float32 whatever they are computed in.

        Raises:
            ConfigError: the choice is something else, as a sampler of somebody's own may give.
        """
        supernet = self.require_supernet()
        if not isinstance(choice, ChoiceWeights):
            raise ConfigError(
                f"the supernet is to evaluate a {type(choice).__name__}; expected ChoiceWeights(weights, drawn), which the "
                f"sampler ({type(self.method.sampler).__name__}) or the relaxation of method {self.method.name!r} has to give."
            )
        with self.computation.autocast(self.device):
            if inner is None:
                logits: Tensor = supernet(images, *choice)
            else:
                logits = functional_call(supernet, dict(inner), (images, *choice))
        return logits.float() if logits.dtype == torch.bfloat16 else logits

    def advance(self) -> Mapping[str, Tensor]:
        """Run the method's updates once; the figures that they report."""
        batch = Batch(self.train, self.valid, self.position)
        self.weight_batch = None
        figures: dict[str, Tensor] = {}
        self._passes = 0
        for update in self.method.sequence:
            found = update(self, batch)
            if not isinstance(found, Mapping):
                raise ConfigError(
                    f"update {type(update).__name__} of method {self.method.name!r} returned {found!r:.60}; expected its figures, "
                    "a dictionary from names to tensors, which may be empty."
                )
            figures.update(found)
        if self._passes:
            # Filled on the device: a copy from the host would make it wait.
            figures["forward_passes"] = torch.full((), float(self._passes), device=self.device)
        return figures

    def _count_pass(self, *_: object) -> None:
        self._passes += 1

    def finish_epoch(self) -> dict[str, Any]:
        """What the history holds of this epoch besides the means of the steps' figures."""
        record: dict[str, Any] = {}
        if self.learning_rate is not None:
            record["learning_rate"] = self.learning_rate
        if self.hyperparameters is not None:
            record["hyperparameters"] = self.hyperparameters.values()
        if self.relaxation is not None:
            probabilities = self.relaxation.probabilities()
            architecture = self.space.discretize(probabilities)
            record["architecture"] = str(architecture)
            record["entropy"] = float(entropy(probabilities / probabilities.sum(dim=1, keepdim=True).clamp_min(1e-12)))
            record["uniform_entropy"] = float(entropy(_uniform(self.space.choices.mask)))
            record["skip_share"] = self.skip_share(architecture)
        return record

    def skip_share(self, architecture: Architecture) -> float:
        """The share of skip connections among the operations taken: the sign of the collapse of DARTS."""
        taken = sum(len(options) for options in architecture.options)
        return self.space.choices.skip_connections(architecture.options) / max(1, taken)

    def state_dict(self) -> dict[str, Any]:
        """See `RunState.state_dict`; with the architectures that were scored and what parts remember."""
        return {**super().state_dict(), "archive": self.archive, "memory": self.memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `RunState.load_state_dict`."""
        super().load_state_dict(state)
        self.archive = [(text, score) for text, score in state["archive"]]
        self.memory = dict(state["memory"])


def require_fit(space: SearchSpace, data: "Data | ImageFolders") -> None:
    """Refuse a space that reads other data.

    Raises:
        ConfigError: naming both.
    """
    if space.reads != data.kind:
        remedy = {
            "tokens": "give it text (--data wikitext:DIR, ptb:DIR or fake-text)",
            "images": "give it images, or search in a space of recurrent cells (--space darts_rnn)",
        }[space.reads]
        raise ConfigError(f"space {space.name} reads {space.reads}, but {data.name} is made of {data.kind}; {remedy}.")


def _require_images(data: Data, method: Method) -> None:
    if data.kind == "tokens" and method.policy is not None:
        raise ConfigError(
            f"method {method.name!r} learns an augmentation of images, and {data.name} is made of tokens, for which there "
            f"is none; choose a method without a policy, such as gdas."
        )


def _uniform(mask: Tensor) -> Tensor:
    """Weights that prefer no option, ``(choices, options)``."""
    return mask / mask.sum(dim=1, keepdim=True)
