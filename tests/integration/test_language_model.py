"""Recurrent cells in the same search loop as everything else."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_augment.fixed import crop_and_flip
from nas_cli.output import print_search, progress
from nas_search import CheckpointError, ConfigError, Interrupted, TextData, evaluations, methods, search
from nas_search.config import RunConfig
from nas_search.data_sources import fake
from nas_search.model_file import load_model
from nas_search.roles import Event
from nas_search.runs import run_evaluation, run_search, run_training
from nas_search.testing import check_method
from nas_search.text_sources import fake_text, wikitext
from nas_spaces import InputError, darts, darts_rnn
from nas_spaces.recurrent import Dropouts

SPACE = darts_rnn()
SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "channels": 6}
QUICK = RunConfig(
    space="darts-rnn",
    method="gdas",
    data="fake-text:8",
    epochs=2,
    train_epochs=2,
    batch_size=32,
    channels=8,
    cells=1,
    device="cpu",
)


@pytest.fixture(scope="module")
def text() -> TextData:
    return fake_text(8, count=400, time=4)


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["darts", "gdas", "random_nas", "random_search"])
def test_every_method_searches_recurrent_cells(name: str, text: TextData) -> None:
    few = {"samples": 3, "validation_images": 8} if name == "random_nas" else {}
    method = getattr(methods, name)(learning_rate=5.0, momentum=0.0, clip=0.25, weight_decay=5e-7, **few)
    result = check_method(method, SPACE)
    assert len(SPACE.steps(result.architecture)) == 8
    if name != "random_search":
        assert 1 < result.metrics["train_perplexity"] < text.classes


@pytest.mark.parametrize("name", ["darts", "gdas", "random_nas"])
def test_a_search_with_dropout_stopped_in_the_middle_of_an_epoch_resumes_bit_for_bit(
    name: str, text: TextData, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if (event.kind, event.epoch, event.step) == ("step", 1, 3):
            os.kill(os.getpid(), signal.SIGINT)

    space = darts_rnn(dropouts=Dropouts(0.1, 0.1, 0.1, 0.1, 0.1))
    method = getattr(methods, name)(**({"samples": 2} if name == "random_nas" else {}))
    expected = search(space, text, method, out=tmp_path / "whole", **SMALL)
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 2, after step 3"):
        search(space, text, method, out=tmp_path / "parts", observers=(stop,), **SMALL)
    with pytest.raises(CheckpointError, match=r"space was .*Dropouts\(embedding=0.1"):
        search(SPACE, text, method, out=tmp_path / "parts", resume=True, **SMALL)
    result = search(space, text, method, out=tmp_path / "parts", resume=True, **SMALL)
    assert result.architecture == expected.architecture
    states = [
        torch.load(tmp_path / part / "checkpoints" / "last.pt", weights_only=True)["state"]
        for part in ("whole", "parts")
    ]
    for name, value in states[0]["modules"]["supernet"].items():
        assert torch.equal(value, states[1]["modules"]["supernet"][name]), name
    assert torch.equal(states[0]["global_random_state"], states[1]["global_random_state"])
    losses = [[line["train_loss"] for line in state["history"]] for state in states]
    assert losses[0] == losses[1]


def test_a_run_of_the_command_line_reports_perplexity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=False) as observers:
        record = run_search(QUICK, tmp_path / "run", observers=observers)
    metrics = record["metrics"]
    for name in ("train", "valid", "test", "random_test"):
        assert 1 < metrics[f"{name}_perplexity"] < 15, name
    assert 0 < metrics["test_accuracy"] < 1
    # Embedding and decoder of 10 words, 20 matrices of 8 x 8.
    assert metrics["parameters"] == 10 * 8 + 10 + 20 * 64
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    for event in events:
        assert event["valid_perplexity"] == pytest.approx(torch.tensor(event["valid_loss"]).exp().item())
    page = (tmp_path / "run" / "report.html").read_text()
    for words in ("Test perplexity", "Perplexity", "segments of text per second", "sigmoid"):
        assert words in page
    print_search(record)
    printed = capsys.readouterr()
    assert (
        f"perplexity  {metrics['test_perplexity']:.2f}, random one {metrics['random_test_perplexity']:.2f}"
        in printed.out
    )
    assert printed.out.splitlines()[-1].endswith(f"nascli export {tmp_path / 'run'} --format bundle")
    for part in ("search epoch 2/2", "train ppl", "valid ppl", "seq/s"):
        assert part in printed.err
    again = run_training(tmp_path / "run", epochs=1)
    assert again["history"][0]["train_perplexity"] > 1
    fake = "fake-text:8"
    assert run_evaluation(tmp_path / "run", data=fake)["test_perplexity"] > 1
    with pytest.raises(ConfigError, match="has 11 classes, the network of .* 10"):
        run_evaluation(tmp_path / "run", data="fake-text:9")
    with pytest.raises(
        ConfigError, match="space darts_rnn reads tokens, but fake-1x8x8 is made of images; give it text"
    ):
        run_training(tmp_path / "run", data="fake:1x8x8", epochs=1)
    with pytest.MonkeyPatch.context() as patch:  # as many words, but others
        other = replace(fake_text(8), vocabulary=tuple(f"v{number}" for number in range(10)))
        patch.setattr(evaluations, "load_data", lambda source: other)
        with pytest.raises(ConfigError, match="another vocabulary than the text that the network of"):
            run_evaluation(tmp_path / "run", data=fake)
    model = load_model(tmp_path / "run" / "model.pt")
    assert model(torch.zeros(1, 3, dtype=torch.int64)).shape == (1, 10, 3)


@pytest.mark.parametrize(
    ("space", "data", "message"),
    [
        ("darts_rnn", "digits", "space darts_rnn reads tokens, but digits is made of images; give it text"),
        ("darts", "fake-text", "space darts reads images, but fake-text-20 is made of tokens; give it images, or search in"),
    ],
)  # fmt: skip
def test_a_space_and_data_that_do_not_fit_are_refused(space: str, data: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run_search(replace(QUICK, space=space, data=data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_library_refuses_them_too(text: TextData) -> None:
    for space, data in ((darts(), text), (SPACE, fake("1x8x8"))):
        with pytest.raises(ConfigError, match="reads"):
            search(space, data, methods.gdas(), **SMALL)


def test_tokens_are_not_augmented(text: TextData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="policy 'cutout' is for images; fake-text-8 is made of tokens: leave it out"):
        run_search(replace(QUICK, policy="cutout"), tmp_path / "run")
    method = replace(methods.gdas(), policy=crop_and_flip)
    with pytest.raises(ConfigError, match="learns an augmentation of images, and fake-text-8 is made of tokens"):
        search(SPACE, text, method, **SMALL)


def test_there_is_one_cell(text: TextData) -> None:
    with pytest.raises(InputError, match="2 cells were asked for; darts_rnn has one"):
        search(SPACE, text, methods.gdas(), **SMALL | {"cells": 2})


@pytest.mark.slow
def test_a_search_on_real_text_learns_more_than_how_often_words_come(real_data: Path, tmp_path: Path) -> None:
    """A part of WikiText-2's validation text: 18,555 tokens to train on, 3,429 words; see benchmarks/RESULTS.md for more of it."""
    lines = (real_data / "wikitext2" / "valid.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    for part, chosen in (("train", lines[:350]), ("valid", lines[350:400]), ("test", lines[400:450])):
        (tmp_path / f"{part}.txt").write_text("".join(chosen), encoding="utf-8")
    data = wikitext(tmp_path, time=5)
    counts = torch.bincount(data.train.labels.flatten(), minlength=data.classes).double() + 1
    unigram = float((-(counts / counts.sum())[data.valid.labels].log().mean()).exp())
    method = methods.darts(learning_rate=20.0, momentum=0.0, clip=0.25, weight_decay=5e-7)
    result = search(SPACE, data, method, epochs=4, batch_size=64, channels=32, device="cpu")
    perplexities = [record["valid_perplexity"] for record in result.history]
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[-1] < 0.8 * unigram
