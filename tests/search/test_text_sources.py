import itertools
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch

from nas_search import ConfigError, DataError
from nas_search.data_sources import load_data
from nas_search.text import EOS, UNKNOWN, TextData
from nas_search.text_sources import fake_text, ptb, wikitext

LINES = " \n = A title = \n the cat sat on the mat \n a dog\n" * 10


def write(folder: Path, pattern: str = "{}.txt", **parts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for part, text in ({"train": LINES, "valid": LINES, "test": "the bird \n" * 40} | parts).items():
        (folder / pattern.format(part)).write_text(text, encoding="utf-8")
    return folder


def words(data: TextData, part: str) -> list[str]:
    """The text that the segments were cut from, up to the rest that was left out."""
    tokens, labels = getattr(data, part)
    return [data.vocabulary[number] for number in (*tokens.flatten().tolist(), int(labels[-1, -1]))]


def test_every_line_ends_and_unknown_words_are_said(tmp_path: Path) -> None:
    data = wikitext(write(tmp_path), time=7)
    once = [EOS, "=", "A", "title", "=", EOS, "the", "cat", "sat", "on", "the", "mat", EOS, "a", "dog", EOS]
    assert words(data, "train") == (once * 10)[: len(words(data, "train"))]
    assert words(data, "test")[:6] == ["the", UNKNOWN, EOS, "the", UNKNOWN, EOS]
    assert data.vocabulary[:5] == (UNKNOWN, EOS, "=", "the", "A")
    assert len(data.vocabulary) == len(set(once)) + 1
    assert data.train.images.shape == (22, 7)


@pytest.mark.parametrize(("source", "pattern"), [("wikitext", "wiki.{}.tokens"), ("ptb", "ptb.{}.txt")])
def test_the_names_of_the_data_sets_are_known(tmp_path: Path, source: str, pattern: str) -> None:
    theirs, plain = write(tmp_path / "theirs", pattern), write(tmp_path / "plain")
    data = load_data(f"{source}:{theirs}")
    assert data.fingerprint == load_data(f"{source}:{plain}").fingerprint
    assert (data.name, data.kind) == (source, "tokens")


def test_other_line_breaks_do_not_end_a_line(tmp_path: Path) -> None:
    plain = ptb(write(tmp_path / "plain", train="a b c\n" * 30), time=5)
    odd = ptb(write(tmp_path / "odd", train="a\x0bb\x85\u2028c\r\n" * 30), time=5)
    assert words(plain, "train") == words(odd, "train")


def test_a_missing_train_part_is_said_and_the_remedy_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "wiki text", valid=LINES * 5)
    (folder / "train.txt").unlink()
    with pytest.raises(
        DataError, match=r"has no train part \(train.txt or wiki.train.tokens\); copy it there; or"
    ) as caught:
        wikitext(folder)
    monkeypatch.chdir(tmp_path)
    subprocess.run(str(caught.value).partition("validation part: ")[2], shell=True, check=True)
    data = wikitext(tmp_path / "wiki text-split")
    assert len(data.train.labels) == pytest.approx(4 * len(data.valid.labels), abs=4)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"train": "too short"},
            "train.txt has 3 words, line ends included; expected 71 or more, that is two segments of 35",
        ),
        ({"test": ""}, "test.txt has 0 words"),
    ],
)
def test_short_parts_are_refused(tmp_path: Path, parts: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        wikitext(write(tmp_path, **parts))


def test_what_is_no_folder_of_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*nowhere; expected one with train.txt"):
        load_data(f"ptb:{tmp_path}/nowhere")
    with pytest.raises(DataError, match=r"has no train part \(train.txt or ptb.train.txt\); copy it there\.$"):
        ptb(tmp_path)
    folder = write(tmp_path / "x")
    (folder / "valid.txt").write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(DataError, match=r"valid.txt cannot be read as UTF-8 text"):
        ptb(folder)
    (folder / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"has no valid part .*; copy it there\.$"):
        ptb(folder)


def test_fake_text_is_seeded_and_can_be_learned() -> None:
    data = fake_text(20)
    assert data.fingerprint == load_data("fake-text").fingerprint != fake_text(20, seed=1).fingerprint
    assert load_data("fake-text:30").classes == 32
    # Counting successors predicts far better than counting words.
    tokens, labels = data.train
    pairs = torch.ones(22, 22).index_put_(
        (tokens.flatten(), labels.flatten()), torch.ones(tokens.numel()), accumulate=True
    )
    loss = -(pairs / pairs.sum(dim=1, keepdim=True)).log()[data.valid.images, data.valid.labels].mean()
    single = -(pairs.sum(dim=0) / pairs.sum()).log()[data.valid.labels].mean()
    assert loss.exp() < 0.5 * single.exp()


@pytest.mark.parametrize("size", ["many", "3", "-5", "99999999"])
def test_a_number_of_fake_words_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigError, match="expected a number from 4 to 10000"):
        load_data(f"fake-text:{size}")


def test_wikitext_2_has_its_known_number_of_tokens(real_data: Path, tmp_path: Path) -> None:
    """217,646 and 245,569 with line ends, as in the literature."""
    for part in ("train", "valid"):
        (tmp_path / f"{part}.txt").write_bytes((real_data / "wikitext2" / "valid.txt").read_bytes())
    (tmp_path / "test.txt").write_bytes((real_data / "wikitext2" / "test.txt").read_bytes())
    data = wikitext(tmp_path, time=1)
    assert data.valid.images.numel() + 1 == 217_646
    assert data.test.images.numel() + 1 == 245_569
    with pytest.raises(DataError, match="for a small experiment, split"):
        wikitext(real_data / "wikitext2")


def test_penn_treebank_as_it_is_distributed(real_data: Path, tmp_path: Path) -> None:
    """Its layout: ``ptb.*.txt``, a sentence a line between spaces, in lower case, ``N`` for numbers, ``<unk>`` for rare words.

    The text is that of WikiText-2, the treebank's own being at hand to few.
    """

    def treebank(lines: list[str]) -> str:
        words = [[re.sub(r"^[\d.,]+$", "N", word.lower()) for word in line.split()] for line in lines]
        kept = {word for word, count in Counter(itertools.chain(*words)).most_common(1000)}
        return "".join(f" {' '.join(word if word in kept | {'N'} else '<unk>' for word in line)} \n" for line in words)

    text = (real_data / "wikitext2" / "valid.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" =")][:400]
    parts = {"train": treebank(lines[:300]), "valid": treebank(lines[300:350]), "test": treebank(lines[350:])}
    write(tmp_path, "ptb.{}.txt", **parts)
    write(tmp_path, "ptb.char.{}.txt")  # which stands beside it in the archive
    data = load_data(f"ptb:{tmp_path}")
    read = parts["train"].split()
    assert data.classes == len({*read, EOS}) > 500
    assert {"N", UNKNOWN, EOS} <= set(data.vocabulary)  # type: ignore[attr-defined]
    assert data.vocabulary[:2] == (UNKNOWN, EOS)  # type: ignore[attr-defined]
    # As many tokens as words and lines; the rest of a segment of 35 is left out.
    for part, examples in (("train", data.train), ("test", data.test)):
        tokens = len(parts[part].split()) + parts[part].count("\n")
        assert examples.images.shape == ((tokens - 1) // 35, 35)
    first = [data.vocabulary[number] for number in data.train.images[0].tolist()]  # type: ignore[attr-defined]
    assert first == (parts["train"].replace("\n", f" {EOS} ").split())[:35]
