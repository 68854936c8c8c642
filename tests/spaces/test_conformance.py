"""The same laws over all spaces that are built from shared parts."""

from typing import Any

import pytest
import torch

from nas_spaces import (
    Architecture,
    ArchitectureError,
    InputError,
    Layer,
    SearchSpace,
    WeightsError,
    allegro,
    amended_s1,
    amended_s2,
    chain,
    mobile,
)
from nas_spaces.mobile import IMAGENET
from nas_spaces.testing import check_space, check_supernet

SPACES: list[tuple[SearchSpace, int | None]] = [
    (allegro(), 3),
    (allegro(sep_multiple=1.5, groups=2), 3),
    (amended_s1(), 3),
    (amended_s2(), None),
    (mobile(), None),
    (mobile(((24, 2, 2), (32, 1, 1))), None),
]
NAMES = [space.name for space, _ in SPACES]


@pytest.mark.parametrize("space", [space for space, _ in SPACES], ids=NAMES)
def test_space_conforms(space: SearchSpace) -> None:
    check_space(space, samples=5)


@pytest.mark.parametrize(("space", "cells"), SPACES, ids=NAMES)
def test_supernet_conforms(space: SearchSpace, cells: int | None) -> None:
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_supernet(space, images, cells=cells, channels=4)


@pytest.mark.parametrize(("space", "cells"), SPACES, ids=NAMES)
def test_bad_weights_architectures_and_images_are_refused(space: SearchSpace, cells: int | None) -> None:
    supernet = space.supernet(channels=4, cells=cells)
    with pytest.raises(WeightsError, match="this space has"):
        supernet(torch.randn(2, 3, 8, 8), torch.zeros(1, 1))
    with pytest.raises(InputError, match="reads"):
        supernet(torch.randn(2, 4, 8, 8), torch.zeros(space.choices.shape))
    with pytest.raises(ArchitectureError, match="belongs to space 'other'"):
        space.network(Architecture("other", (), ""))
    weights = torch.zeros(space.choices.shape)
    weights[0, 0] = torch.nan
    with pytest.raises(WeightsError, match="row 0"):
        space.discretize(weights)


def test_sizes() -> None:
    assert amended_s1().size == 7**16
    assert amended_s2().size == 2**160
    assert allegro().size == (180 * 7**8) ** 2
    assert mobile().size == 6**6 * 7**15


def test_amended_s2_has_twenty_cells() -> None:
    space = amended_s2()
    assert space.choices.shape == (160, 2)
    assert list(space.choices.groups)[:2] == ["cell0", "cell1"]
    with pytest.raises(InputError, match="exactly 20"):
        space.supernet(cells=8)


def test_amended_edges_are_fixed() -> None:
    space = amended_s1()
    a = space.sample(torch.Generator().manual_seed(0))
    assert {s for node in space.cells(a)["normal"] for _, s in node} == {0, 1, 2, 3, 4}
    assert [tuple(s for _, s in node) for node in space.cells(a)["normal"]] == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_allegro_widens_and_deepens() -> None:
    """Parameters of both blocks, counted by hand: depthwise, pointwise and normalisation of each half."""
    space, width = allegro(sep_multiple=2, dil_multiple=1), 8
    for name, kernel, middle in (("allegro_sep_conv_5x5", 5, 16), ("allegro_dil_conv_3x3", 3, 8)):
        operation = space._make(name, width, 1, True)
        first = width * kernel**2 + width * middle + 2 * middle
        second = middle * kernel**2 + middle * width + 2 * width
        assert sum(p.numel() for p in operation.parameters()) == first + second


@pytest.mark.parametrize("options", [{"sep_multiple": 0}, {"dil_multiple": -1}, {"groups": 0}])
def test_allegro_options_must_make_sense(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected finite multiples above 0|groups is 0; expected a whole number"):
        allegro(**options)


def test_allegro_groups_must_divide() -> None:
    with pytest.raises(InputError, match="3 groups"):
        allegro(groups=3).supernet(channels=4)


def test_mobile_of_the_paper() -> None:
    space = mobile(IMAGENET, stem_stride=2)
    assert space.name == "mobile_imagenet"
    assert len(space.choices) == 21
    first = [row for row in space.choices.options if "skip_connect" not in row]
    assert len(first) == 6
    a = space.architecture([len(row) - 1 for row in space.choices.options])
    counts = space.count(a, image=(3, 224, 224), classes=1000)
    assert counts.parameters > 1_000_000


@pytest.mark.parametrize("stages", [((0, 1, 1),), ((8, 0, 1),), ((8, 1, 3),)])
def test_mobile_stages_must_make_sense(stages: tuple[tuple[int, int, int], ...]) -> None:
    with pytest.raises(InputError, match="stages"):
        mobile(stages)


def test_small_images() -> None:
    with pytest.raises(InputError, match="too small for 2 reductions"):
        mobile().supernet(channels=4)(torch.randn(2, 3, 2, 2), torch.zeros(21, 7))


OPERATIONS = {
    "conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, padding=1),
    "wide": lambda i, o, s: torch.nn.Conv2d(i, o, 5, s, padding=2),
}


def test_chain_of_own_modules() -> None:
    space = chain([Layer(), Layer(2, 2, ("wide",)), Layer(2)], OPERATIONS, name="mine")
    check_space(space)
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_supernet(space, images)  # of a fixed depth, which need not be said
    assert space.size == 4 == len({str(a) for a in space})
    assert chain(2, OPERATIONS).size == 4
    with pytest.raises(InputError, match="has 3 layers"):
        space.supernet(cells=2)
    with pytest.raises(WeightsError, match="no path"):
        space.supernet(channels=2)(torch.randn(1, 3, 8, 8), torch.zeros(3, 2), [(0,), (), (1,)])


@pytest.mark.parametrize("drawn", [None, [(0,), (0,)]])
def test_a_chain_refuses_what_changes_its_input(drawn: Any) -> None:
    def hasty(inputs: int, outputs: int, stride: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Conv2d(inputs, outputs, 1, stride))

    space = chain(2, {"hasty": hasty, **OPERATIONS})
    images = torch.randn(2, 3, 6, 6)
    with pytest.raises(InputError, match="'hasty' changes its input in place, .* of layer 0 read too: write nn.ReLU"):
        space.supernet(channels=2)(images, torch.ones(2, 3), drawn)
    space.network(space.parse("hasty|conv"), channels=2)(images)  # alone it may


def test_own_modules_keep_no_statistics() -> None:
    class Slices(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = torch.nn.ModuleList(
                [
                    torch.nn.BatchNorm3d(2),
                    torch.nn.SyncBatchNorm(2),
                    torch.nn.InstanceNorm2d(2, track_running_stats=True),
                ]
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norms[2](self.norms[0](x[..., None])[..., 0])

    supernet = chain(2, {"slices": lambda i, o, s: Slices(), **OPERATIONS}).supernet(channels=2)
    assert not [name for name in supernet.state_dict() if "running" in name or "tracked" in name]
    images, weights = torch.randn(4, 3, 6, 6), torch.ones(2, 3)
    assert torch.equal(supernet.train()(images, weights), supernet.eval()(images, weights))


def test_names_of_operations_are_those_that_text_can_hold() -> None:
    with pytest.raises(InputError, match="must be a word of letters, digits and underscores"):
        chain(2, {"cafe\u0301": OPERATIONS["conv"]})
    space = chain(2, {"caf\u00e9": OPERATIONS["conv"]})
    assert str(space.parse("caf\u00e9|caf\u00e9")) == "caf\u00e9|caf\u00e9"


@pytest.mark.parametrize(
    ("layers", "operations", "message"),
    [
        (2, [torch.nn.Identity], r"operations are \[.*; expected a dictionary from names to functions"),
        (2, {1: torch.nn.Identity}, "expected a dictionary from names to functions"),
        ([2], OPERATIONS, r"layers are \[2\]; expected a number, or a list of Layer"),
    ],
)
def test_what_makes_no_chain(layers: Any, operations: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chain(layers, operations)


def test_a_chain_names_its_skip_connections() -> None:
    space = chain(3, {**OPERATIONS, "same": lambda i, o, s: torch.nn.Identity()}, skips=("same",))
    assert space.choices.skip_connections(space.parse("same|conv|same").options) == 2
    with pytest.raises(InputError, match="its layers and skips choose from conv, wide, not identity"):
        chain(2, OPERATIONS, skips=["identity"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 0 .* the operation of layer 0, one of conv, wide, found the end"),
        ("conv|conv|x", "position 10 .* layer 2, one of conv, wide, found 'x'"),
        ("conv|conv", r"expected '\|', found the end"),
        ("conv|conv|conv|", "expected the end"),
    ],
)
def test_chain_text(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        chain(3, OPERATIONS).parse(text)


def test_chain_arguments() -> None:
    with pytest.raises(InputError, match="not other"):
        chain([Layer(options=("other",))], OPERATIONS)
    with pytest.raises(InputError, match="needs layers"):
        chain(0, OPERATIONS)
    with pytest.raises(InputError, match="needs layers"):
        chain(2, {})
    with pytest.raises(InputError, match="expected each once"):
        Layer(options=("conv", "conv"))
    with pytest.raises(InputError, match="must be a word"):
        chain(2, {"a|b": OPERATIONS["conv"]})
