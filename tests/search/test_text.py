import math
from dataclasses import replace

import pytest
import torch

from nas_augment import Policy
from nas_search import DataError, Examples, TextData
from nas_search.text import EOS, UNKNOWN, Unaugmented, numbered, segments, vocabulary

WORDS = (UNKNOWN, EOS, "a", "b", "c")


def text(length: int = 21, shift: int = 0) -> Examples:
    return segments((torch.arange(length) + shift) % 5, 4)


def data() -> TextData:
    return TextData("x", text(), text(17, 1), text(13, 2), WORDS)


def test_segments_are_labelled_with_the_tokens_that_follow() -> None:
    tokens = torch.arange(24)
    tokens_of, labels = segments(tokens, 5)
    assert tokens_of.shape == labels.shape == (4, 5)
    assert torch.equal(tokens_of.flatten(), tokens[:20])
    assert torch.equal(labels.flatten(), tokens[1:21])


@pytest.mark.parametrize(("length", "time"), [(8, 4), (0, 4), (1, 1), (9, 0)])
def test_a_text_without_two_segments_is_refused(length: int, time: int) -> None:
    with pytest.raises(DataError, match=f"a text of {length} tokens has no two segments of {time}"):
        segments(torch.arange(length), time)


def test_the_vocabulary_is_sorted_by_frequency() -> None:
    words = ["b", "a", EOS, "c", "b", EOS, EOS, "a"]
    assert vocabulary(words) == (UNKNOWN, EOS, "a", "b", "c")
    assert vocabulary(reversed(words)) == vocabulary(words)
    assert numbered(["c", "z", EOS, UNKNOWN], WORDS).tolist() == [4, 0, 1, 0]


def test_a_text_is_split_as_it_came() -> None:
    made = data()
    for share in (0.1, 0.9):
        train, valid = made.split(share, seed=3)
        assert train is made.train
        assert valid is made.valid
    assert (made.classes, made.kind, made.policy) == (5, "tokens", Policy())


def test_the_fingerprint_is_that_of_the_content() -> None:
    same, other = replace(data(), name="y"), text(13, 4)
    others = [
        replace(data(), train=other),
        replace(data(), valid=other),
        replace(data(), test=other),
        replace(data(), vocabulary=(*WORDS[:4], "d")),
    ]
    assert data().fingerprint == same.fingerprint
    assert len({data().fingerprint, *(each.fingerprint for each in others)}) == 5


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Examples(torch.zeros(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)), r"train tokens are torch.float32 of shape \(4, 3"),
        (Examples(torch.zeros(4, 3, dtype=torch.int32), torch.zeros(4, 3, dtype=torch.int64)), "int32"),
        (Examples(torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)), "a label for every token"),
        (Examples(*(torch.zeros(1, 3, dtype=torch.int64),) * 2), "two segments or more"),
        (Examples(*(torch.full((2, 3), 5),) * 2), "token 5 is out of range; the vocabulary has 5 words"),
        (Examples(torch.zeros(2, 3, dtype=torch.int64), torch.full((2, 3), -1)), "token -1 is out of range"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused(train: Examples, message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(data(), train=train)


def test_tokens_are_not_augmented() -> None:
    policy, generator = Unaugmented(), torch.Generator().manual_seed(0)
    before = generator.get_state()
    tokens, log_prob = policy(data().train.images, generator=generator)
    assert torch.equal(tokens, data().train.images)
    assert torch.equal(policy.apply(tokens, policy.sample(5, generator=generator)), tokens)
    assert torch.equal(log_prob, policy.log_prob(policy.sample(len(tokens), generator=generator)))
    assert torch.equal(generator.get_state(), before)
    assert policy.decide() == Policy()
    assert not list(policy.parameters())
    assert math.prod(log_prob.shape) == len(tokens)
