"""ENAS."""

from functools import partial

from nas_search.errors import ConfigError, did_you_mean
from nas_search.evaluation import SupernetAccuracy
from nas_search.method import Method
from nas_search.objective import accuracy
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Autoregressive
from nas_search.samplers import DrawnArchitecture
from nas_search.schedules import Constant, Cosine
from nas_search.score_function import ScoreFunctionStep, negative_loss
from nas_search.selection import BestSampled
from nas_search.updates import WeightStep

__all__ = ["enas"]


def enas(
    *,
    samples: int = 100,
    validation_images: int = 512,
    controller_samples: int = 5,
    architecture_learning_rate: float = 1e-3,
    hidden: int = 32,
    reward: str = "accuracy",
    entropy: float = 1e-4,
    baseline_decay: float = 0.99,
    learning_rate: float = 0.05,
    weight_decay: float = 2.5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Efficient neural architecture search: an LSTM draws paths, and learns from their accuracy (Pham et al., ICML 2018).

    A step of the weights on a path a of the controller, then one of the controller by REINFORCE on the validation batch,
    along ``E_a[(R(a) - b) d log p(a)] + entropy dH(p)`` with the reward R and the moving average b of those before. At
    the end the best of the controller's draws by the shared weights is taken. The defaults are those of NAS-Bench-201's
    searches.

    Args:
        samples: architectures that are drawn and scored at the end.
        validation_images: images that each of them is scored on.
        controller_samples: paths of a controller's step.
        architecture_learning_rate: of Adam on the controller.
        hidden: units of the controller's LSTM.
        reward: ``accuracy``, or ``loss`` for minus the validation loss.
        entropy: weight of the controller's entropy in its objective.
        baseline_decay: of the moving average of the rewards.
        learning_rate: of the weights at the beginning; cosine to a hundredth of it.
        weight_decay: of the weights.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. A controller's step follows every weight step, where the paper takes turns of an epoch; five paths a step are as
           many rewards an epoch as in NAS-Bench-201's runs (50 steps of 20 paths for 196 weight steps).
        2. The baseline of a step is made of the rewards before it, so that the gradient is without bias; the released
           code's has those of the step itself.
        3. The learning rate of the weights falls once, by a cosine; the code restarts it every ten epochs.
    """
    rewards = {"accuracy": accuracy, "loss": negative_loss}
    if reward not in rewards:
        near = did_you_mean(reward, ("accuracy", "loss"))
        raise ConfigError(f"reward of enas is {reward!r}; expected 'accuracy' or 'loss'; {near}")
    return Method(
        name="enas",
        updates=(WeightStep(), ScoreFunctionStep(controller_samples, rewards[reward], baseline_decay, entropy)),
        relaxation=partial(Autoregressive, hidden=hidden),
        sampler=DrawnArchitecture(),
        selector=BestSampled(samples, SupernetAccuracy(validation_images), DrawnArchitecture()),
        weights=SGD(Cosine(learning_rate, learning_rate / 100), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), betas=(0.0, 0.999), weight_decay=0.0, epsilon=1e-3),
    )
