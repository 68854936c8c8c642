"""Training one network from scratch: what evaluates a found architecture, or a candidate of a black-box search."""

import copy
from collections.abc import Callable, Mapping
from operator import index
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_augment.fixed import FixedPolicy
from nas_search.averaging import Averaging, blend
from nas_search.batches import Batches, BatchStream
from nas_search.computation import Computation, placed
from nas_search.data import Examples, preparation
from nas_search.distributed import mean, sample_part
from nas_search.errors import ConfigError
from nas_search.objective import accuracy, cross_entropy
from nas_search.optimizers import OptimizerSettings, apply_step
from nas_search.run_state import RunState, check_positive
from nas_search.streams import stream_seed

__all__ = ["Judge", "TrainState"]

Judge = Callable[[nn.Module], Mapping[str, float]]
"""Figures of a network, on images that it was not trained on."""


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
        averaging: of the weights; what is validated, tested and kept is the average then, as soon as it has begun.
        validate: called after every epoch, and never with test images: its ``valid_accuracy`` of images, or its ``valid_loss``
            of text, says which epoch was the best.
        test: called after every `test_every` epochs, for the history alone: nothing is chosen by it.
        test_every: 0 for never.
        computation: number format, and whether the network is compiled.
        batches: what is trained on in the place of batches of `examples`, which only tell how to normalise then.
        name: what observers and messages call it.

    Raises:
        ConfigError: tokens with a policy, a network that has no `drop_path` to tell, a compiled network with a drop path, or
            an averaging that waits for a validation that is not given.
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
        averaging: Averaging | None = None,
        validate: Judge | None = None,
        test: Judge | None = None,
        test_every: int = 0,
        computation: Computation = Computation("float32"),
        batches: Batches | None = None,
        name: str = "train",
    ) -> None:
        tokens = examples.images.dtype == torch.int64
        super().__init__(epochs=epochs, seed=seed, device=device, tokens=tokens)
        check_positive(batch_size=batch_size)
        if tokens and policy.stages:
            raise ConfigError(f"tokens cannot be augmented by {policy}; train them without a policy.")
        self._name, self.policy, self.settings = name, policy, optimizer
        self.label_smoothing, self.auxiliary, self.drop_path = label_smoothing, auxiliary, drop_path
        self.batches: Batches = batches or BatchStream(examples, batch_size, stream_seed(seed, "train"), device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            made = make_network()
            network = nn.Sequential(preparation(examples.images), made)
        self._set_drop_path = getattr(made, "drop_path", None)
        if drop_path and not callable(self._set_drop_path):
            raise ConfigError(
                f"drop_path is {drop_path}, and {type(made).__name__} has no method drop_path(probability); set it to 0 "
                f"(--set drop_path=0), or give the network one."
            )
        self.network: nn.Module = placed(network, device)
        self.optimizer = optimizer.build(self.network.parameters())
        self.computation = computation
        self._compute: Callable[[Tensor], Any] = self.network
        if computation.compile:
            if drop_path:
                raise ConfigError(
                    f"drop_path is {drop_path}, and grows with every epoch, after each of which the network would be compiled "
                    f"anew; leave out --compile, or the drop path (--set drop_path=0)."
                )
            self._compute = torch.compile(self.network)
        self.averaging = averaging
        if averaging is not None and validate is None and averaging.begin(()) is None:
            raise ConfigError(
                f"{averaging} begins when the validation loss stops to fall, and there is no validation part; keep one with "
                f"--valid-share 0.1."
            )
        self.average = None if averaging is None else copy.deepcopy(self.network)
        self.validate, self.test, self.test_every = validate, test, test_every
        self.best: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """What observers and messages call the training."""
        return self._name

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
        smaller = "train --restart --learning-rate ..., or search --set train_learning_rate=..."
        return f"Start again with a smaller learning rate: {smaller}"

    def modules(self) -> dict[str, nn.Module]:
        """The network, and the average of its weights."""
        return {"network": self.network} | ({} if self.average is None else {"average": self.average})

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
        with self.computation.autocast(self.device):
            logits, loss = self._loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()
        norm = apply_step(self.optimizer, self.settings, self.progress)
        averaged = self._averaged(self.position)
        if self.averaging is not None and self.average is not None and averaged is not None:
            blend(self.average, self.network, self.averaging.share(averaged))
        self.images += self.batches.batch_size
        return {"train_loss": loss.detach(), "train_accuracy": accuracy(logits, labels), "gradient_norm": norm}

    def _tell_drop_path(self) -> None:
        if self.drop_path:
            assert self._set_drop_path is not None
            self._set_drop_path(self.drop_path * self.epoch / self.epochs)

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        output = self._compute(images)
        if isinstance(output, tuple):
            logits, side = output
            smoothing = self.label_smoothing
            loss = cross_entropy(logits, labels, smoothing=smoothing)
            return logits, loss + self.auxiliary * cross_entropy(side, labels, smoothing=smoothing)
        return output, cross_entropy(output, labels, smoothing=self.label_smoothing)

    def _averaged(self, position: int) -> int | None:
        """How many steps of those before `position` are in the average; None where it has not begun."""
        if self.averaging is None:
            return None
        losses = [record["valid_loss"] for record in self.history if "valid_loss" in record]
        begin = self.averaging.begin(losses)
        return None if begin is None else position - begin * self.steps

    @property
    def evaluated(self) -> nn.Module:
        """What is validated and tested: the average if it has begun, else the network."""
        averaged = self._averaged(self.position)
        return self.average if self.average is not None and averaged else self.network

    def finish_epoch(self) -> dict[str, Any]:
        """The learning rate and the figures of the validation; the test images are not touched unless `test_every` asks to."""
        record: dict[str, Any] = {"learning_rate": self.learning_rate}
        if self.validate is not None:
            figures = self._judged(self.validate)
            record |= figures
            # Of a text the loss says more than the share of words that were guessed.
            score = -figures["valid_loss"] if self.tokens else figures["valid_accuracy"]
            if self.best is None or score > self.best["score"]:
                weights = {name: value.detach().cpu().clone() for name, value in self.evaluated.state_dict().items()}
                self.best = {"epoch": self.epoch + 1, "score": score, "weights": weights}
        if self.test is not None and self.test_every and (self.epoch + 1) % self.test_every == 0:
            record |= self._judged(self.test)
        return record

    def _judged(self, judge: Judge) -> dict[str, float]:
        # Ranks agree on what was the best: their devices may differ in the last digits.
        found = judge(self.evaluated.eval())
        values = mean(torch.tensor(list(found.values()), dtype=torch.float64, device=self.device)).tolist()
        return dict(zip(found, values, strict=True))

    def trained(self, which: Literal["best", "last"]) -> nn.Module:
        """The network with the weights of one epoch, averaged if they are, in evaluation mode.

        Args:
            which: ``best`` for those that validated best, the first of equals; ``last`` for those of the last epoch.

        Raises:
            ConfigError: the best ones, and nothing validated.
        """
        network = copy.deepcopy(self.evaluated)
        if which == "best":
            if self.best is None:
                raise ConfigError(
                    "there are no best weights without a validation part; keep one with --valid-share 0.1, or take the last."
                )
            network.load_state_dict(self.best["weights"])
        return network.eval()

    def state_dict(self) -> dict[str, Any]:
        """See `RunState.state_dict`; with the best weights so far."""
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `RunState.load_state_dict`."""
        super().load_state_dict(state)
        best = state.get("best")
        if best is not None:
            copy.deepcopy(self.network).load_state_dict(best["weights"])  # refuses what does not fit
            best = {"epoch": index(best["epoch"]), "score": float(best["score"]), "weights": dict(best["weights"])}
        self.best = best
