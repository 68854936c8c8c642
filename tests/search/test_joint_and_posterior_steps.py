"""Steps of weights and architecture together, and of a distribution over architectures; and updates that start late."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas_augment import daas
from nas_search import ConfigError, ImageData, methods
from nas_search.batches import Batch
from nas_search.evaluation import SupernetAccuracy
from nas_search.state import SearchState
from nas_search.updates import After, JointStep, OuterStep, PosteriorStep
from nas_spaces import nas_bench_201


def make(data: ImageData, small: dict[str, Any], method: Any) -> tuple[SearchState, Batch]:
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(nas_bench_201(), data, method, **settings)
    return state, Batch(state.train, state.valid, 0)


def test_a_joint_step_follows_one_gradient_of_the_train_loss(data: ImageData, small: dict[str, Any]) -> None:
    method = methods.snas(architecture_weight_decay=0.0)
    state, batch = make(data, small, method)
    other, _ = make(data, small, method)
    relaxation, optimizer = other.relaxation, other.weight_optimizer
    assert relaxation is not None
    assert optimizer is not None
    figures = JointStep()(state, batch)
    choice = relaxation(relaxation.noise(other.generator), 0.0)
    images = other.normalize(other.policy(batch.train.images, generator=other.generator).images)
    loss = F.cross_entropy(other.require_supernet()(images, *choice), batch.train.labels)
    before = other.outer_parameters()["relaxation.logits"].detach().clone()
    loss.backward()
    gradient = other.outer_parameters()["relaxation.logits"].grad
    assert gradient is not None
    torch.nn.utils.clip_grad_norm_(other.require_supernet().parameters(), 5.0)
    optimizer.step()
    torch.testing.assert_close(figures["train_loss"], loss.detach())
    for mine, theirs in zip(state.require_supernet().parameters(), other.require_supernet().parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    moved = state.outer_parameters()["relaxation.logits"].detach() - before
    torch.testing.assert_close(moved, -3e-4 * gradient / (gradient.abs() + 1e-8), rtol=1e-3, atol=1e-7)
    assert set(figures) == {"train_loss", "train_accuracy", "gradient_norm"}


def test_a_joint_step_adds_the_regularizers(data: ImageData, small: dict[str, Any]) -> None:
    def pull(weights: torch.Tensor, progress: float, outer: Any) -> torch.Tensor:
        return 1e6 * weights[:, 0].sum()

    state, batch = make(data, small, replace(methods.snas(), regularizers=(pull,)))
    before = state.outer_parameters()["relaxation.logits"].detach().clone()
    JointStep()(state, batch)
    moved = state.outer_parameters()["relaxation.logits"].detach() - before
    assert (moved[:, 0] < -2.9e-4).all()


@pytest.mark.parametrize("changes", [{"relaxation": None}, {"policy": daas}])
def test_a_joint_step_refuses_what_it_cannot_learn(
    changes: dict[str, Any], data: ImageData, small: dict[str, Any]
) -> None:
    with pytest.raises(
        ConfigError, match="'snas' has a JointStep, which learns the parameters of a relaxation and nothing"
    ):
        make(data, small, replace(methods.snas(), **changes))


def test_a_method_that_trains_on_everything_has_no_validation_images(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.snas())
    assert len(state.train_examples.labels) == len(data.train.labels)
    for ask in (lambda: batch.valid, lambda: SupernetAccuracy()(nas_bench_201().sample(state.generator), state)):
        with pytest.raises(ConfigError, match=r"trains on all images \(train_share=1\), and a part of it asks"):
            ask()


def test_a_posterior_step_averages_the_gradients_at_draws(data: ImageData, small: dict[str, Any]) -> None:
    method = methods.balenas(samples=2)
    state, batch = make(data, small, method)
    other, _ = make(data, small, method)
    mean = other.outer_parameters()["relaxation.logits"].detach().clone()
    figures = PosteriorStep(2)(state, batch)
    images, gradients = other.normalize(batch.valid.images), []
    for _ in range(2):
        theta = (mean + torch.randn(6, 5, generator=other.generator)).requires_grad_()  # sigma is 1 at the beginning
        loss = F.cross_entropy(other.require_supernet()(images, theta.softmax(dim=1)), batch.valid.labels)
        gradients.append(torch.autograd.grad(loss, theta)[0])
    prior = 1 / 25_000
    first = (gradients[0] + gradients[1]) / 2 + prior * mean
    second = (gradients[0] ** 2 + gradients[1] ** 2) / 2
    expected = -3e-4 * first / (second.sqrt() + prior)
    moved = state.outer_parameters()["relaxation.logits"].detach() - mean
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(figures["valid_loss"], loss.detach())
    precision = 25_000 * 1e-3 * second + 1
    torch.testing.assert_close(figures["deviation"], precision.rsqrt().mean(), rtol=1e-4, atol=0)
    assert all(parameter.grad is None for parameter in state.require_supernet().parameters())


def test_a_posterior_step_needs_a_posterior(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.darts())
    with pytest.raises(ConfigError, match=r"'darts' has a PosteriorStep, which needs .* outer=VariationalAdam"):
        PosteriorStep()(state, batch)
    with pytest.raises(ConfigError, match="samples is 0"):
        PosteriorStep(0)


def test_an_update_can_start_late(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.darts())
    update = After(0.3, OuterStep())
    assert update(state, batch) == {}
    state.step = 1  # of 2, in the first epoch of 2
    assert update(state, batch) == {}
    state.epoch, state.step = 1, 0
    assert set(update(state, batch)) == {"valid_loss", "valid_accuracy"}
    assert After(0.5, OuterStep())(state, batch)  # exactly half of the run is done
    with pytest.raises(ConfigError, match=r"an update starts at 1\.5; expected a part of the run"):
        After(1.5, OuterStep())
