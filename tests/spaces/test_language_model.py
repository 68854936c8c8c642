"""The recurrent networks against their equations, written out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from longhand.recurrent import darts_rnn_logits
from torch import Tensor
from torch.nn import functional as F

from nas_spaces import InputError, WeightsError, darts_rnn, published
from nas_spaces.language_model import RecurrentNetwork, RecurrentSupernet
from nas_spaces.recurrent import EVALUATION, SEARCH, Dropouts

SPACE = darts_rnn()
WORDS, UNITS, BATCH, TIME = 9, 5, 4, 6


def batch() -> Tensor:
    return torch.randint(WORDS, (BATCH, TIME), generator=torch.Generator().manual_seed(1))


def supernet(**options: Any) -> RecurrentSupernet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SPACE.supernet(classes=WORDS, channels=UNITS, **options).double()
        # Larger weights than those of the start, so that every gate and activation bends.
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    return made


def network(made: RecurrentSupernet, architecture: Any, **options: Any) -> RecurrentNetwork:
    alone = SPACE.network(architecture, classes=WORDS, channels=UNITS, **options).double()
    alone.load_state_dict(made.state_dict())
    return alone


def mixtures() -> Tensor:
    return 0.1 * torch.rand(36, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def longhand(made: RecurrentSupernet, tokens: Tensor, weights: Tensor, *, normalize: bool) -> Tensor:
    return darts_rnn_logits(dict(made.named_parameters()), tokens, weights, normalize=normalize)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", ["DARTS_V1_RNN", "DARTS_V2_RNN", "EN2AS_RNN", "EN2AS_PR_RNN"])
def test_one_hot_weights_are_the_network_of_the_architecture(name: str, normalize: bool) -> None:
    architecture, made = getattr(published, name), supernet(normalize=normalize)
    expected = network(made, architecture, normalize=normalize)(batch())
    one_hot = SPACE.weights(architecture)
    assert expected.std() > 0.1
    for logits in (
        made(batch(), one_hot),
        made(batch(), one_hot, architecture.options),
        longhand(made, batch(), one_hot.double(), normalize=normalize),
    ):
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


def test_paths_with_an_option_for_every_edge_equal_their_mixture() -> None:
    """What a hard Gumbel sample asks for: all 36 edges, some of them none."""
    made, generator = supernet(), torch.Generator().manual_seed(4)
    options = torch.randint(5, (36,), generator=generator)
    weights = F.one_hot(options, 5).double() * torch.rand(36, 1, dtype=torch.float64, generator=generator)
    drawn = made(batch(), weights, [(int(option),) for option in options])
    torch.testing.assert_close(drawn, made(batch(), weights), rtol=1e-9, atol=1e-9)
    several = made(batch(), mixtures(), [(0, 1, 2, 3, 4, 4)] * 36)
    torch.testing.assert_close(several, made(batch(), mixtures()), rtol=1e-9, atol=1e-9)


def test_second_derivatives_exist_and_are_right() -> None:
    made = supernet()
    weights = mixtures()
    matrix = dict(made.named_parameters())["model.cell.steps.3.weight"]

    def gradient(choice: Tensor, create_graph: bool = False) -> Tensor:
        loss = F.cross_entropy(made(batch(), choice), batch())
        return torch.autograd.grad(loss, matrix, create_graph=create_graph)[0]

    choice = weights.clone().requires_grad_()
    direction, vector = torch.ones_like(weights), gradient(weights)
    (exact,) = torch.autograd.grad((gradient(choice, True) * vector).sum(), choice)
    step = 1e-5
    numeric = ((gradient(weights + step * direction) - gradient(weights - step * direction)) * vector).sum() / (
        2 * step
    )
    assert float((exact * direction).sum()) == pytest.approx(float(numeric), rel=1e-5)


def test_a_text_can_be_continued() -> None:
    alone = network(supernet(), published.DARTS_V2_RNN)
    first, state = alone.carry(batch()[:, :2])
    second, last = alone.carry(batch()[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=2), alone(batch()))
    torch.testing.assert_close(last, alone.carry(batch())[1])
    assert not torch.allclose(alone(batch()[:, 2:]), second)


def test_a_prediction_sees_the_words_up_to_it_only() -> None:
    made, changed = supernet(), batch()
    changed[:, 3] = (changed[:, 3] + 1) % WORDS
    a, b = made(batch(), mixtures()), made(changed, mixtures())
    assert torch.equal(a[..., :3], b[..., :3])
    assert not torch.isclose(a[..., 3:], b[..., 3:]).any()


def test_dropouts_act_in_training_only() -> None:
    alone = network(supernet(), published.DARTS_V2_RNN, dropouts=EVALUATION)
    plain = network(supernet(), published.DARTS_V2_RNN)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = alone(batch()), alone(batch())
        torch.manual_seed(0)
        assert torch.equal(first, alone(batch()))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(alone.eval()(batch()), plain(batch()))


def drawn_mask(shape: tuple[int, ...], probability: float) -> Tensor:
    return (torch.rand(shape) >= probability).double() / (1 - probability)


@pytest.mark.parametrize("name", ["embedding", "inputs", "x", "h", "outputs"])
def test_masks_are_drawn_once_and_stand_where_they_should(name: str) -> None:
    """One dropout at a time, against the equations with the mask written in."""
    made = supernet(normalize=False)
    alone = network(made, published.DARTS_V2_RNN, dropouts=Dropouts(**{name: 0.5}))
    p = dict(made.named_parameters())
    table, cell = p["model.decoder.weight"], made.model.cell
    with torch.random.fork_rng():
        torch.manual_seed(7)
        logits = alone(batch())
        torch.manual_seed(7)
        shape = {"embedding": (WORDS, 1), "h": (BATCH, UNITS)}.get(name, (BATCH, 1, UNITS))
        mask = drawn_mask(shape, 0.5)
    words = F.embedding(batch(), table * mask if name == "embedding" else table)
    if name in ("inputs", "x"):
        words = words * mask
    keep = mask if name == "h" else torch.ones((), dtype=torch.float64)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda x: x
    }  # fmt: skip
    h, outputs = torch.zeros(BATCH, UNITS, dtype=torch.float64), []
    for t in range(TIME):
        c, d = (cell.from_word(words[:, t]) + cell.from_state(keep * h)).split(UNITS, dim=1)
        states = [h + torch.sigmoid(c) * (torch.tanh(d) - h)]
        for j, (activation, i) in enumerate(SPACE.steps(published.DARTS_V2_RNN)):
            c, d = F.linear(keep * states[i], p[f"model.cell.steps.{j}.weight"]).split(UNITS, dim=1)
            states.append(states[i] + torch.sigmoid(c) * (functions[activation](d) - states[i]))
        h = torch.stack(states[1:]).mean(dim=0)
        outputs.append(h)
    hidden = torch.stack(outputs, dim=1) * (mask if name == "outputs" else 1)
    expected = (hidden @ table.T + p["model.decoder.bias"]).transpose(1, 2)
    torch.testing.assert_close(logits, expected)


def test_the_supernet_has_the_dropouts_of_its_space() -> None:
    made = darts_rnn(dropouts=SEARCH).supernet(classes=WORDS, channels=UNITS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(made(batch(), mixtures()), made(batch(), mixtures()))
        made.eval()
        assert torch.equal(made(batch(), mixtures()), made(batch(), mixtures()))


def test_embedding_and_decoder_are_one_parameter() -> None:
    alone = SPACE.network(published.DARTS_V2_RNN, classes=WORDS, channels=UNITS)
    assert sum(p.numel() for p in alone.parameters()) == WORDS * UNITS + WORDS + 20 * UNITS**2


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 3, 8, 8), r"tokens are torch.float32 of shape \(2, 3, 8, 8\); a recurrent network reads"),
        (torch.zeros(2, 3), "int64"),
        (torch.zeros(6, dtype=torch.int64), "batch, time"),
        (torch.zeros(2, 0, dtype=torch.int64), "batch, time"),
        (torch.full((2, 3), WORDS), "token 9 is out of range; the vocabulary of this network has 9 words"),
        (torch.full((2, 3), -1), "token -1 is out of range"),
        (torch.zeros(1, 3, dtype=torch.int64), "one sequence only; batch normalisation"),
    ],
)
def test_what_is_no_batch_of_tokens_is_refused(tokens: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.supernet(classes=WORDS, channels=UNITS)(tokens, torch.zeros(36, 5))


@pytest.mark.parametrize("shape", [(1, UNITS), (BATCH, UNITS + 1), (UNITS,)])
def test_a_state_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    alone = SPACE.network(published.DARTS_V2_RNN, classes=WORDS, channels=UNITS)
    with pytest.raises(InputError, match=r"the state has shape .*; 4 sequences in this network have \(4, 5\)"):
        alone.carry(batch(), torch.zeros(shape))


def test_one_sequence_is_enough_for_a_network() -> None:
    alone = SPACE.network(published.DARTS_V2_RNN, classes=WORDS, channels=UNITS)
    assert alone(torch.zeros(1, 3, dtype=torch.int64)).shape == (1, WORDS, 3)


def test_weights_of_another_space_are_refused() -> None:
    with pytest.raises(WeightsError, match="this space has"):
        supernet()(batch(), torch.zeros(28, 8))
