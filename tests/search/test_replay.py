"""NSAS and complementation: the loss against its equation, what is replayed against the laws of the papers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.archive import most_novel, novelty
from nas_search.losses import Archive, Pieces, Replay, complement, diverse, previous, random_path
from nas_search.roles import ChoiceWeights
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import Choices, Drawn, SearchSpace, amended_s2, darts, nas_bench_1shot1, nas_bench_101, nas_bench_201


def begin(data: ImageData, small: dict[str, Any], space: SearchSpace | None = None) -> SearchState:
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    return SearchState(space or nas_bench_201(), data, methods.random_nas(), **settings)


def draw(state: SearchState, seed: int) -> Drawn:
    return state.space.sample(torch.Generator().manual_seed(seed)).options


def pairs(path: Drawn) -> set[tuple[int, int]]:
    return {(row, option) for row, options in enumerate(path) for option in options}


def test_novelty_is_the_mean_distance_to_the_nearest() -> None:
    assert novelty([5.0, 1.0, 3.0, 2.0], 3) == 2.0
    assert novelty([5.0, 1.0], 10) == 3.0
    assert most_novel([0.0, 4.0, 9.0, 5.0], [0.0, 10.0], lambda a, b: abs(a - b), 1) == 5.0
    with pytest.raises(ConfigError, match="0 neighbours"):
        novelty([1.0], 0)


def test_five_diverse_paths_have_every_operation_on_every_edge_once(data: ImageData, small: dict[str, Any]) -> None:
    """Both assumptions of Lemma 1: they cover every path, and share no weight with each other."""
    state = begin(data, small)
    for seed in range(20):
        paths = Pieces((random_path, diverse, diverse, diverse, diverse))(state, draw(state, seed))
        for row in range(6):
            assert sorted(path[row][0] for path in paths) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("space", [nas_bench_201(), darts()], ids=lambda space: space.name)
def test_the_complement_covers_the_current_path_and_shares_nothing(
    space: SearchSpace, data: ImageData, small: dict[str, Any]
) -> None:
    state = begin(data, small, space)
    for seed in range(30):
        current, before = draw(state, seed), draw(state, seed + 1000)
        state.memory["previous_path"] = before
        old, made = Pieces((previous, complement))(state, current)
        assert old == before
        assert pairs(current) <= pairs(old) | pairs(made)
        assert not pairs(old) & pairs(made)
        same = pairs(current) & pairs(before)
        assert pairs(current) - same == pairs(made) & pairs(current)
        assert all(space.choices.options[row][option] != "none" for row, option in pairs(made)) or space.name != "darts"


REPLAYED = {
    "nsas": (random_path, *(diverse,) * 4),
    "g": (random_path, diverse, complement),
    "lg": (previous, diverse, complement),
    "e2nas": (previous, complement),
}


@pytest.mark.parametrize("strategy", REPLAYED)
@pytest.mark.parametrize(
    "space",
    [
        *(nas_bench_1shot1(part) for part in (1, 2, 3)),
        nas_bench_101(),
        darts(),
        darts(inputs=True),
        darts(free=True),
        amended_s2(),
    ],
    ids=lambda space: space.name,
)
def test_what_is_replayed_is_an_architecture_of_the_space(space: SearchSpace, strategy: str) -> None:
    """Rows that say what reads what are those of one architecture, whether they have one option or several."""
    state: Any = SimpleNamespace(space=space, generator=torch.Generator().manual_seed(0), memory={})
    made = 0
    for seed in range(12):
        current = draw(state, seed)
        for path in Pieces(REPLAYED[strategy])(state, current):
            made += 1
            found = space.discretize(space.choices.one_hot(path)).options
            if space.name == "nas_bench_101":  # vertices may be numbered otherwise
                assert sorted(map(tuple, found[:21])) == sorted(map(tuple, path[:21]))
                assert sorted(map(tuple, found[21:])) == sorted(map(tuple, path[21:]))
            else:
                assert found == path
        state.memory["previous_path"] = current
    assert made >= 12 * len(REPLAYED[strategy]) - 1


def test_rows_with_several_picks_are_wiring_without_a_word() -> None:
    """As in a space of somebody's own that does not say so."""
    choices = Choices((("a", "b"), ("0", "1", "2")), picks=(1, 2))
    assert choices.wiring == {1}
    assert Choices((("a", "b"), ("0", "1")), picks=(1, 1), wiring=frozenset({1})).wiring == {1}


def test_two_connections_of_one_state_are_two_operations(data: ImageData, small: dict[str, Any]) -> None:
    """The DARTS space as RandomNAS and NSAS draw in it: such a row shares no operation with the paths before either."""
    space = darts(free=True)
    state = begin(data, small, space)
    seen = 0
    for seed in range(60):
        current, before = draw(state, seed), draw(state, seed + 1000)
        state.memory["previous_path"] = before
        old, made, other = Pieces((previous, complement, diverse))(state, current)
        seen += sum(len(row) == 2 for row in current)
        assert pairs(current) <= pairs(old) | pairs(made)
        assert not pairs(old) & pairs(made)
        assert not pairs(other) & (pairs(old) | pairs(made))
        assert all(len(set(row)) == len(row) for row in other)
    assert seen


def test_covering_variants_cover_the_current_path(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    for seed in range(30):
        current = draw(state, seed)
        state.memory["previous_path"] = draw(state, seed + 1000)
        for pieces in ((random_path, diverse, complement), (previous, diverse, complement)):
            chosen = Pieces(pieces)(state, current)
            assert pairs(current) <= set().union(*map(pairs, chosen))


def test_the_depth_constrained_space_of_nsas_c_is_searched_and_what_is_replayed_stays_in_it(
    data: ImageData, small: dict[str, Any]
) -> None:
    """Every node reads state 0 and the state just before it, in the current path and in all that are replayed."""
    space = darts(depth_constrained=True)
    state = begin(data, small, space)
    for pieces in ((random_path, *(diverse,) * 6), (random_path, diverse, complement)):
        paths = Pieces(pieces)(state, draw(state, 0))
        for path in paths:
            architecture = space.discretize(space.choices.one_hot(path))
            assert architecture.options == path
            assert [state for _, state in sum(space.cells(architecture)["normal"], ())] == [0, 1, 0, 2, 0, 3, 0, 4]
    # Seven diverse paths have each of the seven operations on each of the sixteen edges once.
    paths = Pieces((random_path, *(diverse,) * 6))(state, draw(state, 1))
    assert all(sorted(path[row][0] for path in paths) == [1, 2, 3, 4, 5, 6, 7] for row in range(len(paths[0])))
    for strategy in ("nsas", "archive", "lg"):
        method = methods.nsas(strategy=strategy, constraints=2)
        method = replace(method, steps=3, selector=replace(method.selector, samples=2))  # type: ignore[type-var]
        result = search(space, data, method, **small | {"cells": 2, "batch_size": 4, "epochs": 1})
        assert space.parse(str(result.architecture)) == result.architecture


def test_nothing_is_replayed_before_there_is_a_previous_path(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    assert Pieces((previous,))(state, draw(state, 0)) == []
    loss = Replay(Pieces((previous,)), 0.5)(lambda choice: torch.tensor(3.0), choice(state, 0), state)
    assert loss.item() == 3.0


def choice(state: SearchState, seed: int) -> ChoiceWeights:
    path = draw(state, seed)
    return ChoiceWeights(state.space.choices.one_hot(path), path)


def gradient(state: SearchState, loss: torch.Tensor) -> torch.Tensor:
    parameters = list(state.require_supernet().parameters())
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, grads, strict=True)]
    )


def test_the_gradient_is_that_of_equation_3_6(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    images, labels = state.normalize(data.train.images[:16]), data.train.labels[:16]

    def evaluate(choice: ChoiceWeights) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(state.require_supernet()(images, *choice), labels)

    fixed = [draw(state, seed) for seed in (1, 2, 3)]
    loss = Replay(lambda state, current: fixed, 0.3)(evaluate, choice(state, 0), state)
    each = [gradient(state, evaluate(choice(state, seed))) for seed in range(4)]
    torch.testing.assert_close(gradient(state, loss), 0.7 * each[0] + 0.1 * (each[1] + each[2] + each[3]))
    # Lemma 1: up to the factor 1 - beta it is the current loss plus gamma times the sum over the constraints (Eq. A.2).
    gamma = 0.3 / (0.7 * 3)
    torch.testing.assert_close(gradient(state, loss) / 0.7, each[0] + gamma * (each[1] + each[2] + each[3]))
    # The released DARTS-space code: only the learning rate changes.
    released = Replay(lambda state, current: fixed, 0.3, gradients=False)(evaluate, choice(state, 0), state)
    torch.testing.assert_close(released.detach(), loss.detach())
    torch.testing.assert_close(gradient(state, released), 0.7 * each[0])


def test_under_the_assumptions_of_lemma_1_every_weight_is_held_by_one_constraint(
    data: ImageData, small: dict[str, Any]
) -> None:
    """The posterior factorises (Eq. A.1): of M = 5 diverse constraints one alone has a gradient in an operation's weights."""
    state = begin(data, small)
    images, labels = state.normalize(data.train.images[:16]), data.train.labels[:16]
    supernet, current = state.require_supernet(), choice(state, 0)
    assert current.drawn is not None
    paths = Pieces((diverse,) * 5)(state, current.drawn)
    names, parameters = zip(*supernet.named_parameters(), strict=True)
    held = [torch.zeros_like(parameter) for parameter in parameters]
    for path in paths:
        loss = torch.nn.functional.cross_entropy(supernet(images, state.space.choices.one_hot(path), path), labels)
        for count, grad in zip(held, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            count += 0 if grad is None else (grad != 0)
    # Numbered by element, as the edges of an operation are side by side in a tensor. A path that is cut off has no gradient.
    inside = [count for name, count in zip(names, held, strict=True) if ".conv_" in name]
    assert max(float(count.max()) for count in inside) == 1
    assert sum(float(count.sum()) for count in inside) > 0.7 * sum(count.numel() for count in inside)
    assert float(held[names.index("body.classifier.weight")].max()) > 1  # the classifier is everybody's


def test_near_the_optimum_of_the_constraints_replay_is_the_penalty_of_weight_plasticity(
    data: ImageData, small: dict[str, Any]
) -> None:
    """``beta / M`` times the quadratic form of their Hessian, with an error of higher order (Lemma 1, Laplace's limit).

    Losses are ``sum cosh(w - best)`` over the weights of a path: 1/2 (w - best)^2 up to a constant, and no more than that.
    """
    state, beta = begin(data, small), 0.4
    best = torch.randn(state.space.choices.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = torch.randn(best.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def error(distance: float) -> float:
        weights = (best + distance * direction).requires_grad_()

        def evaluate(choice: ChoiceWeights) -> torch.Tensor:
            return (choice.weights * torch.cosh(weights - best)).sum()

        loss = Replay(Pieces((diverse,) * 5), beta)(evaluate, choice(state, 0), state)
        (pull,) = torch.autograd.grad(loss - (1 - beta) * evaluate(choice(state, 0)), weights)
        return float((pull - beta / 5 * (weights.detach() - best)).norm() / distance)

    # Every weight of the supernet is pulled back, those of the current path too; the error is cubic.
    assert error(1e-1) < 1e-2
    assert error(1e-3) == pytest.approx(1e-4 * error(1e-1), rel=0.05)


def test_the_archive_follows_algorithms_2_and_3(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    space, chooser = state.space, Archive(3, neighbors=2, recent=4)
    seen = [space.sample(torch.Generator().manual_seed(seed)) for seed in range(30)]
    members: list[Any] = []
    for step, architecture in enumerate(seen):
        replayed = chooser(state, architecture.options)
        if len(members) < 3:
            assert replayed == []
            members.append(architecture)
            continue
        near = min(range(3), key=lambda place: space.distance(architecture, members[place]))
        others = [member for place, member in enumerate(members) if place != near]

        def worth(each: Any, others: list[Any] = others) -> float:
            return sum(space.distance(each, other) for other in others) / 2

        best = max(seen[max(0, step - 3) : step + 1], key=worth)
        if worth(best) > worth(members[near]):
            members[near] = best
        assert replayed == [member.options for member in members]


def test_the_archive_of_paths_with_an_operation_on_every_edge_keeps_all_edges(
    data: ImageData, small: dict[str, Any]
) -> None:
    space = darts()
    state = SearchState(
        space, data, methods.nsas(base="gdas"), **small | {"cells": 3, "seed": 0, "device": torch.device("cpu")}
    )
    chooser, drawn = Archive(4), torch.Generator().manual_seed(1)
    counts = torch.zeros(len(space.choices))
    for _ in range(200):
        path = tuple((int(torch.randint(1, 8, (), generator=drawn)),) for _ in space.choices.options)
        chooser(state, path)
        counts += torch.tensor([len(options) for options in space.parse(state.memory["replay_recent"][-1]).options])
    for rows in space.choices.nodes[1:4]:
        shares = counts[list(rows)] / 200
        assert (shares - 2 / len(rows)).abs().max() < 0.15


def test_the_archive_becomes_more_diverse_and_does_not_grow(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    space, generator, chooser = state.space, torch.Generator().manual_seed(0), Archive(5)

    def spread() -> float:
        members = [space.parse(text) for text in state.memory["replay_archive"]]
        return sum(space.distance(a, b) for a in members for b in members) / 20

    for _ in range(12):
        chooser(state, space.sample(generator).options)
    early = spread()
    for _ in range(300):
        chooser(state, space.sample(generator).options)
    assert spread() > early
    assert len(state.memory["replay_archive"]) == 5
    assert len(state.memory["replay_recent"]) == 50


@pytest.mark.parametrize("strategy", ["g", "lg", "archive", "random", "previous", "previous+random"])
def test_every_strategy_searches_and_resumes(strategy: str) -> None:
    method = methods.nsas(strategy=strategy, constraints=2, beta=0.4)
    check_method(replace(method, selector=replace(method.selector, samples=5)))  # type: ignore[type-var]


def test_gdas_replays_too() -> None:
    check_method(methods.nsas(base="gdas", constraints=2, beta=0.2))


def test_the_settings_of_the_base_reach_it() -> None:
    rates: Any = {"learning_rate": 20.0, "weight_decay": 5e-7, "momentum": 0.0, "clip": 0.25}
    assert methods.nsas(**rates).weights == methods.random_nas(**rates).weights
    both = rates | {"architecture_learning_rate": 0.01, "architecture_weight_decay": 0.0}
    given, base = methods.nsas(base="gdas", **both), methods.gdas(**both)
    assert (given.weights, given.outer) == (base.weights, base.outer)
    assert methods.nsas().weights == methods.random_nas().weights
    assert methods.nsas(base="gdas").outer == methods.gdas().outer


def test_what_makes_no_sense_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    for settings in (
        {"base": "darts"},
        {"strategy": "greedy"},
        {"strategy": "g", "constraints": 1},
        {"strategy": "archive", "constraints": 1},
    ):
        with pytest.raises(ConfigError, match="nsas"):
            methods.nsas(**settings)
    for count in (0, 2.5):
        with pytest.raises(ConfigError, match=f"constraints is {count}; expected"):
            methods.nsas(constraints=count)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="constraints is 1; an archive needs 2 or more"):
        Archive(1)
    with pytest.raises(ConfigError, match=r"beta is 1.5"):
        methods.nsas(beta=1.5)
    mixed = replace(methods.darts(), loss=Replay(Pieces((random_path,))))
    with pytest.raises(ConfigError, match="trains mixtures"):
        search(nas_bench_201(), data, mixed, **small)
