"""Training one network from scratch: what evaluates a found architecture, or a candidate of a black-box search."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_augment.fixed import FixedPolicy
from nas_search.data import BatchStream, Examples, preparation, stream_seed
from nas_search.distributed import sample_part
from nas_search.errors import ConfigError
from nas_search.objective import accuracy, cross_entropy
from nas_search.optimizers import OptimizerSettings, apply_step
from nas_search.run_state import RunState, check_positive

__all__ = ["TrainState"]


class TrainState(RunState):
    """A training at one moment.

    `network` takes images as they are in the data: it normalises them itself, so it can be shipped alone.

    Args:
        make_network: builds the network; called under the seed, so that equal seeds start equal.
        examples: images, or tokens, and labels to train on.
        policy: the augmentation; without stages for tokens.
        optimizer: of the weights.
        epochs: of the whole training.
        batch_size: images of a batch.
        seed: of the initial weights, the order of the images and every draw.
        device: where images and weights live.
        label_smoothing: share of each target that is spread evenly over all classes.
        auxiliary: weight of the loss of a network's second logits; such a network returns a pair while training.
        drop_path: what `network.drop_path` is told at the beginning of epoch e of E: ``drop_path * e / E``; 0 to tell nothing.

    Raises:
        ConfigError: tokens with a policy, or a network that has no `drop_path` to tell.
    """

    def __init__(
        self,
        make_network: Callable[[], nn.Module],
        examples: Examples,
        *,
        policy: Policy,
        optimizer: OptimizerSettings,
        epochs: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        label_smoothing: float = 0.0,
        auxiliary: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        tokens = examples.images.dtype == torch.int64
        super().__init__(epochs=epochs, seed=seed, device=device, tokens=tokens)
        check_positive(batch_size=batch_size)
        if tokens and policy.stages:
            raise ConfigError(f"tokens cannot be augmented by {policy}; train them without a policy.")
        self.policy, self.settings = policy, optimizer
        self.label_smoothing, self.auxiliary, self.drop_path = label_smoothing, auxiliary, drop_path
        self.batches = BatchStream(examples, batch_size, stream_seed(seed, "train"), device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = make_network()
            network = nn.Sequential(preparation(examples.images), made)
        self._set_drop_path = getattr(made, "drop_path", None)
        if drop_path and not callable(self._set_drop_path):
            raise ConfigError(
                f"drop_path is {drop_path}, and {type(made).__name__} has no method drop_path(probability); set it to 0 "
                f"(--set drop_path=0), or give the network one."
            )
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = optimizer.build(self.network.parameters())

    @property
    def name(self) -> str:
        """``train``."""
        return "train"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.batches)

    @property
    def learning_rate(self) -> float:
        """The learning rate at this moment."""
        return self.settings.learning_rate(self.progress)

    @property
    def remedy(self) -> str:
        """A smaller learning rate."""
        return "Start again with a smaller learning rate (--set train_learning_rate=...)."

    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"network": self.network}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimiser of its weights."""
        return {"weights": self.optimizer}

    def advance(self) -> Mapping[str, Tensor]:
        """One optimiser step; reports ``train_loss``, ``train_accuracy`` and ``gradient_norm``."""
        self.network.train()
        images, labels = self.batches[self.position]
        if self.policy.stages:
            policy = FixedPolicy(self.policy.stages)
            images = policy.apply(images, sample_part(policy, len(images), self.generator))
        self._tell_drop_path()  # at every step, so that a resumed training needs no more than its position
        logits, loss = self._loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()
        norm = apply_step(self.optimizer, self.settings, self.progress)
        self.images += self.batches.batch_size
        return {"train_loss": loss.detach(), "train_accuracy": accuracy(logits, labels), "gradient_norm": norm}

    def _tell_drop_path(self) -> None:
        if self.drop_path:
            assert self._set_drop_path is not None
            self._set_drop_path(self.drop_path * self.epoch / self.epochs)

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(images)
        if isinstance(output, tuple):
            logits, side = output
            smoothing = self.label_smoothing
            loss = cross_entropy(logits, labels, smoothing=smoothing)
            return logits, loss + self.auxiliary * cross_entropy(side, labels, smoothing=smoothing)
        return output, cross_entropy(output, labels, smoothing=self.label_smoothing)

    def finish_epoch(self) -> dict[str, Any]:
        """The learning rate; the test images are not touched before the end."""
        return {"learning_rate": self.learning_rate}
