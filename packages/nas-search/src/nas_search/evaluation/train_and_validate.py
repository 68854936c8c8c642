"""Score an architecture by training its network from scratch for a short while."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nas_search.errors import NonFiniteError
from nas_search.evaluation.accuracy import require_validation, top1
from nas_search.loop import drive
from nas_search.mixed_space import training_settings, with_magnitude
from nas_search.optimizers import SGD, OptimizerSettings
from nas_search.run_state import check_positive
from nas_search.schedules import Cosine
from nas_search.streams import stream_seed
from nas_search.training import TrainState
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["TrainAndValidate"]


@dataclass(frozen=True)
class TrainAndValidate:
    """Validation accuracy after training on the training part; every architecture starts from a seed of its own.

    In a `MixedSpace` the architecture's own settings take the place of those of the optimiser and of the augmentation.

    Args:
        epochs: of training.
        optimizer: of the weights.
    """

    epochs: int = 1
    optimizer: OptimizerSettings = SGD(Cosine(0.05))

    def __post_init__(self) -> None:
        check_positive(candidate_epochs=self.epochs)

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there are no validation images.
        """
        require_validation(state)

    def __call__(self, architecture: Architecture, state: "SearchState") -> float:
        """See `Evaluator`."""
        settings = training_settings(state.space, architecture)
        training = TrainState(
            lambda: state.space.network(
                architecture,
                classes=state.data.classes,
                channels=state.channels,
                cells=state.cells,
                in_channels=state.data.in_channels,
            ),
            state.train_examples,
            policy=with_magnitude(state.policy.decide(), settings),
            optimizer=_optimizer(self.optimizer, settings),
            epochs=self.epochs,
            batch_size=state.batch_size,
            seed=stream_seed(state.seed, "candidate", state.candidate),
            device=state.device,
            computation=state.computation,
        )
        try:
            drive(training)
        except NonFiniteError:
            return 0.0  # a candidate that diverges is a bad one, and no reason to stop the search
        state.images += len(state.train_examples.labels) * self.epochs
        training.network.eval()
        return top1(training.network, state.valid_examples, state.device)


def _optimizer(optimizer: OptimizerSettings, settings: dict[str, float]) -> OptimizerSettings:
    changes: dict[str, Any] = {}
    if "learning_rate" in settings:
        changes["learning_rate"] = Cosine(settings["learning_rate"])
    if "weight_decay" in settings:
        changes["weight_decay"] = settings["weight_decay"]
    return replace(optimizer, **changes) if changes else optimizer  # type: ignore[type-var]
