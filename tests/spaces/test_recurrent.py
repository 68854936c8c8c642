"""The cell alone; its equations are tested through the language model."""

import pytest
import torch

from nas_spaces import InputError
from nas_spaces.recurrent import EVALUATION, SEARCH, Dropouts, RecurrentCell


def test_a_cell_that_chooses_its_input_remembers_the_first_word() -> None:
    """Every step copies state 0: the output is the highway of the first gate alone, written out for two words."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cell, words = RecurrentCell(3, 8, normalize=False).double(), torch.randn(2, 2, 3, dtype=torch.float64)
    outputs, last = cell(
        words, torch.zeros(2, 3, dtype=torch.float64), lambda step, states, mask: states[0], word_mask=None, mask=None
    )
    matrix = torch.cat([cell.from_word.weight, cell.from_state.weight], dim=1)
    state = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(2):
        gate, candidate = (torch.cat([words[:, t], state], dim=1) @ matrix.T).chunk(2, dim=1)
        state = torch.sigmoid(gate) * torch.tanh(candidate) + (1 - torch.sigmoid(gate)) * state
        torch.testing.assert_close(outputs[:, t], state, rtol=1e-10, atol=1e-12)
    assert torch.equal(last, outputs[:, -1])


def test_weights_start_in_the_range_of_the_reference() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = torch.cat([p.flatten() for p in RecurrentCell(40, 8, normalize=False).parameters()])
    assert weights.numel() == 10 * 2 * 40 * 40
    assert 0.0399 < weights.abs().max() <= 0.04


def test_the_dropouts_of_the_paper() -> None:
    assert Dropouts(embedding=0.0, inputs=0.2, x=0.75, h=0.25, outputs=0.75) == SEARCH
    assert Dropouts(embedding=0.1, inputs=0.2, x=0.75, h=0.25, outputs=0.75) == EVALUATION


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_dropouts_are_probabilities(value: float) -> None:
    with pytest.raises(InputError, match=r"dropout of h is .*; expected a probability of 0 or more, below 1"):
        Dropouts(h=value)
