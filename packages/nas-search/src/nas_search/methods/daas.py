"""DAAS."""

from dataclasses import replace
from functools import partial
from typing import Literal

from nas_search.errors import ConfigError
from nas_search.evaluation import SupernetAccuracy
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.policies import LearnedOnTop
from nas_search.policy_gradient import PolicyStep
from nas_search.relaxations import HardGumbel
from nas_search.roles import Sampler, Update
from nas_search.run_state import check_positive
from nas_search.samplers import Categorical, Relaxed, Settled
from nas_search.schedules import Constant, Cosine, Linear
from nas_search.selection import BestSampled, Derive
from nas_search.updates import After, OuterStep, Until, WeightStep

__all__ = ["daas"]


def daas(
    architectures: int = 5,
    policies: int = 2,
    weight_architectures: int = 10,
    *,
    warmup: float = 0.4,
    independent: bool = False,
    baseline: bool = True,
    average: bool = True,
    operations: str = "fast_aa",
    share: Literal["position", "operation", "pair"] = "pair",
    per: Literal["image", "batch"] = "batch",
    temperature: float = 10.0,
    final_temperature: float = 0.1,
    all_options: bool = False,
    samples: int = 0,
    validation_images: int = 512,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    policy_learning_rate: float = 5e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Differentiable architecture and augmentation policy search, jointly (DAAS, seed paper 000).

    Paths are drawn by Gumbel, one operation a row, and two inputs a node where the space has rows of inputs. A step updates,
    each at the point that the update before it left (Algorithm 1):

    * the policy by its policy gradient through one step of the weights, ``- xi <h, g> d log p`` with the gradients g of the
      loss of the augmented images and h of the validation loss after the step, in the mean over `architectures` paths (Eq. 10
      to 13), after the warm-up;
    * the architecture by the mean of the straight-through gradients of as many paths (Eq. 9);
    * the weights by the gradient accumulated over `weight_architectures` other paths on one augmented batch (Eq. 14).

    The result has the architecture of the largest logits, and all pairs of operations with their probabilities (4.3). The
    learned operations come before what is customary for the data, which alone is used in the warm-up.

    Args:
        architectures: n_arch of Eq. 9 and 13.
        policies: n_aug of Eq. 13, for each architecture.
        weight_architectures: n_w of Eq. 14.
        warmup: the part of the search in which no policy is used or learned; 20 of 50 epochs in the paper.
        independent: search the architecture in the warm-up alone, and then a policy for it with the weights that there are
            (Table 6, with ``warmup=0.5``), instead of both at once.
        baseline: subtract the other policies' rewards from each (leave one out); the paper has no baseline.
        average: divide the accumulated gradient of the weights by `weight_architectures`; the paper has the sum.
        operations: the space of the policy, a preset of nas-augment; 15 operations in the paper.
        share: what has a probability and levels of its own; a pair in the paper.
        per: one policy for each ``batch``, as in the paper, or for each ``image``.
        temperature: of the Gumbel-softmax at the beginning.
        final_temperature: and at the end, linearly.
        all_options: differentiate the validation loss with respect to the weights of all options, and not of the drawn ones
            alone (Eq. 9), at the cost of the whole supernet; see `HardGumbel`.
        samples: end with the best, by the shared weights, of so many architectures that the learned probabilities draw; with 0
            the most probable one, as in the paper and with `independent`.
        validation_images: images that each of them is scored on.
        learning_rate: of the weights at the beginning, and xi; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
        policy_learning_rate: of Adam on the policy's parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. `baseline` and `average`, see there; with ``average=False`` the learning rate should be smaller.
        2. Learning rates, weight decays and temperatures are not printed; these are those of GDAS, DARTS and DADA.
        3. A training of the result draws a pair for every image, where the paper draws one for every batch.
        4. The paper ends with the most probable architecture; `samples` is after SETN (Dong and Yang, ICCV 2019).
        5. Without `all_options` an option that is not drawn has no gradient but that of the softmax; see `HardGumbel`.
        6. The policy's and the architecture's gradients are taken at paths of their own; Algorithm 1 draws one set for both.

    Raises:
        ConfigError: a warm-up that leaves nothing for the policy, or, with `independent`, for the architecture; a setting
            does not fit.
    """
    if samples < 0 or (samples and independent):
        raise ConfigError(
            f"samples is {samples}; expected how many architectures are drawn and scored at the end, or 0 for none, as with "
            "independent=True, whose policy is learned for the most probable one."
        )
    check_positive(architectures=architectures, policies=policies, weight_architectures=weight_architectures)
    if not 0 <= warmup < 1 or (independent and warmup == 0):
        raise ConfigError(
            f"warmup is {warmup}; expected a part of the run below 1, after which the policy is learned, and 0 or more, or above 0 "
            "with independent=True, which searches the architecture in it."
        )
    weights = WeightStep(weight_architectures, average)
    architecture_step: Update = OuterStep(architectures)
    sampler: Sampler = Relaxed()
    if independent:
        architecture_step, sampler = Until(warmup, architecture_step), Settled(warmup, sampler)
    return Method(
        name="daas",
        updates=(
            After(warmup, PolicyStep(architectures, policies, baseline)),
            architecture_step,
            Until(warmup, replace(weights, customary=True)),
            # All paths are one when the architecture is settled.
            After(warmup, replace(weights, paths=1) if independent else weights),
        ),
        relaxation=partial(HardGumbel, temperature=Linear(temperature, final_temperature), all_options=all_options),
        sampler=sampler,
        selector=BestSampled(samples, SupernetAccuracy(validation_images), Categorical()) if samples else Derive(),
        policy=LearnedOnTop(operations, share=share, per=per),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
        policy_optimizer=Adam(Constant(policy_learning_rate), weight_decay=0.0),
    )
