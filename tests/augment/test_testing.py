"""The conformance check finds what it is for."""

import pytest
import torch
from torch import Tensor

from nas_augment import AugmentationPolicy, Policy, PolicySample
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


@pytest.mark.parametrize("defect", ["not positive", "must raise ImagesError", "not modified", "dtype"])
def test_a_defect_is_named(defect: str) -> None:
    with pytest.raises(AssertionError, match=defect):
        check_policy(Brighten(defect))


@pytest.mark.parametrize("defect", ["global state is", "applied again"])
def test_the_global_random_state_is_watched(defect: str) -> None:
    with pytest.raises(AssertionError, match="global random state"):
        check_policy(Brighten(defect))
