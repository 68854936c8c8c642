"""Pictures of operations and of what was learned; and without matplotlib, what to install."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas_augment import ImagesError, LearnablePolicy, MissingExtraError, Operation, Space, dada, gallery, preset

SPACE = Space(
    "three",
    (Operation("Invert"), Operation("TranslateX", 0, 4, "pixels", signed=True), Operation("Color", 0, 2, "factor")),
    3,
)


@pytest.mark.parametrize("as_float", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_grid_has_a_tile_for_every_operation_image_and_level(
    channels: int, as_float: bool, contents: Callable[..., Tensor]
) -> None:
    images = contents(2, 5, 7, channels)
    images = images / 255 if as_float else images
    picture = LearnablePolicy(SPACE).grid(images)
    assert picture.dtype == images.dtype
    assert picture.shape == (channels, 3 * 2 * 7 - 2, 4 * 9 - 2)

    def tile(row: int, column: int) -> Tensor:
        return picture[:, row * 7 : row * 7 + 5, column * 9 : column * 9 + 7]

    white = 1.0 if as_float else 255
    for row in range(6):
        assert torch.equal(tile(row, 0), images[row % 2])
    torch.testing.assert_close(tile(0, 1), white - images[0])
    assert (tile(1, 2) == white).all()  # it has no levels
    assert torch.equal(tile(2, 1), images[0])
    assert torch.equal(tile(3, 3)[:, :, :3], images[1][:, :, 4:])
    assert (tile(3, 3)[:, :, 3:] == 0).all()
    torch.testing.assert_close(tile(5, 2), images[1])
    assert (picture[:, :, 7:9] == white).all()
    assert (picture[:, 5:7] == white).all()


def test_figures_are_saved_with_words(tmp_path: Path, contents: Callable[..., Tensor]) -> None:
    pytest.importorskip("matplotlib")
    figure = gallery.draw_operations(SPACE, contents(1, 8, 10)[0] / 255)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"Invert", "TranslateX", "Color", "4 px", "applied", "image"} <= set(words)
    assert words.count("image") == 3
    figure.savefig(tmp_path / "operations.png")
    grey = gallery.draw_operations(SPACE, contents(1, 8, 10, 1)[0])
    grey.savefig(tmp_path / "grey.png")
    figure = gallery.draw_policy(LearnablePolicy(SPACE))
    figure.savefig(tmp_path / "policy.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    labels = {tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()}
    assert labels == {"Invert", "TranslateX", "Color"}
    assert len(figure.axes) == 1 + 2 * 3
    assert len(gallery.draw_policy(LearnablePolicy(SPACE, 1)).axes) == 3
    assert len(gallery.draw_policy(dada()).axes) == 7


def test_the_numbers_in_a_figure_are_the_probabilities() -> None:
    pytest.importorskip("matplotlib")
    policy = LearnablePolicy(SPACE)
    with torch.no_grad():
        policy.choice_logits[1] = torch.tensor([0.5, 0.25, 0.25]).log()
    figure = gallery.draw_policy(policy)
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert written == [[], [".33"] * 3, [".5"] * 3, [], [".5", ".25", ".25"], [".5"] * 3, []]


def test_of_many_levels_neighbours_share_a_column() -> None:
    pytest.importorskip("matplotlib")
    policy = dada(continuous_levels=True)
    figure = gallery.draw_policy(policy)
    assert figure.get_figwidth() < 40
    labels = [tick.get_text() for tick in figure.axes[3].get_xticklabels()]
    assert labels == [str(level) for level in range(0, 1001, 33)]
    shown = figure.axes[3].collections[0].get_array()
    assert shown is not None
    # In the middle at first, all of it: level 500 is in the column of 495.
    assert shown[0].tolist() == [float(level == "495") for level in labels]


def test_of_many_levels_some_are_shown_evenly(contents: Callable[..., Tensor]) -> None:
    many = Space("many", SPACE.operations[1:2], 1001)
    images = contents(1, 4, 5)
    picture = gallery.grid(many, images, gap=0)
    assert picture.shape == (3, 4, 32 * 5)
    shift = many.values[0, 100 * torch.arange(0, 11)].round().tolist()
    assert [shift[0], shift[-1]] == [0, 4]
    assert torch.equal(picture[:, :, 5:10], images[0])  # the first level
    assert torch.equal(picture[:, :, -5:-4], images[0][:, :, 4:])  # the last
    assert torch.equal(picture[:, :, 5 + 15 * 5 : 5 + 15 * 5 + 3], images[0][:, :, 2:])  # and the middle, of 2 pixels
    pytest.importorskip("matplotlib")
    figure = gallery.draw_operations(many, images[0])
    assert figure.get_figwidth() < 40
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"0 px", "2 px", "4 px"} <= set(words)
    assert len(words) < 40


def test_what_is_not_images_is_refused() -> None:
    with pytest.raises(ImagesError, match="no images to show"):
        gallery.grid(SPACE, torch.zeros(0, 3, 4, 4))
    with pytest.raises(ImagesError, match=r"shape \(3, 4, 4\)"):
        gallery.grid(SPACE, torch.zeros(3, 4, 4))
    with pytest.raises(ImagesError, match=r"expected \(channels, height, width\)"):
        gallery.draw_operations(SPACE, torch.zeros(1, 3, 4, 4))


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    message = r'need matplotlib.*pip install "nas-augment\[draw\]"'
    with pytest.raises(MissingExtraError, match=message):
        gallery.draw_policy(LearnablePolicy(SPACE))
    with pytest.raises(MissingExtraError, match=message):
        gallery.draw_operations(SPACE, torch.zeros(3, 4, 4))
    assert gallery.grid(preset("pba"), torch.zeros(1, 3, 4, 4)).ndim == 3
