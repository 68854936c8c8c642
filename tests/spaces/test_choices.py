import pytest
import torch

from nas_spaces import Choices, SearchSpace, WeightsError, amended_s1, darts, darts_rnn, mobile, nas_bench_201

CHOICES = Choices(options=(("a", "b"), ("a", "b", "c")), groups={"all": range(2)}, picks=(1, 2))


def test_shape_and_mask() -> None:
    assert len(CHOICES) == 2
    assert CHOICES.shape == (2, 3)
    assert CHOICES.mask.tolist() == [[True, True, False], [True, True, True]]


def test_one_pick_a_row_unless_told() -> None:
    assert Choices(options=CHOICES.options).picks == (1, 1)


def test_one_hot_marks_every_option_taken() -> None:
    assert CHOICES.one_hot(((1,), (0, 2))).tolist() == [[0, 1, 0], [1, 0, 1]]
    assert not CHOICES.one_hot(((), ())).any()


@pytest.mark.parametrize("space", [nas_bench_201(), darts(), mobile(), darts_rnn()], ids=lambda space: space.name)
def test_the_default_device_and_the_dtype_of_the_weights_do_not_matter(space: SearchSpace) -> None:
    """Somebody who calls ``torch.set_default_device("cuda")`` draws and discretizes on the host all the same."""
    with torch.device("meta"):
        architecture = space.sample(torch.Generator().manual_seed(0))
        weights = space.weights(architecture)
        assert space.discretize(weights) == architecture
    for dtype in (torch.int64, torch.float16, torch.float64):
        assert space.discretize(weights.to(dtype)) == architecture


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_must_be_finite(value: float) -> None:
    weights = torch.zeros(2, 3)
    CHOICES.check(weights)
    weights[1, 0] = value
    with pytest.raises(WeightsError, match="row 1 are not finite"):
        CHOICES.check(weights)


def test_weights_must_have_the_shape() -> None:
    with pytest.raises(WeightsError, match=r"shape \(3, 2\); this space has \(2, 3\)"):
        CHOICES.check(torch.zeros(3, 2))


def test_the_nodes_are_the_targets_of_the_edges() -> None:
    assert nas_bench_201().choices.nodes == ((0,), (1, 2), (3, 4, 5))
    nodes = darts(inputs=True).choices.nodes
    assert nodes[:4] == ((0, 1), (2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12, 13))
    assert nodes[4:] == tuple(tuple(14 + row for row in rows) for rows in nodes[:4])
    assert amended_s1().choices.nodes[:2] == ((0, 1), (2, 3))
    assert darts_rnn().choices.nodes[:3] == ((0,), (1, 2), (3, 4, 5))
    assert mobile().choices.nodes == ()


def test_skip_connections_are_counted_by_name_unless_the_space_names_them() -> None:
    options = (("skip_connect", "conv"), ("identity", "gated_skip"))
    taken = ((0,), (0, 1))
    assert Choices(options).skip_connections(taken) == 2
    named = Choices(options, skips=frozenset({"skip_connect", "identity"}))
    assert named.skip_connections(taken) == 2
    assert named.skip_connections(((1,), (1,))) == 0
    assert named.skip_connections(taken, range(1)) == 1
    assert named.skip_connections(taken, range(0)) == 0
    assert Choices(options, skips=frozenset()).skip_connections(taken) == 0
