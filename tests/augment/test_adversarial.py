"""DHA's loss in its two readings, by enumeration."""

import pytest
import torch

from nas_augment import PolicyError
from nas_augment.adversarial import dha_loss

LOSSES = torch.tensor([1.0, 4.0, 2.0], dtype=torch.float64)


def expected(weight: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The expected gradient of the loss, and the probabilities with their graph."""
    logits = torch.tensor([0.2, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    log_p = logits.log_softmax(0)
    total = torch.zeros(3, dtype=torch.float64)
    for k in range(3):
        loss = dha_loss(log_p[k : k + 1], LOSSES[k : k + 1], weight)  # type: ignore[arg-type]
        total += log_p[k].detach().exp() * torch.autograd.grad(loss, logits, retain_graph=True)[0]
    return total, logits


def test_score_is_the_gradient_of_the_expected_loss() -> None:
    total, logits = expected("score")
    (exact,) = torch.autograd.grad(-(logits.softmax(0) @ LOSSES), logits)
    torch.testing.assert_close(total, exact, rtol=0, atol=1e-14)
    assert total[1] < 0  # descent makes the hardest draw likelier


def test_paper_is_the_gradient_of_half_the_squares() -> None:
    total, logits = expected("paper")
    (exact,) = torch.autograd.grad(-(logits.softmax(0).square() @ LOSSES) / 2, logits)
    torch.testing.assert_close(total, exact, rtol=0, atol=1e-14)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PolicyError, match="log_prob has shape"):
        dha_loss(torch.zeros(2), torch.zeros(3))
    with pytest.raises(PolicyError, match="unknown weight"):
        dha_loss(torch.zeros(2), torch.zeros(2), "both")  # type: ignore[arg-type]
