"""Where text comes from: the folders of WikiText-2 and Penn Treebank, and a chain of random words."""

import itertools
from pathlib import Path
from shlex import quote

import torch

from nas_search.errors import ConfigError, DataError
from nas_search.text import EOS, TextData, numbered, segments, vocabulary

__all__ = ["fake_text", "ptb", "wikitext"]

TIME = 35
"""Tokens of a segment, as in DARTS."""


def wikitext(folder: str | Path, *, time: int = TIME) -> TextData:
    """Read ``train.txt``, ``valid.txt`` and ``test.txt``, or ``wiki.train.tokens`` and so on, from a folder.

    Words are separated by white space, and every line ends with ``<eos>``. The vocabulary is that of the train part:
    other words are ``<unk>``.

    Args:
        folder: where the files are.
        time: tokens of a segment.

    Raises:
        DataError: a file is missing, is no text, or is too short.
    """
    return _read("wikitext", Path(folder), "wiki.{}.tokens", time)


def ptb(folder: str | Path, *, time: int = TIME) -> TextData:
    """Read ``train.txt``, ``valid.txt`` and ``test.txt``, or ``ptb.train.txt`` and so on, as `wikitext` does.

    Raises:
        DataError: as `wikitext`.
    """
    return _read("ptb", Path(folder), "ptb.{}.txt", time)


def fake_text(words: str | int = 20, *, count: int = 4000, time: int = 10, seed: int = 0) -> TextData:
    """A Markov chain in which every word has three likely successors: learnable, and made in no time.

    Args:
        words: different ones, besides ``<unk>`` and ``<eos>``.
        count: words of the train part; the other two have a quarter as many.
        time: tokens of a segment.
        seed: of everything.

    Raises:
        ConfigError: `words` is not a number of 4 or more.
    """
    if not str(words).isdecimal() or not 4 <= int(words) <= 10_000:
        raise ConfigError(f"fake text of {words!r} words; expected a number from 4 to 10000, such as fake-text:20.")
    size = int(words)
    generator = torch.Generator().manual_seed(seed)
    successors = torch.stack([torch.randperm(size, generator=generator)[:3] for _ in range(size)])
    turns = torch.rand(count + 2 * (count // 4), generator=generator).tolist()
    others = torch.randint(size, (len(turns),), generator=generator).tolist()
    chain, table = [0], successors.tolist()
    for turn, other in zip(turns, others, strict=True):
        # Nine times of ten one of the three, one time any word.
        chain.append(table[chain[-1]][int(turn / 0.3)] if turn < 0.9 else other)
    text = [f"w{number:04d}" for number in chain]
    ends = (0, count, count + count // 4, len(text))
    parts = [text[start:end] for start, end in itertools.pairwise(ends)]
    return _made(f"fake-text-{size}", parts, time)


def _made(name: str, parts: list[list[str]], time: int) -> TextData:
    known = vocabulary(parts[0])
    train, valid, test = (segments(numbered(part, known), time) for part in parts)
    return TextData(name, train, valid, test, known)


def _read(name: str, folder: Path, pattern: str, time: int) -> TextData:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; expected one with train.txt, valid.txt and test.txt.")
    parts = []
    for part in ("train", "valid", "test"):
        file = _find(folder, part, pattern)
        parts.append(_words(file))
        if len(parts[-1]) < 2 * time + 1:
            raise DataError(
                f"{file} has {len(parts[-1])} words, line ends included; expected {2 * time + 1} or more, that is two "
                f"segments of {time}."
            )
    return _made(name, parts, time)


def _find(folder: Path, part: str, pattern: str) -> Path:
    names = (f"{part}.txt", pattern.format(part))
    found = [folder / name for name in names if (folder / name).is_file()]
    if found:
        return found[0]
    remedy = "copy it there."
    if part == "train" and (folder / "valid.txt").is_file():
        valid, new = quote(str(folder / "valid.txt")), quote(f"{folder.name}-split")
        count = 4 * len(_lines(folder / "valid.txt")) // 5
        remedy = (
            f"copy it there; or, for a small experiment, split the validation part: mkdir {new} && head -n {count} {valid} > "
            f"{new}/train.txt && tail -n +{count + 1} {valid} > {new}/valid.txt && cp {quote(str(folder / 'test.txt'))} {new}"
        )
    raise DataError(f"{folder} has no {part} part ({' or '.join(names)}); {remedy}")


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in (*line.split(), EOS)]


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:  # lines end at line breaks alone, not at what Unicode says besides
            return list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}).") from error
