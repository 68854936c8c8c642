"""The bilevel problem of a step, against longhand computations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment import AugmentationPolicy, Policy, PolicySample
from nas_search import ImageData, methods
from nas_search.batches import Batch
from nas_search.estimators import OneStep
from nas_search.objective import Objective, accuracy, cross_entropy
from nas_search.regularizers import Entropy
from nas_search.roles import ChoiceWeights
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_search.updates import WeightStep
from nas_spaces import darts_rnn
from nas_spaces.recurrent import Dropouts


def make(data: ImageData, small: dict[str, Any], **changes: Any) -> tuple[SearchState, Batch]:
    from dataclasses import replace

    from nas_spaces import nas_bench_201

    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(nas_bench_201(), data, replace(methods.darts(), **changes), **settings)
    return state, Batch(state.train, state.valid, 0)


def test_the_outer_loss_is_the_cross_entropy_of_the_validation_batch(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small)
    objective = Objective(state, batch)
    loss = objective.outer_loss(dict(state.require_supernet().named_parameters()), state.outer_parameters())
    assert state.relaxation is not None
    logits = state.require_supernet()(state.normalize(batch.valid.images), state.relaxation(None, 0.0).weights)
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch.valid.labels))
    torch.testing.assert_close(objective.figures["valid_accuracy"], accuracy(logits, batch.valid.labels))


def test_both_losses_follow_the_variables_that_they_are_given(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small)
    objective = Objective(state, batch)
    inner = {name: value.detach().clone() for name, value in state.require_supernet().named_parameters()}
    outer = {"relaxation.logits": torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()}
    before = objective.inner_loss(inner, outer)
    (gradient,) = torch.autograd.grad(before, outer["relaxation.logits"])
    assert gradient.abs().sum() > 0
    moved = {name: value + 0.1 for name, value in inner.items()}
    assert not torch.isclose(objective.inner_loss(moved, outer), before)
    assert not torch.isclose(objective.inner_loss(inner, {"relaxation.logits": 3 * outer["relaxation.logits"]}), before)


def test_every_evaluation_of_a_step_sees_the_same_draw(data: ImageData, small: dict[str, Any]) -> None:
    gdas = methods.gdas()
    state, batch = make(data, small, relaxation=gdas.relaxation)
    objective = Objective(state, batch)
    inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
    losses = [objective.inner_loss(inner, outer).item() for _ in range(3)]
    assert len(set(losses)) == 1
    assert Objective(state, batch).inner_loss(inner, outer).item() != losses[0]


def test_all_options_are_evaluated_only_where_the_relaxation_is_differentiated(
    data: ImageData, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, batch = make(data, small, relaxation=methods.gdas(all_options=True).relaxation)
    seen: list[ChoiceWeights] = []
    logits = SearchState.logits

    def watched(self: SearchState, images: Tensor, choice: ChoiceWeights, *rest: Any) -> Tensor:
        seen.append(choice)
        return logits(self, images, choice, *rest)

    monkeypatch.setattr(SearchState, "logits", watched)
    objective = Objective(state, batch)
    inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
    objective.train_losses()(inner)
    objective.valid_loss(inner, outer)
    WeightStep()(state, batch)
    assert [choice.drawn is None for choice in seen] == [False, True, False]
    assert [choice.weights.requires_grad for choice in seen] == [False, True, False]


def test_regularizers_are_added_to_the_outer_loss(data: ImageData, small: dict[str, Any]) -> None:
    plain, batch = make(data, small)
    regular, _ = make(data, small, regularizers=(Entropy(Constant(2.0)),))
    losses = []
    for state in (plain, regular):
        inner = dict(state.require_supernet().named_parameters())
        losses.append(Objective(state, batch).outer_loss(inner, state.outer_parameters()).item())
    # The initial weights are uniform up to a thousandth.
    assert losses[1] - losses[0] == pytest.approx(2 * torch.log(torch.tensor(5.0)).item(), rel=1e-4)


class Coin(AugmentationPolicy):
    """Inverts an image with a learned probability: the smallest policy that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(0.3))

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        return PolicySample((torch.rand(batch, 1, generator=generator),), batch)

    def log_prob(self, sample: PolicySample) -> Tensor:
        sign = torch.where(sample.draws[0][:, 0] < 0.5, 1.0, -1.0)
        return F.logsigmoid(sign * self.logit)

    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
        return torch.where((sample.draws[0][:, 0] < 0.5)[:, None, None, None], 255 - images, images)

    def decide(self) -> Policy:
        return Policy()


def test_the_unit_factor_leaves_the_loss_and_gives_the_score_function(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, policy=Coin, hypergradient=OneStep())
    objective = Objective(state, batch)
    inner = {name: value.detach() for name, value in state.require_supernet().named_parameters()}
    outer = state.outer_parameters()
    loss = objective.inner_loss(inner, outer)
    (gradient,) = torch.autograd.grad(loss, outer["policy.logit"])
    # Longhand: mean of the terms times the gradient of the log-probability.
    sample = state.policy.sample(16, generator=_same_draw(data, small))
    images = state.normalize(state.policy.apply(batch.train.images, sample))
    assert state.relaxation is not None
    logits = state.require_supernet()(images, state.relaxation(None, 0.0).weights)
    terms = F.cross_entropy(logits, batch.train.labels, reduction="none").detach()
    torch.testing.assert_close(loss.detach(), terms.mean())
    (expected,) = torch.autograd.grad((terms * state.policy.log_prob(sample)).mean(), outer["policy.logit"])
    torch.testing.assert_close(gradient, expected)


def _same_draw(data: ImageData, small: dict[str, Any]) -> torch.Generator:
    """The generator of a fresh state: where the objective of the first step draws from."""
    return make(data, small, policy=Coin, hypergradient=OneStep())[0].generator


@pytest.mark.parametrize("shape", [(6,), (3, 5)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_torchs_with_and_without_a_time(shape: tuple[int, ...], reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape[0], 7, *shape[1:], dtype=torch.float64, generator=generator)
    labels = torch.randint(7, shape, generator=generator)
    ours = cross_entropy(logits, labels, reduction=reduction)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, reduction=reduction))


def test_every_evaluation_of_a_step_drops_the_same(small: dict[str, Any]) -> None:
    """Dropout draws from the global state, which goes on from step to step all the same."""
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    space = darts_rnn(dropouts=Dropouts(h=0.5, outputs=0.5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = SearchState(space, fake_text(8, count=200, time=4), methods.darts(), **settings)
        batch = Batch(state.train, state.valid, 0)
        inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
        objective = Objective(state, batch)
        losses = [objective.inner_loss(inner, outer).item() for _ in range(3)]
        assert len(set(losses)) == 1
        assert objective.outer_loss(inner, outer).item() == objective.outer_loss(inner, outer).item()
        assert Objective(state, batch).inner_loss(inner, outer).item() != losses[0]
