"""The conformance check finds what it is for."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nas_augment import (
    AugmentationPolicy,
    LearnablePolicy,
    Operation,
    OperationDraw,
    Policy,
    PolicySample,
    Space,
    preset,
)
from nas_augment.policy import check_images
from nas_augment.testing import check_policy


class Brighten(AugmentationPolicy):
    """A policy with one defect, or none."""

    def __init__(self, defect: str = "") -> None:
        super().__init__()
        self.defect = defect

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        source = None if self.defect == "global state is" else generator
        return PolicySample((torch.rand(batch, 1, generator=source),), batch)

    def log_prob(self, sample: PolicySample) -> Tensor:
        return torch.full((len(sample),), 1.0 if self.defect == "not positive" else 0.0)

    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
        if self.defect != "must raise ImagesError":
            check_images(images)
        sample.check(images)
        if self.defect == "not modified":
            images.clamp_(0, 0)
        if self.defect == "dtype":
            return images.double()
        factor = sample.draws[0][:, :, None, None]
        noise = torch.rand(1) if self.defect == "applied again" else 1
        return (images * factor * noise).to(images.dtype)

    def decide(self) -> Policy:
        return Policy()


def test_a_sound_policy_passes() -> None:
    check_policy(Brighten())


def test_stages_of_somebodys_own_pass() -> None:
    """They have no place in a file, which is no defect."""

    @dataclass(frozen=True)
    class Darken:
        numbers: int = 1

        def apply(self, images: Tensor, draw: Tensor) -> Tensor:
            return images // 2 if images.dtype == torch.uint8 else images / 2

    check_policy(LearnablePolicy(preset("fast_aa"), count=1, before=(Darken(),)))


def test_another_error_than_the_one_expected_is_a_defect() -> None:
    class Careless(Brighten):
        def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
            check_images(images)
            return (images * sample.draws[0][:, :, None, None]).to(images.dtype)

    with pytest.raises(AssertionError, match=r"one image too few.* must raise ImagesError, not RuntimeError"):
        check_policy(Careless())


@pytest.mark.parametrize("defect", ["not positive", "must raise ImagesError", "not modified", "dtype"])
def test_a_defect_is_named(defect: str) -> None:
    with pytest.raises(AssertionError, match=defect):
        check_policy(Brighten(defect))


@pytest.mark.parametrize("defect", ["global state is", "applied again"])
def test_the_global_random_state_is_watched(defect: str) -> None:
    with pytest.raises(AssertionError, match="global random state"):
        check_policy(Brighten(defect))


@pytest.mark.parametrize("returned", [lambda images: images, lambda images: images.view(images.shape)])
def test_the_images_that_were_passed_are_not_returned(returned: Callable[[Tensor], Tensor]) -> None:
    class Still(Brighten):
        def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
            super().apply(images, sample)
            return returned(images)

    with pytest.raises(AssertionError, match="not those that were passed or a view of them"):
        check_policy(Still())


class Learned(Brighten):
    """A policy with parameters, and what it makes of the log-probability of the first of two classes."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits, self.score = nn.Parameter(torch.zeros(2)), score

    def log_prob(self, sample: PolicySample) -> Tensor:
        return self.score(self.logits.log_softmax(0)[0]).expand(len(sample))


def test_a_score_that_depends_on_parameters_passes() -> None:
    check_policy(Learned(lambda log: log))


@pytest.mark.parametrize("score", [torch.zeros_like, torch.detach, lambda log: log * 0 - 1])
def test_a_score_without_gradient_is_found(score: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AssertionError, match="log-probabilities or images depend on the parameters"):
        check_policy(Learned(score))


def test_a_score_without_gradient_of_parameters_that_are_frozen_passes() -> None:
    check_policy(Learned(torch.detach).requires_grad_(False))


def test_draws_that_are_certain_have_no_gradient_and_pass() -> None:
    space = Space("one", (Operation("Invert"),))
    check_policy(LearnablePolicy(space, 1, probability=1.0, learn_levels=False))


def test_probabilities_that_do_not_sum_to_one_are_found() -> None:
    class Short(LearnablePolicy):
        def enumerate(self) -> OperationDraw:
            return super().enumerate().map(lambda tensor: tensor[:-1])

    with pytest.raises(AssertionError, match=r"the probabilities of all draws sum to 1, not to 0\.9"):
        check_policy(Short(preset("fast_aa"), count=1))


def test_more_draws_than_can_be_enumerated_are_left_alone() -> None:
    class Large(LearnablePolicy):
        def enumerate(self) -> OperationDraw:
            raise MemoryError

    check_policy(Large(preset("fast_aa", levels=1001)))
