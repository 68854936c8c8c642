"""A policy for a given network."""

from typing import Literal, get_args

from nas_search.control_variate import ControlVariateStep, WithControlVariate
from nas_search.critic import CriticWeightStep, DensityStep, WithCritic
from nas_search.errors import ConfigError, did_you_mean
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.policies import LearnedOnTop
from nas_search.policy_gradient import PolicyStep
from nas_search.relaxed_policy import RelaxedStep
from nas_search.roles import SupernetFactory, Update
from nas_search.samplers import Fixed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Given
from nas_search.supernets import WholeChannels
from nas_search.updates import After, Until, WeightStep

__all__ = ["augment_only"]

Estimator = Literal["daas", "dada", "faster_aa"]


def augment_only(
    policy: Estimator = "daas",
    *,
    network: str = "",
    policies: int = 2,
    warmup: float = 0.0,
    baseline: bool = True,
    control_variate: bool = True,
    operations: str = "fast_aa",
    share: Literal["position", "operation", "pair"] = "pair",
    per: Literal["image", "batch"] = "batch",
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    policy_learning_rate: float = 5e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """An augmentation policy for one network, without a search of the architecture (DAAS, Table 5).

    For a network of your own, search in ``nas_spaces.single(make)``, a space that has no other; `network` chooses
    one in any other space. How the policy is learned:

    * ``daas``: by the policy gradient through one step of the weights, see `PolicyStep`;
    * ``dada``: through the same step, over sets of two different operations, by RELAX with a control variate that is learned
      too, see `ControlVariateStep`, or without it by relaxed draws, see `RelaxedStep`;
    * ``faster_aa``: by relaxed draws against a critic that tells augmented images from others, see `DensityStep`.

    Args:
        policy: how it is learned, see above.
        network: its text in the space that is searched; may be left empty in a space of one.
        policies: n_aug of Eq. 13; of ``daas`` alone, as `baseline`.
        warmup: the part of the search in which no policy is used or learned.
        baseline: subtract the other policies' rewards from each (leave one out); the paper has no baseline.
        control_variate: of ``dada`` alone, see above; without it the gradient is biased.
        operations: the space of the policy, a preset of nas-augment; 15 operations in the paper.
        share: what has a probability and levels of its own; a pair in the paper.
        per: one policy for each ``batch``, as in the paper, or for each ``image``.
        learning_rate: of the weights at the beginning, and xi; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        policy_learning_rate: of Adam on the policy's parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the papers:
        1. `baseline`, see there; and what the steps say of themselves.
        2. DADA and Faster AutoAugment learn with a network of their own, Wide-ResNet-40-2, on 4,000 images; here it is the one
           that is asked for, on the images that there are.
        3. All pairs, or sets, are kept with their probabilities, as in DAAS; DADA keeps the 25 most probable.

    Raises:
        ConfigError: an unknown `policy`; a warm-up that leaves nothing for the policy; a setting does not fit.
    """
    if policy not in get_args(Estimator):
        raise ConfigError(
            f"policy of augment_only is {policy!r}; expected one of {', '.join(get_args(Estimator))}; "
            f"{did_you_mean(policy, get_args(Estimator))}"
        )
    if policy != "daas" and (policies, baseline) != (2, True):
        raise ConfigError(f"policies and baseline are settings of policy='daas'; leave them out with {policy!r}.")
    if policy != "dada" and not control_variate:
        raise ConfigError(f"control_variate is a setting of policy='dada'; leave it out with {policy!r}.")
    if not 0 <= warmup < 1:
        raise ConfigError(
            f"warmup is {warmup}; expected a part of the run from 0 to below 1, after which the policy is learned."
        )
    steps: dict[Estimator, tuple[Update, Update, SupernetFactory]] = {
        "daas": (PolicyStep(1, policies, baseline), WeightStep(), WholeChannels()),
        "dada": (ControlVariateStep() if control_variate else RelaxedStep(), WeightStep(), WholeChannels()),
        "faster_aa": (DensityStep(), CriticWeightStep(), WithCritic()),
    }
    learn, weights, supernet = steps[policy]
    fixed = Fixed(network)
    learnable = WithControlVariate if policy == "dada" and control_variate else LearnedOnTop
    return Method(
        name="augment_only",
        updates=(
            After(warmup, learn),
            Until(warmup, WeightStep(customary=True)),
            After(warmup, weights),
        ),
        supernet=supernet,
        sampler=fixed,
        selector=Given(fixed),
        policy=learnable(operations, share=share, per=per, choice="unordered" if policy == "dada" else "slots"),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        policy_optimizer=Adam(Constant(policy_learning_rate), weight_decay=0.0),
    )
