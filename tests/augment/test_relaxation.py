"""What a relaxation may be."""

import pytest
import torch

from nas_augment import PolicyError, Relaxation

GOOD = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("level", "gate", "message"),
    [
        (None, None, "both are None"),
        (GOOD[:, 0], None, r"level is torch.float32 \(4,\); expected floats \(batch, count\)"),
        (None, GOOD > 0.5, r"gate is torch.bool \(4, 2\)"),
        (GOOD.long(), None, "level is torch.int64"),
        (GOOD + 1, GOOD, r"level of a relaxation ranges from 1\..* to 1\..*; expected \[0, 1\]"),
        (GOOD, GOOD - 1, r"gate of a relaxation ranges from -.* Squash parameters by a sigmoid, or clamp them"),
        (GOOD * torch.nan, None, "ranges from nan to nan"),
    ],
)
def test_what_is_not_a_relaxation_is_refused(
    level: torch.Tensor | None, gate: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        Relaxation(level, gate)


def test_some_of_the_images() -> None:
    half = Relaxation(GOOD).map(lambda tensor: tensor[:2])
    assert half.level is not None
    assert torch.equal(half.level, GOOD[:2])
    assert half.gate is None
    half.check(torch.Size((2, 2)))
    with pytest.raises(PolicyError, match=r"level of the relaxation is \(2, 2\); the draw is \(4, 2\)"):
        half.check(torch.Size((4, 2)))
    Relaxation(GOOD[:0]).check(torch.Size((0, 2)))
