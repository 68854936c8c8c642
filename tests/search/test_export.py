"""Trained networks in other forms compute the same, and what cannot be exported is said."""

import json
import zipfile
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_augment.fixed import Flip
from nas_search import ConfigError, ExportError, RunFolderError, SearchResult
from nas_search.bundle import Bundle, load_bundle
from nas_search.config import RunConfig
from nas_search.export import export_onnx, export_run, export_torch
from nas_search.model_file import load_model, read_model, save_model
from nas_search.runs import run_search

CONFIG = RunConfig(data="fake:1x8x8", epochs=1, train_epochs=1, batch_size=32, channels=4, cells=1, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    run_search(replace(CONFIG, method="random_search"), folder)
    return folder


@pytest.fixture
def images() -> Tensor:
    return torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_onnx_computes_the_same_for_any_batch(run: Path, images: Tensor, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export_run(run, "onnx", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    expected = load_model(run / "model.pt")(images).detach()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
    assert [each.shape[0] for each in (*session.get_inputs(), *session.get_outputs())] == ["batch", "batch"]
    kept = session.get_modelmeta().custom_metadata_map
    assert kept["space"] == "nas_bench_201"
    assert kept["architecture"] == json.loads((run / "result.json").read_text())["architecture"]
    assert len(json.loads(kept["class_names"])) in (0, 10)


def test_a_torch_program_computes_the_same_without_us(run: Path, images: Tensor) -> None:
    path = export_run(run, "torch")
    assert path == run / "model.pt2"
    found = torch.export.load(path).module()(images)
    torch.testing.assert_close(found, load_model(run / "model.pt")(images), rtol=1e-5, atol=1e-5)


def test_json_has_what_was_found(run: Path) -> None:
    record = json.loads(export_run(run, "json").read_text())
    saved = json.loads((run / "result.json").read_text())
    assert record.items() >= saved.items()
    assert (record["format"], record["version"]) == ("nas-search-export", 1)


def test_a_bundle_has_it_all_and_says_how_it_is_loaded(run: Path, images: Tensor, tmp_path: Path) -> None:
    path = export_run(run, "bundle", tmp_path / "found.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        readme = archive.read("README.md").decode()
        assert Policy.from_json(archive.read("policy.json").decode()) == SearchResult.load(run).policy
        assert json.loads(archive.read("hyperparameters.json")) == {}
        archive.extractall(tmp_path / "unpacked")
    code = "\n".join(line[4:] for line in readme.splitlines() if line.startswith("    "))
    for place in (path, tmp_path / "unpacked"):
        names = {"images": images}
        exec(code.replace('"found.zip"', repr(str(place))), names)  # as the file says itself
        found: Bundle = names["found"]  # type: ignore[assignment]
        torch.testing.assert_close(names["logits"], load_model(run / "model.pt")(images))
        assert callable(names["augment"])
        assert (found.architecture, found.policy) == attrgetter("architecture", "policy")(SearchResult.load(run))
        assert found.shape == (1, 8, 8)
    again = export_run(run, "bundle")
    assert again == run / "bundle.zip"
    first = again.read_bytes()
    assert export_run(run, "bundle").read_bytes() == first


def test_bundles_that_were_changed_are_refused(run: Path, tmp_path: Path) -> None:
    whole = export_run(run, "bundle", tmp_path / "whole.zip")
    with zipfile.ZipFile(whole) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    other, stored = Policy((Flip(),)).to_json().encode(), zipfile.ZIP_STORED
    changes: dict[str, tuple[dict[str, bytes], int, str]] = {
        "policy": ({"policy.json": other}, stored, r"policy\.json is not the policy of .*export the run"),
        "model": ({"model.pt": b"nothing"}, stored, r"model\.zip/model\.pt is damaged or not a trained network"),
        "compressed": ({}, zipfile.ZIP_DEFLATED, "result.json in .* is compressed; unpack it, and give the folder"),
    }
    for name, (changed, how, match) in changes.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", how) as archive:
            for entry, data in (content | changed).items():
                archive.writestr(entry, data)
        with pytest.raises(RunFolderError, match=match):
            load_bundle(tmp_path / f"{name}.zip")
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    for name, match in (("cut", "is damaged or no bundle"), ("nowhere", "no bundle at .*nascli export RUN --format")):
        with pytest.raises(RunFolderError, match=match):
            load_bundle(tmp_path / f"{name}.zip")


def test_what_is_not_there_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format of an export is 'coreml'; expected onnx, torch, json, bundle"):
        export_run(run, "coreml")
    with pytest.raises(RunFolderError, match="no trained network at .*; make one with `nascli train`"):
        export_run(tmp_path, "torch")
    with pytest.raises(RunFolderError):
        export_run(tmp_path, "json")


@pytest.mark.parametrize("name", ["model.pt", "config.toml", "result.json", "checkpoints/last.pt"])
def test_an_export_does_not_take_the_place_of_what_the_run_needs(run: Path, name: str) -> None:
    before = (run / name).read_bytes()
    with pytest.raises(RunFolderError, match=r"is a file that the run in .* needs; choose another name with --out"):
        export_run(run, "json", run / name)
    assert (run / name).read_bytes() == before


def test_models_that_do_not_say_their_images_and_models_of_text_are_refused(run: Path, tmp_path: Path) -> None:
    network, build = read_model(run / "model.pt")
    for shape, message in ((None, "does not say which images it takes"), ([35], "networks that read text cannot")):
        changed = {**build, "shape": shape} if shape else {k: v for k, v in build.items() if k != "shape"}
        save_model(tmp_path / "model.pt", network, changed)
        with pytest.raises((ConfigError, ExportError), match=message):
            export_run(tmp_path, "torch")


class Branching(nn.Module):
    """Looks at its values, which no trace can."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.sum() > 0 else images.flatten(1) * 2


class Fickle(nn.Module):
    """Computes something else from the second call on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1) * (1.0 if self.calls == 1 else 2.0)


def test_what_cannot_be_traced_or_computes_something_else_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with pytest.raises(ExportError, match="cannot trace this network"):
        export_torch(Branching(), path, (1, 4, 4))
    with pytest.raises(ExportError, match=r"torch.export gives other logits than PyTorch, by .* nothing was written"):
        export_torch(Fickle(), path, (1, 4, 4))
    assert not path.exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(
        ExportError, match=r'onnxruntime is not installed; ONNX needs it: pip install "nas-search\[onnx\]"'
    ):
        export_onnx(nn.Flatten(), tmp_path / "net.onnx", (1, 4, 4))
