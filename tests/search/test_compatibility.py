"""Parts that contradict each other are found when the search is made, before anything is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_hypergrad import FirstOrder, Implicit, Unrolled, amended, neumann, sgd
from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.estimators import NeumannSeries, OneStep
from nas_search.losses import Blended
from nas_search.optimizers import SGD, Adam
from nas_search.policies import LearnedOnTop
from nas_search.policy_gradient import PolicyStep
from nas_search.regularizers import Entropy
from nas_search.relaxations import HardGumbel, Softmax
from nas_search.roles import Hypergradient, HypergradientFactory
from nas_search.schedules import Constant, Linear
from nas_search.selection import InheritWeights
from nas_search.state import SearchState
from nas_search.updates import After, OuterStep
from nas_spaces import ArchitectureError, nas_bench_201


def refused(method: Method, data: ImageData, small: dict[str, Any], out: Path, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        search(nas_bench_201(), data, method, out=out, **small)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hypergradient": OneStep()}, "hypergradient"),
        ({"outer_loss": Blended(Constant(0.1))}, "outer_loss"),
        ({"regularizers": (Entropy(),)}, "regularizers"),
    ],
)
@pytest.mark.parametrize("make", [methods.random_nas, methods.random_search])
def test_outer_parts_without_anything_to_learn(
    changes: dict[str, Any],
    named: str,
    make: Callable[[], Method],
    data: ImageData,
    small: dict[str, Any],
    tmp_path: Path,
) -> None:
    method = replace(make(), **changes)
    refused(method, data, small, tmp_path / "run", f"sets {named}, but has nothing to learn in the outer problem")


def test_a_black_box_method_has_no_loss_to_differentiate(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = replace(methods.random_search(), relaxation=Softmax, hypergradient=OneStep())
    refused(method, data, small, tmp_path / "run", r"trains no supernet \(weights=None\): a black-box method")


@pytest.mark.parametrize(
    "hypergradient", [NeumannSeries(), Implicit(), Implicit(amended(0.1)), Implicit(neumann(2, 0.1))]
)
def test_implicit_differentiation_of_drawn_paths(
    hypergradient: Any, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = replace(methods.gdas(), hypergradient=hypergradient)
    refused(method, data, small, tmp_path / "run", r"its relaxation HardGumbel draws paths.*Take FirstOrder or OneStep")


@pytest.mark.parametrize("make", [methods.darts, methods.idarts])
def test_a_learning_rate_of_zero(make: Any, data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = make(2, learning_rate=0.0)
    refused(method, data, small, tmp_path / "run", r"does not fit its weights' optimiser: (lr|step_size) is 0\.0")


def test_parts_that_no_update_uses(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    method = replace(methods.snas(), hypergradient=OneStep(), outer_loss=Blended(Constant(0.1)))
    refused(
        method,
        data,
        small,
        out,
        "'snas' sets hypergradient, outer_loss, which none of its updates uses: leave them out",
    )
    method = replace(methods.random_nas(), relaxation=Softmax)
    refused(
        method, data, small, out, "has relaxation.logits to learn, and no update that learns them: give it an OuterStep"
    )
    refused(replace(methods.darts(), train_share=1.0), data, small, out, "train_share")
    refused(replace(methods.idarts(), train_share=1.0), data, small, out, "train_share")


def test_a_policy_optimizer_that_no_update_uses(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = replace(methods.gdas(), policy=LearnedOnTop(), policy_optimizer=Adam())
    refused(
        method, data, small, tmp_path / "run", r"policy_optimizer, and no update that takes a step with it.*PolicyStep"
    )


def test_a_policy_step_that_would_come_late(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    method = replace(methods.gdas(), updates=(*methods.gdas().updates, After(0.5, PolicyStep())))
    refused(method, data, small, out, "'gdas' has a PolicyStep, which needs a supernet, a policy that learns")
    refused(replace(methods.daas(), train_share=1.0), data, small, out, "train_share")


@pytest.mark.parametrize("relaxation", [HardGumbel, None])
def test_weights_that_no_one_network_has(
    relaxation: Any, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = replace(methods.random_nas(), network=InheritWeights())
    message = "inherits weights from its relaxation's supernet, but has none"
    if relaxation is not None:
        method, message = replace(methods.gdas(), network=InheritWeights()), "relaxation HardGumbel draws those of"
    refused(method, data, small, tmp_path / "run", message)


@pytest.mark.parametrize(("text", "match"), [("", "searches for a given network"), ("foo", "at position 0 of 'foo'")])
def test_a_network_that_is_not_given(
    text: str, match: str, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, ArchitectureError), match=match):
        search(nas_bench_201(), data, methods.augment_only(network=text), out=tmp_path / "run", **small)
    assert not (tmp_path / "run").exists()


def test_an_update_that_does_not_say_what_it_uses(data: ImageData, small: dict[str, Any]) -> None:
    class Own:
        def __call__(self, state: SearchState, batch: Any) -> dict[str, torch.Tensor]:
            return dict(OuterStep()(state, batch))

    search(nas_bench_201(), data, replace(methods.darts(2), updates=(Own(),)), **small | {"epochs": 1})


class Dampened(SGD):
    """An optimiser with an option that the virtual step does not have."""

    def build(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, dampening=0.5)


def test_an_optimizer_without_counterpart(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = replace(methods.darts(2), weights=Dampened())
    refused(method, data, small, tmp_path / "run", "does not fit its weights' optimiser.*dampening")


ESTIMATORS: list[Hypergradient | HypergradientFactory] = [
    FirstOrder(),
    OneStep(),
    Unrolled(sgd(0.01), steps=2),
    NeumannSeries(1),
    Implicit(amended(0.1)),
    Implicit(neumann(1, 0.01)),
]


@pytest.mark.parametrize("relaxation", [Softmax, HardGumbel])
@pytest.mark.parametrize("hypergradient", ESTIMATORS, ids=lambda value: type(value).__name__)
def test_every_other_pair_takes_a_step(
    relaxation: Any, hypergradient: Any, data: ImageData, small: dict[str, Any]
) -> None:
    method = replace(methods.darts(), relaxation=relaxation, hypergradient=hypergradient)
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    if relaxation is HardGumbel and isinstance(hypergradient, NeumannSeries | Implicit):
        with pytest.raises(ConfigError):
            SearchState(nas_bench_201(), data, method, **settings)
        return
    state = SearchState(nas_bench_201(), data, method, **settings)
    before = state.outer_parameters()["relaxation.logits"].detach().clone()
    figures = state.advance()
    assert all(torch.isfinite(value) for value in figures.values())
    assert not torch.equal(state.outer_parameters()["relaxation.logits"], before)


def test_a_hypergradient_that_overflows_says_where(data: ImageData, small: dict[str, Any]) -> None:
    from nas_search import NonFiniteError
    from nas_search.batches import Batch

    method = methods.darts(2)
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    next(iter(state.require_supernet().parameters())).data.fill_(torch.nan)
    with pytest.raises(
        NonFiniteError, match=r"in epoch 1, step 1 of the search: the hypergradient is NaN or infinite.*smaller"
    ):
        OuterStep()(state, Batch(state.train, state.valid, 0))


def test_a_schedule_of_the_weights_is_followed(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.darts(2), weights=SGD(Linear(0.1, 0.05)))
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    state.epoch = 1
    assert isinstance(method.hypergradient, OneStep)
    estimator: Any = method.hypergradient.at(state)
    assert list(estimator.inner_step.step.lr.values()) == pytest.approx([0.075] * len(estimator.inner_step.step.lr))


@pytest.mark.parametrize("name", ["random_nas", "random_search", "hyperband", "regularized_evolution"])
def test_what_scores_needs_validation_images(name: str, data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = replace(getattr(methods, name)(), train_share=1.0)
    refused(method, data, small, tmp_path / "run", "trains on all images")


@pytest.mark.parametrize(
    ("method", "named"),
    [
        (methods.daas(warmup=0.95), "begins its PolicyStep after 0.95 of the run, which ends before, with its 4 steps"),
        (methods.pc_darts(warm_up=0.8), "begins its OuterStep after 0.8 of the run"),
        (methods.sequential_dha(share=0.9), "begins its .* after 0.9 of the run"),
    ],
)
def test_what_would_never_begin(
    method: Method, named: str, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    refused(method, data, small, tmp_path / "run", named)
