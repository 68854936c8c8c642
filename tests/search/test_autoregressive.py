"""The controller's distribution against its laws, and its score-function gradient against enumeration."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.objective import accuracy, cross_entropy
from nas_search.relaxations import Autoregressive
from nas_search.roles import ChoiceWeights
from nas_search.samplers import DrawnArchitecture, architecture_of
from nas_search.score_function import ScoreFunctionStep, negative_loss, score_function_terms
from nas_search.state import SearchState
from nas_spaces import Choices, Drawn, SearchSpace, darts, nas_bench_201

CHOICES = Choices(options=(("a", "b", "c"), ("a", "b"), ("a", "b", "c", "d")), picks=(1, 1, 2))
PATHS: list[Drawn] = [
    ((a,), (b,), pair) for a in range(3) for b in range(2) for pair in itertools.combinations(range(4), 2)
]


def controller(choices: Choices = CHOICES, scale: float = 10.0, **settings: Any) -> Autoregressive:
    """A controller in float64 with large weights, so that its conditionals differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Autoregressive(choices, **({"hidden": 8} | settings)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def test_the_probabilities_of_all_paths_add_up_to_one() -> None:
    log_probs = controller().log_prob(PATHS)
    assert log_probs.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    assert log_probs.std() > 0.1


def test_the_probabilities_of_all_architectures_add_up_to_one() -> None:
    space = nas_bench_201()
    paths = [architecture.options for architecture in space]
    with torch.no_grad():
        total = controller(space.choices).log_prob(paths).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-10)


def test_a_decision_depends_on_those_before() -> None:
    """The conditional distribution of the second row differs with what the first one took."""
    log_probs = controller().log_prob(PATHS).exp().reshape(3, 2, 6).sum(dim=2)
    conditional = log_probs[:, 0] / log_probs.sum(dim=1)
    assert conditional.max() - conditional.min() > 0.01


@torch.no_grad()
def test_paths_are_drawn_as_often_as_they_are_probable() -> None:
    relaxation, generator = controller(), torch.Generator().manual_seed(0)
    index = {path: place for place, path in enumerate(PATHS)}
    counts = torch.zeros(len(PATHS), dtype=torch.float64)
    draws = 1000
    for _ in range(draws):
        weights, drawn = relaxation(relaxation.noise(generator), 0.0)
        assert drawn is not None
        assert torch.equal(weights, CHOICES.one_hot(drawn).double())
        counts[index[drawn]] += 1
    expected = draws * relaxation.log_prob(PATHS).exp()
    # Chi-squared with 35 degrees of freedom: above 66.6 once in a thousand.
    assert ((counts - expected).square() / expected).sum() < 66.6


@torch.no_grad()
def test_the_most_probable_decisions_are_taken_without_noise() -> None:
    relaxation = controller()
    _, drawn = relaxation(None, 0.0)
    probabilities = relaxation.probabilities()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3).double())
    assert probabilities[1, 2] == 0
    assert drawn is not None
    assert drawn[0] == (int(probabilities[0].argmax()),)
    first = relaxation.log_prob(PATHS).exp().reshape(3, -1).sum(dim=1)
    torch.testing.assert_close(probabilities[0, :3], first)


def rewards_of(paths: list[Drawn]) -> torch.Tensor:
    return torch.rand(len(paths), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("baseline", [0.0, 0.7])
@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_the_score_function_is_the_gradient_of_the_expected_reward(baseline: float, entropy: float) -> None:
    """All paths, each with its probability: minus the gradient of ``sum p R + entropy H(p)``."""
    relaxation, rewards = controller(), rewards_of(PATHS)
    parameters = list(relaxation.parameters())
    log_probs = relaxation.log_prob(PATHS)
    objective = (log_probs.exp() * (rewards - entropy * log_probs)).sum()
    exact = torch.autograd.grad(objective, parameters)
    log_probs = relaxation.log_prob(PATHS)
    terms = log_probs.detach().exp() * score_function_terms(log_probs, rewards, baseline, entropy)
    found = torch.autograd.grad(terms.sum(), parameters)
    assert max(float(gradient.abs().max()) for gradient in exact) > 1e-3
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours, -theirs, rtol=0, atol=1e-10)


def test_what_cannot_be_drawn_has_no_probability() -> None:
    for path in (((0,), (0,), (1, 0)), ((0,), (0,), (1, 1)), ((0,), (0,), (1,)), ((0,), (2,), (0, 1)), ((0,),)):
        with pytest.raises(ConfigError, match="is none that the controller draws; expected"):
            controller().log_prob([path])


def test_a_derivative_of_a_draw_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.enas(samples=2), updates=methods.gdas().updates)
    with pytest.raises(ConfigError, match="has no derivative; learn it with a ScoreFunctionStep"):
        search(nas_bench_201(), data, method, **small)


def test_settings_out_of_range_are_refused(data: ImageData, small: dict[str, Any]) -> None:
    for settings in ({"temperature": 0.0}, {"tanh_constant": -1.0}, {"hidden": 0}, {"layers": 0}):
        with pytest.raises(ConfigError, match="expected"):
            Autoregressive(CHOICES, **settings)
    for step in ({"samples": 0}, {"baseline_decay": 1.0}, {"entropy": -0.1}):
        with pytest.raises(ConfigError, match="expected"):
            ScoreFunctionStep(**step)
    with pytest.raises(ConfigError, match="reward of enas is 'f1'; expected 'accuracy' or 'loss'"):
        methods.enas(reward="f1")
    method = replace(methods.gdas(), updates=(ScoreFunctionStep(),))
    with pytest.raises(ConfigError, match="learns the relaxation Autoregressive; its relaxation is HardGumbel"):
        search(nas_bench_201(), data, method, **small)


def begin(data: ImageData, small: dict[str, Any], space: SearchSpace | None = None, **settings: Any) -> SearchState:
    options = small | {"seed": 0, "device": torch.device("cpu")}
    return SearchState(space or nas_bench_201(), data, methods.enas(**settings), **options)


def test_a_step_is_that_of_its_equation(data: ImageData, small: dict[str, Any]) -> None:
    """One plain gradient step, with the draws of the same generator, against the formula written out."""
    state = begin(data, small, reward="loss")
    relaxation = state.relaxation
    assert isinstance(relaxation, Autoregressive)
    state.memory["reward_baseline"] = -1.5
    state.outer_optimizer = torch.optim.SGD(relaxation.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in relaxation.parameters()]
    random, batch = state.generator.get_state(), Batch(state.train, state.valid, 0)
    images, labels = state.normalize(batch.valid.images), batch.valid.labels
    paths, rewards = [], []
    with torch.no_grad():
        drawn = [relaxation(relaxation.noise(state.generator), 0.0) for _ in range(3)]
        for path in drawn:
            assert path.drawn is not None
            paths.append(path.drawn)
            rewards.append(-cross_entropy(state.require_supernet()(images, path.weights, path.drawn), labels))
    log_probs = relaxation.log_prob(paths)
    loss = sum((-(r + 1.5 - 0.1 * p.detach()) * p for r, p in zip(rewards, log_probs, strict=True)), torch.zeros(()))
    expected = torch.autograd.grad(loss / 3, list(relaxation.parameters()))
    state.generator.set_state(random)
    figures = ScoreFunctionStep(3, negative_loss, 0.9, 0.1)(state, batch)
    for old, new, gradient in zip(before, relaxation.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, 1e-3 * gradient, rtol=1e-3, atol=1e-8)
    mean = float(torch.stack(rewards).mean())
    assert figures["reward"].item() == pytest.approx(mean)
    assert state.memory["reward_baseline"] == pytest.approx(0.9 * -1.5 + 0.1 * mean)


def test_the_controller_learns_what_is_rewarded(data: ImageData, small: dict[str, Any]) -> None:
    """The reward is the share of 3x3 convolutions: it becomes more than the fifth that chance gives."""
    state = begin(data, small, architecture_learning_rate=0.1)
    convolution = state.space.choices.options[0].index("nor_conv_3x3")
    last: list[ChoiceWeights] = []
    supernet = state.require_supernet()
    supernet.register_forward_pre_hook(lambda _, inputs: last.append(ChoiceWeights(*inputs[1:])))

    def reward(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return last[-1].weights[:, convolution].mean()

    step, batch = ScoreFunctionStep(5, reward, 0.9, 0.0), Batch(state.train, state.valid, 0)
    rewards = [step(state, batch)["reward"].item() for _ in range(40)]
    assert sum(rewards[:5]) / 5 < 0.4
    assert sum(rewards[-5:]) / 5 > 0.7


def test_the_edges_of_a_node_are_drawn_equally_often_and_none_leaves_one_out() -> None:
    """In the DARTS space a path has an operation on every edge, and an architecture two edges a node."""
    space = darts()
    state: Any = type("State", (), {"space": space, "generator": torch.Generator().manual_seed(0)})
    path = ((3,),) * len(space.choices)
    counts = torch.zeros(len(space.choices))
    for _ in range(300):
        drawn = architecture_of(state, ChoiceWeights(space.choices.one_hot(path), path)).drawn
        assert drawn is not None
        counts += torch.tensor([len(options) for options in drawn])
    last = counts[list(space.choices.nodes[3])] / 300  # five edges, two of which are kept
    assert (last - 0.4).abs().max() < 0.12
    without = tuple((0,) if row in space.choices.nodes[3][:2] else (3,) for row in range(len(path)))
    for _ in range(20):
        drawn = architecture_of(state, ChoiceWeights(space.choices.one_hot(without), without)).drawn
        assert drawn is not None
        assert not any(drawn[row] for row in space.choices.nodes[3][:2])


def test_edges_that_a_path_leaves_out_and_a_node_needs_have_any_operation() -> None:
    space = darts()
    state: Any = type("State", (), {"space": space, "generator": torch.Generator().manual_seed(0)})
    names = space.choices.options[0]
    nothing = ((names.index("none"),),) * len(space.choices)
    counts = torch.zeros(len(names))
    for _ in range(100):
        drawn = architecture_of(state, ChoiceWeights(space.choices.one_hot(nothing), nothing)).drawn
        assert drawn is not None
        for (option,) in filter(None, drawn):
            counts[option] += 1
    assert counts[names.index("none")] == 0
    expected = counts.sum() / (len(names) - 1)
    others = torch.cat([counts[: names.index("none")], counts[names.index("none") + 1 :]])
    assert float(((others - expected).square() / expected).sum()) < 27.9  # 6 degrees of freedom, p = 1e-4


def test_a_path_of_independent_rows_is_its_architecture(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    random = state.generator.get_state()
    with torch.no_grad():
        assert state.relaxation is not None
        path = state.relaxation(state.relaxation.noise(state.generator), 0.0)
    state.generator.set_state(random)
    assert DrawnArchitecture()(state).drawn == path.drawn


def test_accuracy_is_the_default_reward() -> None:
    assert ScoreFunctionStep().reward is accuracy
