from typing import Any

import pytest
import torch
from torch import Tensor

from nas_search import Examples, ImageData, methods
from nas_search.evaluation import SupernetAccuracy, TrainAndValidate, perplexity, top1
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_spaces import darts_rnn, nas_bench_201
from nas_spaces.recurrent import Dropouts


def test_top1_counts_every_image_once_whatever_the_batch_size() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    images = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 1, 1, 0, 2]), 3).float().reshape(7, 3, 1, 1)
    sizes: list[int] = []

    def classify(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.flatten(1)

    top1(classify, Examples(images, labels), torch.device("cpu"), 6)
    assert sizes == [4, 3], "no batch is much smaller than the others"
    for batch_size in (1, 3, 7, 100):
        accuracy = top1(lambda x: x.flatten(1), Examples(images, labels), torch.device("cpu"), batch_size)
        assert accuracy == pytest.approx(5 / 7)


def test_supernet_accuracy_is_that_of_the_path_and_does_not_change_the_state(
    data: ImageData, small: dict[str, Any]
) -> None:
    state = SearchState(
        nas_bench_201(), data, methods.random_nas(), **small | {"seed": 0, "device": torch.device("cpu")}
    )
    architecture = nas_bench_201().sample(state.generator)
    before = {name: value.clone() for name, value in state.require_supernet().state_dict().items()}
    scores = [SupernetAccuracy()(architecture, state) for _ in range(2)]
    logits = state.require_supernet()(
        state.normalize(state.valid_examples.images), nas_bench_201().weights(architecture)
    )
    expected = (logits.argmax(dim=1) == state.valid_examples.labels).float().mean().item()
    assert scores == pytest.approx([expected, expected])
    assert all(torch.equal(value, before[name]) for name, value in state.require_supernet().state_dict().items())


def test_a_candidate_learns_when_it_is_trained_longer(data: ImageData, small: dict[str, Any]) -> None:
    state = SearchState(
        nas_bench_201(), data, methods.random_search(), **small | {"seed": 0, "device": torch.device("cpu")}
    )
    architecture = nas_bench_201().parse(
        "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    )
    assert TrainAndValidate(epochs=20)(architecture, state) > 0.7
    assert state.images == 20 * 32


def test_perplexity_is_the_inverse_of_the_probability_of_a_label() -> None:
    """Label 0 has probability 1/2 and 1/8 in equal numbers: the geometric mean is 1/4."""
    logits = torch.tensor([[4.0, 2.0, 1.0, 1.0], [1.0, 5.0, 1.0, 1.0]]).log()

    def classify(x: torch.Tensor) -> torch.Tensor:
        return logits[x].movedim(-1, 1)

    for images in (torch.tensor([0, 0, 1, 1]), torch.tensor([[0, 0, 0], [1, 1, 1]])):
        examples = Examples(images, torch.zeros_like(images))
        for batch_size in (None, 1, 3):
            assert perplexity(classify, examples, torch.device("cpu"), batch_size) == pytest.approx(4.0)
            assert top1(classify, examples, torch.device("cpu"), batch_size) == 0.5


def test_a_batch_of_text_has_as_many_sequences_as_make_2000_tokens() -> None:
    sizes: list[int] = []

    def classify(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return torch.nn.functional.one_hot(x, 3).float().movedim(-1, 1)

    tokens = torch.zeros(90, 50, dtype=torch.int64)
    assert top1(classify, Examples(tokens, tokens), torch.device("cpu")) == 1.0
    assert sizes == [30, 30, 30]


def test_a_recurrent_architecture_is_scored_without_dropout(small: dict[str, Any]) -> None:
    space = darts_rnn(dropouts=Dropouts(h=0.5, outputs=0.5))
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(space, fake_text(8, count=400, time=4), methods.random_nas(), **settings)
    architecture, supernet = space.sample(state.generator), state.require_supernet()
    score = SupernetAccuracy(20)(architecture, state)
    assert supernet.training
    index = torch.linspace(0, len(state.valid_examples.labels) - 1, 20).long()
    tokens, labels = state.valid_examples.take(index)
    supernet.eval()
    logits = supernet(tokens, space.weights(architecture))
    assert score == (logits.argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize("count", [21, 433, 3193])
def test_no_batch_is_much_smaller_than_another(count: int) -> None:
    sizes: list[int] = []

    def classify(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return torch.zeros(len(images), 2)

    top1(classify, Examples(torch.zeros(count, 1, 1, 1), torch.zeros(count).long()), torch.device("cpu"), batch_size=4)
    assert sum(sizes) == count
    assert max(sizes) <= 4
    assert max(sizes) - min(sizes) <= 1
