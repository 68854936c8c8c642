"""The table that is shipped covers its space, and says what its numbers must say."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from nas_spaces import TableError, load_table, nas_bench_201, nas_bench_201_small, space_of_table
from nas_spaces.testing import check_space, check_supernet

SPACE = nas_bench_201_small()


def test_space_conforms() -> None:
    check_space(SPACE)
    assert SPACE.size == 125 == len(set(SPACE))
    assert SPACE.edges == ((0, 1), (0, 2), (1, 2))


@pytest.mark.parametrize("parts", [1, 2])
def test_supernet_conforms(parts: int) -> None:
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if parts == 1:
        check_supernet(SPACE, images)
    supernet = SPACE.supernet(classes=3, channels=4, cells=1, parts=parts).double()
    assert supernet(images, torch.rand(3, 5)).shape == (4, 3)


def test_it_is_the_larger_cell_whose_last_node_is_a_copy() -> None:
    """A fourth node that takes the third by a skip connection and nothing else adds no parameter and no work."""
    whole = nas_bench_201()
    for options in [(3, 2, 4), (0, 1, 3), (1, 0, 2)]:
        small, large = SPACE.architecture(options), whole.architecture([*options, 0, 0, 1])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            networks = [
                space.network(a, classes=3, channels=4, cells=1) for space, a in ((SPACE, small), (whole, large))
            ]
            images = torch.randn(2, 3, 8, 8)
        networks[1].load_state_dict(networks[0].state_dict(), strict=True)
        torch.testing.assert_close(networks[0](images), networks[1](images))


def test_every_network_stands_in_the_table_and_has_its_own_size_there() -> None:
    table = load_table("digits")
    header = (files("nas_spaces") / "digits.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    seeds = range(sum("_test_" in name for name in header))
    assert len(table) == SPACE.size
    assert table.dataset == "digits" == table.datasets[0]
    assert {str(a) for a in SPACE} == set(table._rows)
    for a in list(SPACE)[::9]:
        counts = SPACE.count(a, image=(1, 8, 8), channels=3, cells=1)
        assert table.query(a, "params") * 1e6 == pytest.approx(counts.parameters)
        assert table.query(a, "flops") * 1e6 == pytest.approx(counts.multiply_adds)
        runs = [table.query(a, "test", seed=seed) for seed in seeds]
        assert table.query(a) == pytest.approx(np.mean(runs))


def test_cells_that_pass_nothing_on_are_at_chance_and_the_others_are_not() -> None:
    """Images reach the classifier if the edge to the output is there, or both edges of the detour."""
    table = load_table("digits")
    for a in SPACE:
        (detour,), (direct,), (last,) = a.options
        for metric in ("valid", "test"):
            assert (table.query(a, metric) > 20) == bool(direct or (detour and last))


def test_the_space_of_the_table() -> None:
    assert space_of_table("digits") == SPACE.name
    assert space_of_table("digits.csv") is None
    with pytest.raises(TableError, match="is not in the table"):
        load_table("digits").query(nas_bench_201().architecture([0] * 6))
    with pytest.raises(TableError, match="neither a file nor one of those shipped: digits"):
        load_table("digit")
    with pytest.raises(TableError, match="'cifar10_test'"):
        load_table("digits", "cifar10")
