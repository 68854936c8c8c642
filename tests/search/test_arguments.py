"""What stands in the wrong place in Python is named, with what to write."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nas_search import ConfigError, DataError, Examples, ImageData, RunFolderError, methods, search
from nas_search.model_file import load_model
from nas_spaces import ArchitectureError, InputError, nas_bench_201

SPACE = nas_bench_201()
IMAGES, LABELS = torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 4


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": methods.darts}, r"a function; expected a Method, such as methods.darts\(\); call it: darts\(...\)"),
        ({"method": "darts"}, "method is 'darts', a str; expected a Method, such as methods.darts"),
        ({"space": "nas_bench_201"}, "space is 'nas_bench_201', a str; expected a SearchSpace, such as nas_bench_201"),
        ({"space": nas_bench_201}, "call it: nas_bench_201"),
        ({"space": nn.Linear(2, 2)}, "a Linear; expected a SearchSpace, .* or chain"),
        ({"data": "digits"}, "data is 'digits', a str; expected an ImageData, such as digits"),
        ({"data": (IMAGES, LABELS)}, "a tuple; expected an ImageData, .* Examples"),
        ({"observers": print}, r"expected a sequence of functions, such as \(print,\)"),
        ({"epochs": "3"}, "epochs is '3'; expected a whole number, 1 or more"),
        ({"epochs": 1.5}, "epochs is 1.5; expected a whole number"),
    ],
)
def test_arguments_of_a_search_say_what_they_are(changed: dict[str, Any], words: str, data: ImageData) -> None:
    given: dict[str, Any] = {
        "space": SPACE,
        "data": data,
        "method": methods.gdas(),
        "epochs": 1,
        "batch_size": 16,
        "channels": 4,
        "cells": 1,
    }
    with pytest.raises(ConfigError, match=words):
        search(**(given | changed))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ([[0]], LABELS, r"train images are a list; expected a tensor: torch.as_tensor\(images\)"),
        (IMAGES.numpy(), LABELS, "train images are a ndarray; expected a tensor"),
        (IMAGES, LABELS.tolist(), r"train labels are a list; expected a tensor: torch.as_tensor\(labels\)"),
        (IMAGES, LABELS.float(), r"labels are torch.float32 of shape \(8,\); expected torch.int64 of shape \(8,\)"),
        (IMAGES[:0], LABELS[:0], "there are no train images"),
    ],
)
def test_images_and_labels_say_what_they_are(images: Any, labels: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        ImageData("mine", Examples(images, labels), Examples(IMAGES, LABELS))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: SPACE.network("|x~0|"), ArchitectureError, "'|x~0|' is a str and no architecture; .* parse"),  # type: ignore[arg-type]
        (lambda: SPACE.sample(0), InputError, "the generator is 0; expected a torch.Generator"),  # type: ignore[arg-type]
        (
            lambda: SPACE.supernet(channels=4, cells=1, in_channels=1)(IMAGES, torch.full((6, 5), 0.2)),
            InputError,
            r"images are torch.uint8; .* floating-point numbers: images.float\(\) / 255",
        ),
    ],
)
def test_calls_of_a_space_say_what_they_are(call: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_folder_in_place_of_a_model_is_told(tmp_path: Any) -> None:
    with pytest.raises(RunFolderError, match=r"is a folder; give the file in it, .*model\.pt"):
        load_model(tmp_path)
