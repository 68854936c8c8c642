"""The three spaces, counted by both of the paper's rules, and what becomes of their architectures in NAS-Bench-101."""

import itertools
from collections import Counter

import pytest
import torch

from nas_spaces import (
    Architecture,
    ArchitectureError,
    InputError,
    WeightsError,
    canonical_hash,
    nas_bench_1shot1,
    nas_bench_101,
)
from nas_spaces.nas_bench_1shot1 import NasBench1Shot1
from nas_spaces.testing import check_space, check_supernet
from nas_spaces.vertex_network import OPERATIONS

PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
PUBLISHED = {1: 6_240, 2: 29_160, 3: 363_648}
SPACES = [nas_bench_1shot1(number) for number in PARENTS]
NAMES = [space.name for space in SPACES]
TEXT = "conv3x3-bn-relu~0+maxpool3x3~0~1+conv1x1-bn-relu~0~2+loose~1~2+output~0~3"


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_space_conforms(space: NasBench1Shot1) -> None:
    check_space(space)


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_supernet_conforms(space: NasBench1Shot1) -> None:
    check_supernet(space, torch.randn(4, 3, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("number", "every", "read", "cells"),
    [(1, 14_580, 6_240, 2_685), (2, 29_160, 16_632, 7_773), (3, 1_312_200, 363_648, 55_854)],
)
def test_both_counting_rules(number: int, every: int, read: int, cells: int) -> None:
    """Every wiring from the numbers of parents alone: operations of all blocks, and of those that something reads."""
    ranges = [itertools.combinations(range(vertex), count) for vertex, count in enumerate(PARENTS[number], start=1)]
    blocks = len(PARENTS[number]) - 1
    wirings = list(itertools.product(*ranges))
    assert len(wirings) * 3**blocks == every
    assert sum(3 ** len({source for inputs in wiring for source in inputs} - {0}) for wiring in wirings) == read
    assert nas_bench_1shot1(number).size == PUBLISHED[number] in (every, read)
    if number == 1:
        space = nas_bench_1shot1(number)
        assert len({space.cell(a) for a in space}) == cells


@pytest.mark.slow
@pytest.mark.parametrize(("number", "cells"), [(2, 7_773), (3, 55_854)])
def test_numbers_of_different_cells(number: int, cells: int) -> None:
    """Of the architectures that differ in what does not lead to the output alone, one is looked at."""
    space, found = nas_bench_1shot1(number), set[Architecture]()
    vertices = range(1, space.blocks + 2)
    ranges = [
        itertools.combinations(range(vertex), count) for vertex, count in zip(vertices, PARENTS[number], strict=True)
    ]
    wirings = dict[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]()
    for wiring in itertools.product(*ranges):
        leading = {space.blocks + 1}
        for vertex in reversed(vertices):
            if vertex in leading:
                leading.update(wiring[vertex - 1])
        wirings[tuple(wiring[vertex - 1] if vertex in leading else () for vertex in vertices)] = wiring
    for kept, wiring in wirings.items():
        blocks = [OPERATIONS if read else OPERATIONS[:1] for read in kept[:-1]]
        found.update(space.cell(space.build(operations, wiring)) for operations in itertools.product(*blocks))
    assert len(found) == cells


@pytest.mark.parametrize("space", SPACES[:2], ids=NAMES[:2])
def test_size_counts_its_iteration(space: NasBench1Shot1) -> None:
    everything = list(space.enumerate())
    assert len({a.options for a in everything}) == len({str(a) for a in everything}) == space.size
    assert all(space.parse(str(a)) == a for a in everything[::97])


def test_sampling_is_uniform() -> None:
    """Chi-squared of the wirings of space 1, each with the number of its operations that count."""
    space, draws = nas_bench_1shot1(1), 6000
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(tuple(space.sources(space.sample(generator))) for _ in range(draws))
    expected = Counter(tuple(space.sources(a)) for a in space)
    assert len(expected) == 180
    assert sum((drawn[w] - draws * n / 6240) ** 2 / (draws * n / 6240) for w, n in expected.items()) < 245


def test_text_form() -> None:
    space = nas_bench_1shot1(1)
    a = space.parse(TEXT)
    assert str(a) == TEXT
    assert a.options == ((0,), (2,), (1,), (), (0, 2), (1, 2), (0, 3))
    assert space.parse(TEXT.replace("loose", "maxpool3x3")) == a
    assert space.parse(TEXT.replace("output~0~3", "output~3~0")) == a


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 0 .* what vertex 1 is, one of output, conv3x3-bn-relu, .*loose, found the end"),
        (TEXT.replace("maxpool3x3~0~1", "maxpool3x3~0"), "block 2 reads 0; in nas_bench_1shot1_1 it reads 2 of 0, 1"),
        (TEXT.replace("output~0~3", "output~0~2~3"), "the output reads 0, 2, 3; .* it reads 2 of 0, 1, 2, 3, 4"),
        (TEXT.replace("maxpool3x3", "loose"), "block 2 has operation 'loose'; expected one of .*maxpool3x3.$"),
        ("conv3x3-bn-relu~0+output~0~1", "1 operations and 2 lists of parents .* has 4 blocks"),
        (TEXT.replace("loose", "none"), "position 53 .* found 'none"),
        (TEXT + "~4~5", "position 76 .* expected another vertex that the output may read, one of 1, 2, found '5'"),
    ],
)
def test_texts_that_are_no_architectures(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        nas_bench_1shot1(1).parse(text)


def test_an_operation_counts_where_the_paper_counted_it() -> None:
    first, second = nas_bench_1shot1(1), nas_bench_1shot1(2)
    loose = "conv3x3-bn-relu~0+maxpool3x3~0+conv1x1-bn-relu~0~2+{}~1~2+output~0~1~3"
    texts = [loose.format(name) for name in ("conv3x3-bn-relu", "maxpool3x3")]
    assert len({second.parse(text) for text in texts}) == 2
    assert len({second.cell(second.parse(text)) for text in texts}) == 1
    with pytest.raises(ArchitectureError, match="block 4 has operation 'loose'; expected one of"):
        second.parse(loose.format("loose"))
    with pytest.raises(ArchitectureError, match="block 4 has operation 'x'; expected one of .*, loose"):
        first.build(["maxpool3x3"] * 3 + ["x"], [(0,), (0, 1), (0, 1), (0, 1), (0, 2)])


def test_cells_of_nas_bench_101() -> None:
    """Loose ends go, and so does what only they read."""
    space, benchmark = nas_bench_1shot1(1), nas_bench_101()
    a = space.parse("conv1x1-bn-relu~0+maxpool3x3~0~1+conv3x3-bn-relu~1~2+loose~0~3+output~0~2")
    assert str(space.cell(a)) == "conv1x1-bn-relu~0+maxpool3x3~0~1+output~0~2"
    assert space.table_text(a) == str(space.cell(a))
    generator = torch.Generator().manual_seed(0)
    for one in SPACES:
        for _ in range(20):
            b = one.sample(generator)
            cell = one.cell(b)
            assert benchmark.parse(str(cell)) == cell
            assert canonical_hash(one.graph(b)) == canonical_hash(benchmark.graph(cell))
            raw = [str(b).replace("loose", "maxpool3x3")]
            assert benchmark.parse(raw[0]) == cell


def test_networks_are_those_of_the_cell() -> None:
    space = nas_bench_1shot1(1)
    a = space.parse(TEXT)
    assert space.count(a, channels=8) == nas_bench_101().count(space.cell(a), channels=8)


def test_neighbors_can_be_left_again() -> None:
    generator = torch.Generator().manual_seed(0)
    for space in SPACES:
        a = space.sample(generator)
        for b in space.neighbors(a):
            assert a in set(space.neighbors(b))
            assert space.distance(a, b) == 1


def test_discretize_takes_as_many_parents_as_there_are() -> None:
    space = nas_bench_1shot1(1)
    weights = torch.zeros(space.choices.shape)
    weights[1, 2] = weights[6, 4] = weights[6, 3] = weights[4, 2] = 1.0
    a = space.discretize(weights)
    assert str(a) == "loose~0+maxpool3x3~0~1+conv3x3-bn-relu~0~2+conv3x3-bn-relu~0~1+output~3~4".replace(
        "loose", "conv3x3-bn-relu"
    )


def test_groups_name_the_rows() -> None:
    choices = nas_bench_1shot1(3).choices
    assert choices.groups == {"operations": range(5), "inputs": range(5, 9), "output": range(9, 10)}
    assert choices.picks == (1, 1, 1, 1, 1, 1, 1, 2, 2, 2)
    assert [len(row) for row in choices.options] == [3, 3, 3, 3, 3, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("number", [0, 4, -1])
def test_there_are_three_spaces(number: int) -> None:
    with pytest.raises(InputError, match=f"has no space {number}; expected 1, 2 or 3"):
        nas_bench_1shot1(number)


def test_an_architecture_of_another_space_is_refused() -> None:
    space = nas_bench_1shot1(1)
    other = Architecture("nas_bench_1shot1_2", ((0,),) * 7, "text")
    for call in (space.weights, space.graph, space.network, space.cell, space.table_text, space.sources):
        with pytest.raises(ArchitectureError, match="belongs to space 'nas_bench_1shot1_2'"):
            call(other)


def test_bad_weights_are_refused() -> None:
    space = nas_bench_1shot1(1)
    with pytest.raises(WeightsError, match="this space has"):
        space.discretize(torch.zeros(5, 7))
    weights = torch.zeros(space.choices.shape)
    weights[6, 0] = torch.inf
    with pytest.raises(WeightsError, match="row 6"):
        space.discretize(weights)
