"""The policy gradient of DAAS: an augmentation policy learned through one step of the weights, by first derivatives alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_augment.score_function import Baseline, alignment, daas_surrogate
from nas_hypergrad import Variables
from nas_search.distributed import reduction
from nas_search.errors import ConfigError
from nas_search.objective import Objective
from nas_search.optimizers import apply_step
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["PolicyStep", "alignments_ahead"]


def alignments_ahead(
    train_losses: Sequence[Callable[[], Callable[[Variables], Tensor]]],
    valid_loss: Callable[[Variables], Tensor],
    inner: Variables,
    step_size: float,
) -> Tensor:
    """``<h, g_jb>``: `h` the gradient of the validation loss after one step, `g_jb` that of one image under draw j.

    Of several ranks each has its images; the step and `h` are those of all of them.

    The step is one of SGD along the mean of the draws' gradients, ``w' = w - xi mean_j dL_j / dw`` (DAAS, Eq. 10), and
    ``h = dL_valid(w') / dw'``. The inner products of all images come from one forward-mode pass a draw, which keeps no
    graph; one graph is alive at a time, and beside it one gradient, however many draws there are.

    Args:
        train_losses: for each draw, what makes its loss: that of every image ``(batch,)`` as a function of the weights. Made
            twice, so that the images of the draws need not be kept.
        valid_loss: a scalar function of the weights.
        inner: the weights.
        step_size: xi.

    Returns:
        ``(draws, batch)`` without gradient.
    """
    weights = {name: value.detach().requires_grad_() for name, value in inner.items()}
    total: dict[str, Tensor] = {}
    for make in train_losses:
        gradients = torch.autograd.grad(make()(weights).mean(), list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:  # weights of operations that are not on the path have none
                total[name] = gradient if name not in total else total[name] + gradient
    reduce = reduction() or dict
    total = reduce(total)
    rate = step_size / len(train_losses)
    moved = {name: (weights[name].detach() - rate * gradient).requires_grad_() for name, gradient in total.items()}
    ahead = {**weights, **moved}
    gradients = torch.autograd.grad(valid_loss(ahead), list(moved.values()), materialize_grads=True, allow_unused=True)
    direction = reduce(dict(zip(moved, gradients, strict=True)))
    rest = {name: value.detach() for name, value in weights.items()}
    used = {name: rest[name] for name in moved}

    def products(losses: Callable[[Variables], Tensor]) -> Tensor:
        return alignment(lambda part: losses({**rest, **part}), used, direction)

    return torch.stack([products(make()) for make in train_losses])


@dataclass(frozen=True)
class PolicyStep:
    """One optimiser step of the augmentation policy along DAAS' policy gradient (Eq. 10 to 13).

    For each of `architectures` draws of the sampler and each of `policies` draws of the policy, ``-xi <h, g> grad log p``
    with the inner products of `alignments_ahead`, in the mean: draws whose gradient points along that of the validation
    loss become likelier. The second derivative of the chain rule is the product of two first derivatives (Eq. 12), so
    that there is no double backward pass, and memory does not grow with either number.

    Each image is credited with its own loss, as the unit factor of `nas_search.objective` does. Where one policy is drawn
    for the whole batch that is Eq. 13; where each image has a draw of its own, it is the gradient as long as images do
    not act on each other through batch normalisation, and has less noise than crediting all images with all losses.

    The policy has its own optimiser: the method's `policy_optimizer`. `xi` is the learning rate of the weights at this step.

    Args:
        architectures: n_arch.
        policies: n_aug, for each of them.
        leave_one_out: subtract from each inner product the mean over the other draws, which cuts the variance.

    Differs from the paper:
        1. The baseline; the paper has none (``leave_one_out=False``). It adds next to no bias: `h` depends on a draw only
           through the step.
        2. Means over architectures and policies, where the second line of Eq. 13 has sums; Adam does not see the factor.

    Raises:
        ConfigError: a number below 1, or a baseline of one draw.
    """

    architectures: int = 5
    policies: int = 2
    leave_one_out: bool = True

    uses: ClassVar[frozenset[str]] = frozenset({"policy", "validation"})

    def __post_init__(self) -> None:
        check_positive(architectures=self.architectures, policies=self.policies)
        if self.leave_one_out and self.policies < 2:
            raise ConfigError(
                f"a leave-one-out baseline needs 2 policies or more for an architecture, not {self.policies}; give it more, or "
                "no baseline."
            )

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` after the step of the last architecture, and ``policy_gradient_norm``.

        Raises:
            ConfigError: there is no supernet, or no policy that learns with an optimiser of its own.
        """
        self.check(state)
        optimizer, settings, rate = state.require_policy_learning()
        optimizer.zero_grad()
        for _ in range(self.architectures):
            surrogate, figures = self._surrogate(state, batch, rate)
            (surrogate / self.architectures).backward()
        return {**figures, "policy_gradient_norm": apply_step(optimizer, settings, state.progress)}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no supernet, or no policy that learns with an optimiser of its own.
        """
        if state.policy_optimizer is None or state.supernet is None:
            raise ConfigError(
                f"method {state.method.name!r} has a PolicyStep, which needs a supernet, a policy that learns, and "
                "policy_optimizer=Adam(...)."
            )

    def _surrogate(self, state: "SearchState", batch: "Batch", rate: float) -> tuple[Tensor, dict[str, Tensor]]:
        """What has the policy gradient of one architecture, and the figures of its validation."""
        first = Objective(state, batch, state.method.sampler(state))
        draws = [first, *(first.redrawn() for _ in range(self.policies - 1))]
        inner = dict(state.require_supernet().named_parameters())
        products = alignments_ahead(
            [draw.train_losses for draw in draws], lambda weights: first.valid_loss(weights, {}), inner, rate
        )
        log_prob = torch.stack([draw.log_prob() for draw in draws])
        baseline: Baseline = "leave_one_out" if self.leave_one_out else "none"
        return daas_surrogate(log_prob, products.to(log_prob), rate, baseline), first.figures
