"""The conformance check finds what it is for."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nas_augment import AugmentationPolicy, LearnablePolicy, Policy, PolicySample, preset
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
