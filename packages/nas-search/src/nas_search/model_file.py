"""A trained network in one file, which is rebuilt from the name of its architecture and cannot run code."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_search.data import preparation
from nas_search.errors import WHERE_RUNS_ARE, RunFolderError
from nas_search.extraction import inheriting
from nas_search.files import write_atomically
from nas_search.mixed_space import of_architectures
from nas_search.text import vocabulary_hash
from nas_spaces import SearchSpace, SpacesError, catalog

__all__ = ["load_model", "read_model", "save_model", "told_of"]

_FORMAT, _VERSION = "nas-search-model", 1


def save_model(path: Path, network: nn.Module, build: Mapping[str, Any]) -> None:
    """Write the weights of a trained network.

    Args:
        path: of the file.
        network: as `nas_search.training.TrainState` makes it: images as they are in the data to logits.
        build: what rebuilds it: ``space``, ``architecture``, ``classes``, ``channels``, ``cells``, ``in_channels``, and
            ``inherits``, whether it is one taken out of a supernet; and what else is worth knowing of it, as numbers, texts
            and lists: what `told_of` says.

    Raises:
        RunFolderError: it could not be written.
    """
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "version": _VERSION, "build": dict(build), "weights": weights}, buffer)
    write_atomically(path, buffer.getvalue())


def told_of(data: Any, images: torch.Tensor) -> dict[str, Any]:
    """What a model file keeps of the data: the shape of an example, the names of the classes, and a hash of a vocabulary.

    Args:
        data: `nas_search.data.Data`, or image files in folders.
        images: some of its examples.
    """
    words = getattr(data, "vocabulary", ())
    known = {"vocabulary": vocabulary_hash(words)} if words else {}
    return {"shape": list(images.shape[1:]), "class_names": list(getattr(data, "class_names", ())), **known}


def load_model(path: str | Path, space: SearchSpace | None = None) -> nn.Module:
    """Rebuild a trained network, in evaluation mode on the host.

    It takes images ``(batch, channels, height, width)``, uint8 or float in [0, 1], and returns logits; the network of a
    space that reads tokens takes ``(batch, time)`` int64, numbered as in the vocabulary of the data.

    Args:
        path: the ``model.pt`` of a run.
        space: the space of the architecture; found by its name when left out.

    Raises:
        RunFolderError: the file is missing, damaged, or not a model of ours.
    """
    return read_model(path, space)[0]


def read_model(path: str | Path, space: SearchSpace | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A trained network as `load_model` rebuilds it, and what it was built from (see `save_model`).

    Raises:
        RunFolderError: as `load_model`.
    """
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        if (kind := (record.get("format"), record.get("version"))) != (_FORMAT, _VERSION):
            raise ValueError(f"it is {kind[0]!r} of version {kind[1]!r}, expected {_FORMAT!r} of version {_VERSION}")
        build = dict(record["build"])
        if not all(isinstance(name, str) for name in build.get("class_names", ())):
            raise ValueError(f"class_names is {build['class_names']!r}")
        home = of_architectures(space) or catalog.space(build["space"])
        sizes = {key: build[key] for key in ("classes", "channels", "cells", "in_channels")}
        sizes |= {"stem": build["stem"]} if "stem" in build else {}
        found = home.parse(build["architecture"])

        def make() -> nn.Module:
            made = inheriting(home, found, **sizes) if build.get("inherits") else home.network(found, **sizes)
            return nn.Sequential(_preparation(home, build["in_channels"]), made)

        _compare(make, record["weights"])  # before memory is taken for sizes that a damaged file may claim
        network = make()
        network.load_state_dict(record["weights"])
    except IsADirectoryError as error:
        raise RunFolderError(f"{path} is a folder; give the file in it, {Path(path) / 'model.pt'}.") from error
    except FileNotFoundError as error:
        if not Path(path).parent.is_dir():
            raise RunFolderError(f"no run folder {Path(path).parent}; {WHERE_RUNS_ARE}.") from error
        raise RunFolderError(f"no trained network at {path}; make one with `nascli train`.") from error
    except SpacesError as error:
        raise RunFolderError(f"{path} cannot be rebuilt: {error}") from error
    except Exception as error:
        # A damaged file surfaces as RuntimeError, UnpicklingError, KeyError, TypeError and others.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFolderError(f"{path} is damaged or not a trained network ({reason[:120]}); train it again.") from error
    return network.to(memory_format=torch.channels_last).eval(), build


def _compare(make: Callable[[], nn.Module], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not those of the network that the file says it holds, without memory for its weights.

    Raises:
        ValueError: one is missing, left over, or of another shape.
    """
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    for name in sorted({*expected, *weights}):
        found = tuple(weights[name].shape) if name in weights else None
        if expected.get(name) != found:
            raise ValueError(f"{name} is {found or 'missing'}, expected {expected.get(name, 'nothing')}")


def _preparation(space: SearchSpace, channels: int) -> nn.Module:
    """As in training; mean and deviation are replaced by the saved ones."""
    return preparation(
        torch.zeros(1, 1, dtype=torch.int64) if space.reads == "tokens" else torch.zeros(1, channels, 1, 2)
    )
