"""What a run found and trained as one file: the weights, the architecture, the augmentation policy and the schedule."""

import io
import json
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from nas_augment import Policy
from nas_search.errors import RunFolderError
from nas_search.files import write_atomically
from nas_search.model_file import read_model
from nas_search.result import SearchResult
from nas_search.run_folder import RunFolder
from nas_spaces import Architecture, SearchSpace

__all__ = ["Bundle", "load_bundle", "write_bundle"]

# The names of a run folder, so that `nascli train` and the others take an unpacked bundle for one.
_OF_THE_RUN = ("config.toml", "events.jsonl", "result.json", "train.json")
_MODEL, _POLICY = "model.pt", "policy.json"

# The same content gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)

_README = """\
# {title}

    from nas_search.bundle import load_bundle
    found = load_bundle("{name}")           # this file, or the folder that it is unpacked into
    logits = found.network(images)          # {images}
{policy}
* `model.pt`: the trained weights, and what rebuilds the network: `nas_search.model_file.load_model`
* `architecture.txt`: for `nas_spaces.catalog.space("{space}").parse`
* `policy.json`: the augmentation, for `nas_augment.Policy.from_json`, which needs nothing else of this
* `hyperparameters.json`: {hyperparameters}
* the others are those of the run: unpacked, `nascli train FOLDER`, `evaluate`, `report` and `show` take this for one
"""

_TRANSFORM = """\
    augment = found.policy.to_torchvision() # a transform of one image for torchvision's datasets
"""


@dataclass(frozen=True)
class Bundle:
    """What `load_bundle` reads.

    Args:
        network: the trained one, in evaluation mode, as `nas_search.model_file.load_model` has it.
        result: of the search, without its history.
        shape: of an example, ``(channels, height, width)``; empty where the model does not say.
        class_names: of the logits in their order; empty where the data have none.
    """

    network: nn.Module
    result: SearchResult
    shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The one that was found."""
        return self.result.architecture

    @property
    def policy(self) -> Policy:
        """The augmentation that was found; ``to_torchvision()`` makes a transform of it."""
        return self.result.policy

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Those that were learned, with their ``schedule``: `nas_search.hyperparameters.with_learned` trains by it."""
        return dict(self.result.hyperparameters)


def write_bundle(
    run: str | Path, path: str | Path, weights: str | None = None, space: SearchSpace | None = None
) -> None:
    """Write a zip archive of what a run found and trained, for `load_bundle`.

    Nothing in it is compressed or pickled, and the same run gives the same bytes. Unpacked it is a run folder.

    Args:
        run: the run folder.
        path: of the archive.
        weights: ``best`` or ``last`` in place of those that became ``model.pt``.
        space: the space of the architecture; found by its name when left out.

    Raises:
        RunFolderError: there is no finished search or no trained network, they are not of one architecture, or the archive
            cannot be written.
    """
    path, folder = Path(path), RunFolder(run)
    result = SearchResult.load(folder.root, space)
    model = folder.model_of(weights)
    _, build = read_model(model, space)
    _check_one(str(result.architecture), build["architecture"], folder.root)
    # The accuracy of the result is that of the weights that the training chose.
    tested = model.read_bytes() == folder.model.read_bytes()
    texts = {
        "README.md": _readme(path.name, result, build, tested),
        "architecture.txt": f"{result.architecture}\n",
        _POLICY: result.policy.to_json() + "\n",
        "hyperparameters.json": json.dumps(dict(result.hyperparameters), indent=2, allow_nan=False) + "\n",
    }
    content: dict[str, bytes] = {name: text.encode() for name, text in texts.items()}
    files = {name: folder.root / name for name in _OF_THE_RUN} | {_MODEL: model}
    content |= {name: file.read_bytes() for name, file in files.items() if file.exists()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    write_atomically(path, buffer.getvalue())


def load_bundle(path: str | Path, space: SearchSpace | None = None) -> Bundle:
    """Read what `write_bundle` wrote: the archive, or the folder that it was unpacked into. No file of it can run code.

    Args:
        path: of either.
        space: the space of the architecture; found by its name when left out.

    Raises:
        RunFolderError: it is missing, damaged, no bundle, or packed by something that compresses; or the policy, the result and
            the network in it are not those of one run.
    """
    path = Path(path)
    if path.is_dir():
        return _read(path, space)
    with tempfile.TemporaryDirectory() as place:
        _unpack(path, Path(place))
        try:
            return _read(Path(place), space)
        except RunFolderError as error:
            raise RunFolderError(str(error).replace(place, str(path))) from error


def _unpack(path: Path, folder: Path) -> None:
    """The files that are read, and no others, whatever they are called."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in ("result.json", _POLICY, _MODEL):
                info = archive.getinfo(name)
                if info.compress_type != zipfile.ZIP_STORED:
                    # A few bytes could unpack to more than the memory.
                    raise RunFolderError(f"{name} in {path} is compressed; unpack it, and give the folder.")
                (folder / name).write_bytes(archive.read(info))
    except RunFolderError:
        raise
    except FileNotFoundError as error:
        raise RunFolderError(f"no bundle at {path}; make one with `nascli export RUN --format bundle`.") from error
    except Exception as error:
        # A damaged archive surfaces as BadZipFile, KeyError, EOFError, RuntimeError, struct.error and others.
        raise RunFolderError(f"{path} is damaged or no bundle ({str(error)[:120]}); export it again.") from error


def _read(folder: Path, space: SearchSpace | None) -> Bundle:
    result = SearchResult.load(folder, space)
    network, build = read_model(folder / _MODEL, space)
    _check_one(str(result.architecture), build["architecture"], folder)
    policy = folder / _POLICY
    if policy.is_file() and policy.read_bytes().strip() != result.policy.to_json().encode():
        raise RunFolderError(
            f"{policy} is not the policy of {folder / 'result.json'}; one of them was changed: export the run again."
        )
    shape, names = build.get("shape") or (), build.get("class_names") or ()
    return Bundle(network, replace(result, history=()), tuple(map(int, shape)), tuple(map(str, names)))


def _check_one(found: str, trained: str, place: Path) -> None:
    if found != trained:
        raise RunFolderError(
            f"{place} has the weights of {trained}, and found {found}; train what was found with `nascli train`."
        )


def _readme(name: str, result: SearchResult, build: dict[str, Any], tested: bool) -> str:
    tokens = len(build.get("shape") or ()) == 1
    shape = ", ".join(map(str, build.get("shape") or ("channels", "height", "width")))
    images = f"(batch, {shape}), int64" if tokens else f"(batch, {shape}), uint8, or float in [0, 1]"
    accuracy = result.metrics.get("test_accuracy")
    title = f"A network found by {result.method or 'a search'}"
    if isinstance(accuracy, float) and tested:
        title += f", {accuracy:.2%} of the test examples"
    schedule = result.hyperparameters.get("schedule", {})
    learned = f"{', '.join(schedule)} over the search, which `nas_search.hyperparameters.with_learned` trains by"
    return _README.format(
        title=title,
        name=name,
        images=images,
        policy="" if tokens else _TRANSFORM,
        space=result.architecture.space,
        hyperparameters=learned if schedule else "empty: this method learned none of the training",
    )
