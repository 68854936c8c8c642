"""Evaluating the trained network of a run, as a library call."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas_search.config import RunConfig
from nas_search.data import Data, Examples
from nas_search.data_sources import image_folders, load_data
from nas_search.errors import ConfigError
from nas_search.evaluation import perplexity, top1
from nas_search.lazy_images import ImageFolders, Reading
from nas_search.measure import choose_device
from nas_search.model_file import read_model, told_of
from nas_search.run_folder import RunFolder
from nas_search.train_found import Weights

__all__ = ["run_evaluation"]


def run_evaluation(
    run: str | Path, *, data: str | None = None, device: str = "auto", weights: Weights | None = None
) -> dict[str, Any]:
    """Classify the test part of a data set with the trained network of a run.

    Args:
        run: the run folder, with a ``model.pt``.
        data: source of the data; that which the network was trained on when left out.
        device: where to compute.
        weights: ``best`` or ``last`` in place of those that became ``model.pt``.

    Returns:
        ``test_accuracy``, ``examples``, ``data``; for images the share of each class in ``classes``, for text ``test_perplexity``.

    Raises:
        RunFolderError: there is no trained network.
        ConfigError: the data have other channels or classes than the network, or the same ones in another order, or its images
            are of another size than those that it was trained on.
    """
    folder = RunFolder(run)
    network, build = read_model(folder.model_of(weights))
    place = choose_device(device)
    source = data or _trained_on(folder)
    shape = build.get("shape", ())
    found: Data | ImageFolders
    if build.get("lazy") and source.partition(":")[0] == "imagefolder" and len(shape) == 3 and type(shape[-1]) is int:
        folders = image_folders(source)
        found, size = folders, Reading(shape[-1])

        def part(index: Tensor) -> Examples | Iterable[Examples]:
            return folders.test.take(index).in_order(size)

    else:
        whole = load_data(source)
        found, part = whole, whole.test.take
    labels = found.test.labels
    for name, own, theirs in (
        ("classes", build["classes"], found.classes),
        ("channels", build["in_channels"], found.in_channels),
    ):
        if own != theirs:
            raise ConfigError(
                f"{found.name} has {theirs} {name}, the network of {folder.root} {own}; choose other --data."
            )
    if "vocabulary" in build and build["vocabulary"] != told_of(found, torch.empty(0)).get("vocabulary"):
        raise ConfigError(
            f"{found.name} has another vocabulary than the text that the network of {folder.root} was trained on; choose other "
            "--data, with the same words in the same order."
        )
    names = tuple(map(str, getattr(found, "class_names", ())))
    known = build.get("class_names", ())
    pairs = enumerate(zip(names, known, strict=False))
    if found.kind != "tokens" and (differ := [(number, *pair) for number, pair in pairs if pair[0] != pair[1]]):
        number, there, here = differ[0]
        raise ConfigError(
            f"class {number} of {found.name} is {there!r}, that of the network of {folder.root} {here!r}; the classes must be "
            "the same, in the same order: call the folders of the images alike."
        )
    if found.kind != "tokens" and not isinstance(found, ImageFolders):
        _require_size(found, tuple(shape), folder)
    network = network.to(place)
    record: dict[str, Any] = {
        "test_accuracy": top1(network, part(torch.arange(len(labels))), place),
        "examples": int(labels.numel()),
        "data": found.name,
    }
    if found.kind == "tokens" and not isinstance(found, ImageFolders):
        return {**record, "test_perplexity": perplexity(network, found.test, place)}
    shares = {}
    for label, name in enumerate(names or map(str, range(found.classes))):
        index = (labels == label).nonzero()[:, 0]
        if len(index):
            shares[name] = top1(network, part(index), place)
    return {**record, "classes": shares}


def _require_size(data: Data, shape: tuple[int, ...], folder: RunFolder) -> None:
    """Images of another size than those of the training give other features, and silently other figures.

    Raises:
        ConfigError: they are of another size.
    """
    own = tuple(data.test.images.shape[1:])
    if shape and shape != own:
        size = f",size={shape[-1]}" if shape[-1] == shape[-2] else ""
        raise ConfigError(
            f"images of {data.name} are {own[-2]} x {own[-1]}, and the network of {folder.root} was trained on {shape[-2]} x "
            f"{shape[-1]}; give images of that size" + (f", of a folder by imagefolder:DIR{size}." if size else ".")
        )


def _trained_on(folder: RunFolder) -> str:
    """The source of the data that the network of a run was trained on: the run's, unless a training says otherwise."""
    found = (
        folder.read_json(folder.training, "training has not finished").get("data") if folder.training.exists() else None
    )
    return found if isinstance(found, str) else RunConfig.from_toml(folder.config).data
