"""Text as labelled examples: segments of tokens, each labelled with the token that follows."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from nas_augment import AugmentationPolicy, Augmented, Policy, PolicySample
from nas_search.data import Examples, fingerprint
from nas_search.errors import DataError

__all__ = ["EOS", "UNKNOWN", "TextData", "Unaugmented", "numbered", "segments", "vocabulary", "vocabulary_hash"]

UNKNOWN, EOS = "<unk>", "<eos>"


@dataclass(frozen=True, eq=False)
class TextData:
    """A data set of running text, whole in memory.

    Args:
        name: what it is called in reports.
        train: segments of the text that the weights are trained on, in the search and in the final training.
        valid: of the text that validates in the search.
        test: of the text that only the final evaluation sees.
        vocabulary: the words by number.

    Raises:
        DataError: shapes, types or numbers that do not fit together, or fewer than two segments in a part.
    """

    name: str
    train: Examples
    valid: Examples
    test: Examples
    vocabulary: tuple[str, ...]

    def __post_init__(self) -> None:
        for part, examples in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            tokens, labels = examples
            if tokens.ndim != 2 or tokens.dtype != torch.int64 or labels.dtype != torch.int64:
                raise DataError(
                    f"{self.name}: {part} tokens are {tokens.dtype} of shape {tuple(tokens.shape)}, their labels "
                    f"{labels.dtype}; expected int64 (segments, time): make them with `segments`."
                )
            if tokens.shape != labels.shape or 0 in tokens.shape or len(tokens) < 2:
                raise DataError(
                    f"{self.name}: {part} tokens have shape {tuple(tokens.shape)}, labels {tuple(labels.shape)}; expected "
                    f"two segments or more, and a label for every token."
                )
            low, high = (int(bound) for bound in torch.stack([tokens, labels]).aminmax())
            if low < 0 or high >= self.classes:
                raise DataError(
                    f"{self.name}: {part} token {low if low < 0 else high} is out of range; the vocabulary has "
                    f"{self.classes} words, counted from 0."
                )

    @property
    def kind(self) -> Literal["images", "tokens"]:
        """``tokens``."""
        return "tokens"

    @property
    def policy(self) -> Policy:
        """No augmentation."""
        return Policy()

    @property
    def classes(self) -> int:
        """The number of words."""
        return len(self.vocabulary)

    @property
    def in_channels(self) -> int:
        """1: there is one number at a place; spaces that read tokens do not ask."""
        return 1

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all tokens and of the vocabulary: equal data has equal fingerprints."""
        return f"{fingerprint(self.train, self.valid, self.test)}-{vocabulary_hash(self.vocabulary)}"

    def split(self, share: float, seed: int) -> tuple[Examples, Examples]:
        """The train and the validation part, whatever the share: a text has them, as DARTS uses them."""
        return self.train, self.valid

    def augmentation(self) -> AugmentationPolicy:
        """None: see `Unaugmented`."""
        return Unaugmented()


class Unaugmented(AugmentationPolicy):
    """Tokens as they are."""

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        """Nothing is drawn."""
        return PolicySample((), batch)

    def log_prob(self, sample: PolicySample) -> Tensor:
        """Zeros: nothing is learned."""
        return torch.zeros(len(sample))

    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]  # see the base class
        """The same."""
        return images

    def decide(self) -> Policy:
        """A policy without stages."""
        return Policy()

    # Nothing can go along with tokens.
    def forward(self, images: Tensor, *, generator: torch.Generator) -> Augmented:  # type: ignore[override]
        """The same; the base class would look for images."""
        return Augmented(images, torch.zeros(len(images)))


def vocabulary_hash(words: Sequence[str]) -> str:
    """A hash of words and of their order, by which tokens are numbered."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def segments(tokens: Tensor, time: int) -> Examples:
    """Cut a text into segments for truncated back-propagation, in order; what is left at the end is left out.

    Args:
        tokens: ``(n,)`` int64.
        time: tokens of a segment (``bptt``; 35 in DARTS, which takes half of it now and then).

    Returns:
        Tokens and labels, ``((n - 1) // time, time)``: the label of a token is the next token of the text.

    Raises:
        DataError: the text is shorter than two segments.

    Example:
        >>> segments(torch.arange(7), 3).labels.tolist()
        [[1, 2, 3], [4, 5, 6]]
    """
    count = (len(tokens) - 1) // max(1, time)
    if time < 1 or count < 2:
        raise DataError(
            f"a text of {len(tokens)} tokens has no two segments of {time}; expected {2 * time + 1} or more."
        )
    return Examples(
        tokens[: count * time].reshape(count, time).clone(), tokens[1 : count * time + 1].reshape(count, time).clone()
    )


def vocabulary(words: Iterable[str]) -> tuple[str, ...]:
    """`UNKNOWN`, `EOS`, and the words of a text, the most frequent first; words of equal frequency by their letters."""
    counts = Counter(words)
    rest = [word for word in counts if word not in (UNKNOWN, EOS)]
    return UNKNOWN, EOS, *sorted(rest, key=lambda word: (-counts[word], word))


def numbered(words: Sequence[str], known: Sequence[str]) -> Tensor:
    """The numbers of words in a vocabulary, ``(n,)`` int64; of a word that it lacks that of `UNKNOWN`."""
    numbers = {word: number for number, word in enumerate(known)}
    return torch.tensor([numbers.get(word, numbers[UNKNOWN]) for word in words], dtype=torch.int64)
