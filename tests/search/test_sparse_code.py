from typing import Any

import pytest
import torch
from torch.func import functional_call

from nas_search import ConfigError
from nas_search.relaxations import SparseCode
from nas_search.relaxations.lasso import recover
from nas_spaces import Choices, amended_s1, darts, mobile, nas_bench_1shot1, nas_bench_201


def make(choices: Choices | None = None, **settings: Any) -> SparseCode:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SparseCode(choices or darts().choices, **settings)


def test_sizes_are_those_of_the_paper() -> None:
    relaxation = make()
    assert relaxation.measurements.shape == (8, 7)
    sizes = [int((relaxation.matrix[node] != 0).any(dim=0).sum()) for node in range(8)]
    assert sizes == [14, 21, 28, 35] * 2
    assert 0 <= relaxation.matrix.min() <= relaxation.matrix.max() < 1
    assert relaxation.measurements.abs().max() < 5e-3


def test_every_node_keeps_two_options_on_different_edges() -> None:
    choices = darts().choices
    relaxation = make()
    weights, drawn = relaxation(None, 0.0)
    assert drawn is not None
    for node in choices.nodes:
        taken = [(row, option) for row in node for option in drawn[row]]
        assert len(taken) == 2
        assert taken[0][0] != taken[1][0]
        assert all(choices.options[row][option] != "none" for row, option in taken)
    mask = choices.one_hot(drawn).bool()
    assert not weights[~mask].any()
    assert weights[mask].all()


def test_what_is_kept_are_the_largest_entries_of_the_solution() -> None:
    relaxation = make()
    solved = recover(relaxation.matrix.double(), relaxation.measurements.detach().double(), 1e-5)
    torch.testing.assert_close(relaxation.codes.double(), solved, atol=1e-9, rtol=1e-5)
    drawn = relaxation(None, 0.0).drawn
    assert drawn is not None
    for node, pairs in enumerate(relaxation.pairs):
        strength = {row: 0.0 for row, _ in pairs}
        for (row, _), value in zip(pairs, solved[node].abs().tolist(), strict=False):
            strength[row] = max(strength[row], value)
        expected = sorted(strength, key=lambda row: -strength[row])[:2]
        assert sorted(expected) == [row for row in strength if drawn[row]]


def test_every_layer_of_a_chain_keeps_the_option_of_its_largest_code() -> None:
    choices = mobile().choices
    relaxation = make(choices)
    solved = recover(relaxation.matrix.double(), relaxation.measurements.detach().double(), 1e-5)
    weights, drawn = relaxation(None, 0.0)
    assert drawn is not None
    for row, options in enumerate(choices.options):
        expected = int(solved[row, : len(options)].abs().argmax())
        assert drawn[row] == (expected,)
        assert weights[row].nonzero().tolist() == [[expected]]


def test_the_weights_are_the_equation_of_the_paper() -> None:
    """``b^T A_S - x^T E_S`` and its other form, ``x_S + (b - A x)^T A_S``; node by node in float64."""
    relaxation = make().double()
    with torch.no_grad():
        relaxation.measurements.add_(0.01)  # so that b is not A x
    weights = relaxation(None, 0.0).weights
    for node, pairs in enumerate(relaxation.pairs):
        A, b = relaxation.matrix[node, :, : len(pairs)], relaxation.measurements[node]
        kept = relaxation.kept[node, : len(pairs)]
        x = torch.where(kept, relaxation.codes[node, : len(pairs)], 0.0)
        E = A.T @ A - torch.eye(len(pairs)).double()
        projected = b @ A - x @ E
        torch.testing.assert_close(projected, x + (b - A @ x) @ A)
        for index, (row, option) in enumerate(pairs):
            if kept[index]:
                torch.testing.assert_close(weights[row, option], projected[index])


def test_where_the_measurement_is_exact_the_weights_are_the_codes() -> None:
    relaxation = make().double()
    codes = torch.where(relaxation.kept, relaxation.codes, 0.0)
    with torch.no_grad():
        relaxation.measurements.copy_(torch.einsum("pmn,pn->pm", relaxation.matrix, codes))
    weights = relaxation(None, 0.0).weights
    for node, index in relaxation.kept.nonzero().tolist():
        torch.testing.assert_close(weights[relaxation.pairs[node][index]], codes[node, index])


def test_the_gradient_reaches_the_measurements_through_the_kept_columns() -> None:
    relaxation = make().double()

    def weights(b: torch.Tensor) -> torch.Tensor:
        return functional_call(relaxation, {"measurements": b}, (None, 0.0)).weights

    b = relaxation.measurements.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(weights, b)
    (grad,) = torch.autograd.grad(weights(b).sum(), b)
    torch.testing.assert_close(grad, (relaxation.matrix * relaxation.kept[:, None]).sum(dim=2))


@pytest.mark.parametrize(
    "space",
    [darts(), darts(exclude=("none",)), darts(free=True), darts(depth_constrained=True), amended_s1(), nas_bench_201()],
)
def test_what_is_kept_is_derived(space: Any) -> None:
    relaxation = make(space.choices)
    drawn = relaxation(None, 0.0).drawn
    assert drawn is not None
    architecture = space.discretize(relaxation.probabilities())
    for row, taken in enumerate(drawn):
        for option in taken:
            assert option in architecture.options[row]
    if space.name == "nas_bench_201":
        assert [len(taken) for taken in drawn[:1]] == [1]
        assert sum(bool(taken) for taken in drawn) == 5
        assert [architecture.options[row] for row in range(6) if not drawn[row]] == [(0,)]
    assert (relaxation.probabilities().sum(dim=1) > 0).all()


def test_a_node_whose_codes_do_not_move_is_frozen() -> None:
    relaxation = make()
    relaxation.recover(freeze=None)
    assert not relaxation.frozen.any()
    with torch.no_grad():
        relaxation.measurements[1:].add_(0.1)
    moved, unfrozen = relaxation.codes.clone(), relaxation(None, 0.0).weights[:2].detach().clone()
    relaxation.recover(freeze=1e-3)
    assert relaxation.frozen.tolist() == [True] + [False] * 7
    distance = (relaxation.codes - moved).norm(dim=1)
    assert distance[0] <= 1e-3 < distance[1:].min()
    before = relaxation(None, 0.0).weights[:2].detach().clone()
    torch.testing.assert_close(before, unfrozen)
    with torch.no_grad():
        relaxation.measurements.add_(0.1)  # as an optimiser's momentum would
    relaxation.recover(freeze=1e-3)
    weights = relaxation(None, 0.0).weights
    assert torch.equal(weights[:2], before)
    (grad,) = torch.autograd.grad(weights.sum(), relaxation.measurements)
    assert not grad[0].any()
    assert grad[1:].all()


def test_frozen_codes_are_saved_and_restored() -> None:
    relaxation = make()
    relaxation.recover(freeze=1e9)
    other = make()
    other.load_state_dict(relaxation.state_dict())
    assert other.frozen.all()
    assert torch.equal(other(None, 0.0).weights, relaxation(None, 0.0).weights)


@pytest.mark.parametrize("space", [nas_bench_1shot1(3), darts(inputs=True)])
def test_a_space_of_other_rows_is_refused(space: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"choose among the edges that enter a node; in this space rows \d+ to \d+ are no"
    ):
        make(space.choices)
    with pytest.raises(ConfigError, match="sparsity is 0"):
        make(sparsity=0)
