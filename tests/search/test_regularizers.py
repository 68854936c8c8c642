import math

import pytest
import torch

from nas_search.regularizers import Entropy, entropy
from nas_search.schedules import Linear


def test_entropy_of_uniform_and_of_one_hot_rows() -> None:
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]])
    assert entropy(weights).item() == pytest.approx(math.log(4) / 2)


def test_the_coefficient_follows_the_progress() -> None:
    weights = torch.full((3, 2), 0.5, requires_grad=True)
    regularizer = Entropy(Linear(0.0, 2.0))
    assert regularizer(weights, 0.5).item() == pytest.approx(math.log(2))
    regularizer(weights, 1.0).backward()
    assert weights.grad is not None
    assert torch.isfinite(weights.grad).all()
