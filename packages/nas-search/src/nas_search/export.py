"""What was found and trained, for others: ONNX, ``torch.export``, JSON, and all of it as one bundle."""

import copy
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_search.bundle import write_bundle
from nas_search.errors import ConfigError, ExportError
from nas_search.files import write_atomically
from nas_search.model_file import read_model
from nas_search.result import SearchResult
from nas_search.run_folder import RunFolder, check_foreign

__all__ = ["FORMATS", "export_onnx", "export_run", "export_torch"]

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2", "json": "export.json", "bundle": "bundle.zip"}
"""The formats, and the file that each is written to in a run folder."""

# Batch sizes at which the exported network is compared: others than that with which it was traced.
_TRACED, _COMPARED = 2, (1, 5)
_BATCH = "batch"


def export_run(run: str | Path, form: str, out: str | Path | None = None, weights: str | None = None) -> Path:
    """Write what a run found and trained in another form.

    ``onnx`` and ``torch`` are the trained network, from images ``(batch, channels, height, width)`` float32 in [0, 1] of the
    size it was trained on to logits ``(batch, classes)``, for any batch; normalisation is part of it. ``json`` is the
    architecture, the augmentation policy and the figures, and needs no training. ``bundle`` is a zip archive with the weights, the
    architecture, the policy and the learned hyper-parameters, see `nas_search.bundle`.

    Args:
        run: the run folder.
        form: ``onnx``, ``torch``, ``json`` or ``bundle``.
        out: the file; `FORMATS` in the run folder by default.
        weights: ``best`` or ``last`` in place of those that became ``model.pt``.

    Returns:
        The path of the file.

    Raises:
        ConfigError: an unknown form, or a network that reads text.
        ExportError: a package is missing, or the written network computes something else.
        RunFolderError: there is no finished search or no trained network, or the file cannot be written or is one of a run's own.
    """
    if form not in FORMATS:
        raise ConfigError(f"format of an export is {form!r}; expected {', '.join(FORMATS)}.")
    folder = RunFolder(run)
    path = folder.root / FORMATS[form] if out is None else Path(out)
    check_foreign(path)
    if form == "json":
        record = {"format": "nas-search-export", "version": 1, **SearchResult.load(folder.root).to_dict()}
        write_atomically(path, json.dumps(record, indent=2, allow_nan=False) + "\n")
        return path
    if form == "bundle":
        write_bundle(folder.root, path, weights)
        return path
    network, build = read_model(folder.model_of(weights))
    shape = build.get("shape")
    if shape is None:
        raise ExportError(f"{folder.model} does not say which images it takes; train it again with `nascli train`.")
    if len(shape) != 3:
        raise ConfigError("networks that read text cannot be exported yet; load model.pt with nas_search.model_file.")
    about = {key: str(build[key]) for key in ("space", "architecture")}
    about["class_names"] = json.dumps(build.get("class_names", []))
    if form == "onnx":
        export_onnx(network, path, shape, about=about)
    else:
        export_torch(network, path, shape)
    return path


def export_torch(network: nn.Module, path: Path, shape: Sequence[int]) -> None:
    """Write a network as a ``torch.export`` program, and make sure that it computes the same when read back.

    ``torch.export.load(path).module()(images)`` runs it, without this package.

    Args:
        network: images to logits, in evaluation mode.
        path: of the file, usually ``.pt2``.
        shape: ``(channels, height, width)``.

    Raises:
        ExportError: it cannot be exported, or gives other logits.
        RunFolderError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.export.save(_trace(network, shape), buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    _compare(network, lambda images: loaded(images), shape, "torch.export")
    write_atomically(path, buffer.getvalue())


def export_onnx(network: nn.Module, path: Path, shape: Sequence[int], *, about: dict[str, str] | None = None) -> None:
    """Write a network as ONNX, and make sure that onnxruntime computes the same.

    The input is called ``images``, the output ``logits``, and their first dimension, of any size, ``batch``.

    Args:
        network: images to logits, in evaluation mode.
        path: of the file, usually ``.onnx``.
        shape: ``(channels, height, width)``.
        about: texts to keep in the file's metadata.

    Raises:
        ExportError: onnx, onnxscript or onnxruntime is missing, or it cannot be exported, or it gives other logits.
        RunFolderError: the file cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise ExportError(f'{error.name} is not installed; ONNX needs it: pip install "nas-search[onnx]".') from error
    program = _trace(network, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on itself; what counts is compared below
        try:
            made = torch.onnx.export(
                program,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: _BATCH},),  # only for its name, which is else a symbol such as s31
                dynamo=True,
                verbose=False,
            )
            assert made is not None
            model = made.model_proto
        except Exception as error:
            raise ExportError(f"torch.onnx cannot export this network: {_first_line(error)}") from error
    for key, value in (about or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    _compare(network, run, shape, "onnxruntime")
    write_atomically(path, content)


def _trace(network: nn.Module, shape: Sequence[int]) -> torch.export.ExportedProgram:
    images = _images(_TRACED, shape)
    # In the order of memory that other programs expect; the caller's network stays as it is.
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    try:
        return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim(_BATCH)},), strict=False)
    except Exception as error:
        raise ExportError(f"torch.export cannot trace this network: {_first_line(error)}") from error


def _images(count: int, shape: Sequence[int]) -> Tensor:
    """Random images; the same for the same sizes."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))


def _compare(network: nn.Module, other: Any, shape: Sequence[int], name: str) -> None:
    for count in _COMPARED:
        images = _images(count, shape)
        with torch.no_grad():
            expected, found = network(images), other(images)
        difference = float((found - expected).abs().max())
        # Kernels of another library add up in another order.
        if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
            raise ExportError(
                f"{name} gives other logits than PyTorch, by {difference:.2g} for {count} images; nothing was written."
            )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
