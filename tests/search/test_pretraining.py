"""Training an autoencoder and keeping it: what it learns, that equal is equal, and files that are not ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from latent_cases import tiny_cells, untrained

from nas_search import CheckpointError, ConfigError, RunFolderError, pretraining
from nas_search.pretraining import (
    AutoencoderSettings,
    AutoencoderTraining,
    cache_file,
    load_autoencoder,
    obtain_autoencoder,
    reconstruction,
    save_autoencoder,
    train_autoencoder,
)
from nas_search.roles import Event
from nas_spaces import SearchSpace, darts, mobile, nas_bench_201

TINY = AutoencoderSettings(latent=4, hidden=8, samples=60, epochs=1, batch_size=30)


@pytest.fixture
def untouched() -> Any:
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.usefixtures("untouched")
def test_equal_settings_give_equal_weights_whatever_the_global_state_is() -> None:
    first, history = train_autoencoder(tiny_cells(), TINY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        again, _ = train_autoencoder(tiny_cells(), TINY)
        other, _ = train_autoencoder(tiny_cells(), AutoencoderSettings(**{**vars(TINY), "seed": 1}))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.start.weight, other.start.weight)
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert [record["epoch"] for record in history] == [1]


def test_a_small_space_is_learned() -> None:
    """350 steps on 700 of the 2,304 architectures bring back half of others; one in 2,304 would come back by chance."""
    settings = AutoencoderSettings(6, 32, samples=1000, held_out=0.3, epochs=10, batch_size=20, learning_rate=0.02)
    autoencoder, history = train_autoencoder(tiny_cells(), settings)
    assert history[-1]["valid_accuracy"] > 0.3
    assert history[0]["valid_accuracy"] < 0.05
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    state = AutoencoderTraining(tiny_cells(), settings)
    assert reconstruction(autoencoder, state.held_out) == history[-1]["valid_accuracy"]


def test_what_is_held_out_is_not_trained_on() -> None:
    state = AutoencoderTraining(tiny_cells(), AutoencoderSettings(samples=100, held_out=0.2))
    train, rest = ({tuple(each.flatten().tolist()) for each in part} for part in (state.types, state.held_out))
    assert (len(train), len(rest), train & rest) == (80, 20, set())
    whole = AutoencoderTraining(tiny_cells(), AutoencoderSettings(samples=2304))
    assert len(whole.types) + len(whole.held_out) == len(torch.cat([whole.types, whole.held_out]).unique(dim=0)) == 2304


def test_the_loss_is_likelihood_and_divergence() -> None:
    """One step by hand: the same batch and the same noise, and the gradient that Adam is given."""
    settings = AutoencoderSettings(latent=3, hidden=6, samples=40, batch_size=8, kl_weight=0.3, noise=0.5)
    state, reference = (AutoencoderTraining(nas_bench_201(), settings) for _ in range(2))
    figures = state.advance()
    chosen = torch.randint(36, (8,), generator=reference.generator)
    types, model = reference.types[chosen], reference.autoencoder
    mean, logvar = model.encode_types(types)
    points = mean + 0.5 * torch.randn(mean.shape, generator=reference.generator) * logvar.exp().sqrt()
    chance = model.teacher_logits(points, types).log_softmax(dim=3).gather(3, types[..., None]).sum(dim=(1, 2, 3))
    divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(dim=1)
    (divergence.mean() * 0.3 - chance.mean()).backward()
    torch.testing.assert_close(figures["train_loss"], -chance.mean().detach())
    torch.testing.assert_close(figures["kl"], divergence.mean().detach())
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    torch.testing.assert_close(figures["gradient_norm"], norm)


def test_it_is_trained_once_and_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    file = tmp_path / "made" / "autoencoder.pt"
    first = obtain_autoencoder(tiny_cells(), TINY, file, [lambda event: events.append(event)])
    assert [(event.run, event.kind) for event in events][-1] == ("autoencoder", "epoch")
    assert "valid_accuracy" in events[-1].record
    monkeypatch.setattr(pretraining, "train_autoencoder", None)
    again = obtain_autoencoder(tiny_cells(), TINY, file)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert [each.name for each in file.parent.iterdir()] == ["autoencoder.pt"]


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop_after_one(event: Event) -> None:
        seen.append((event.kind, event.epoch))
        if event.kind == "step" and event.epoch == 1:
            raise StopError

    seen: list[tuple[str, int]] = []
    settings = replace(TINY, epochs=2)
    file, whole = tmp_path / "autoencoder.pt", tmp_path / "whole.pt"
    with pytest.raises(StopError):
        obtain_autoencoder(tiny_cells(), settings, file, [lambda event: stop_after_one(event)])
    assert [each.name for each in tmp_path.iterdir()] == ["autoencoder.pt.training"]
    with pytest.raises(CheckpointError):
        obtain_autoencoder(tiny_cells(), replace(settings, seed=1), file)
    again: list[Event] = []
    first = obtain_autoencoder(tiny_cells(), settings, file, [lambda event: again.append(event)])
    assert [event.epoch for event in again if event.kind == "epoch"] == [2]
    assert [each.name for each in tmp_path.iterdir()] == ["autoencoder.pt"]
    for name, value in obtain_autoencoder(tiny_cells(), settings, whole).state_dict().items():
        assert torch.equal(value, first.state_dict()[name])


def test_the_cache_has_a_file_for_each_space_and_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = AutoencoderSettings(**{**vars(TINY), "seed": 1})
    files = {cache_file(tiny_cells(), TINY), cache_file(nas_bench_201(), TINY), cache_file(tiny_cells(), other)}
    assert len(files) == 3
    obtain_autoencoder(tiny_cells(), TINY)
    assert [each for each in files if each.exists()] == [cache_file(tiny_cells(), TINY)]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    assert cache_file(tiny_cells(), TINY).parent == tmp_path / "me" / ".cache" / "nas-search"


def test_a_file_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "autoencoder.pt"
    save_autoencoder(file, untrained(tiny_cells(), 4, 8), tiny_cells(), TINY)
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match=r"holds the autoencoder of something else: .*epochs was 1, is 2"):
        obtain_autoencoder(tiny_cells(), AutoencoderSettings(**{**vars(TINY), "epochs": 2}), file)
    with pytest.raises(CheckpointError, match="space was tiny, is nas_bench_201"):
        obtain_autoencoder(nas_bench_201(), TINY, file)
    with pytest.raises(CheckpointError, match="graph was CellGraph"):  # the same name, other operations
        obtain_autoencoder(tiny_cells(("none", "skip_connect", "avg_pool_3x3")), TINY, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle", "other", "weights"])
def test_a_damaged_file_is_refused_and_kept(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "autoencoder.pt"
    save_autoencoder(file, untrained(tiny_cells(), 4, 8), tiny_cells(), TINY)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage in ("empty", "text"):
        file.write_text("" if damage == "empty" else "no tensors")
    elif damage == "pickle":
        torch.save({"format": Path("/")}, file)
    elif damage == "other":
        torch.save({"format": "nas-search-checkpoint", "version": 1}, file)
    else:
        record = torch.load(file, weights_only=True)
        record["weights"].popitem()
        torch.save(record, file)
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match="is missing, damaged or no autoencoder of this release .* delete it"):
        obtain_autoencoder(tiny_cells(), TINY, file)
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        load_autoencoder(tmp_path / "no.pt", tiny_cells(), TINY)


def test_a_folder_that_cannot_be_made_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pretraining, "train_autoencoder", None)
    with pytest.raises(RunFolderError, match="cannot make .*file.* for the autoencoder; name another file"):
        obtain_autoencoder(tiny_cells(), TINY, tmp_path / "file" / "autoencoder.pt")


def test_a_space_without_cells_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="space 'mobile' has no cells"):
        obtain_autoencoder(mobile(), TINY, tmp_path / "made" / "autoencoder.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent": -1}, "latent is -1"),
        ({"hidden": 0}, "hidden is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"samples": 1}, "samples is 1"),
        ({"held_out": 1.0}, "held_out 1.0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"noise": -1.0}, "noise -1.0"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AutoencoderSettings(**settings)


@pytest.mark.nightly
def test_nas_bench_201_comes_back_and_no_two_encodings_are_equal() -> None:
    """At least 99 % of the held-out tenth, and a distance between the means of any two of all 15,625."""
    space, settings = nas_bench_201(), AutoencoderSettings(epochs=8)
    autoencoder, _ = train_autoencoder(space, settings)
    state = AutoencoderTraining(space, settings)
    assert (len(state.types), len(state.held_out)) == (14062, 1563)
    assert reconstruction(autoencoder, state.held_out) >= 0.99
    means = autoencoder.encode(list(space))[0]
    assert closest(means) > 1e-3


def closest(means: torch.Tensor) -> float:
    """The smallest distance between two rows, by differences: products would round it away."""
    exact, found = means.double(), float("inf")
    for first in range(0, len(exact), 500):
        part = torch.cdist(exact[first : first + 500], exact, compute_mode="donot_use_mm_for_euclid_dist")
        part[torch.arange(len(part)), torch.arange(first, first + len(part))] = float("inf")
        found = min(found, float(part.min()))
    return found


@pytest.mark.parametrize("space", [darts()], ids=lambda space: space.name)
def test_large_spaces_are_sampled(space: SearchSpace) -> None:
    state = AutoencoderTraining(space, TINY)
    assert state.types.shape == (54, 2, 14)
    assert (state.types != 0).sum(dim=2).eq(8).all()
    figures = state.advance()
    assert all(torch.isfinite(value) for value in figures.values())
