"""Random compositions of every role: what fits runs, stays finite and resumes bit for bit; what does not is refused at once.

Hypothesis draws the parts. `contradiction` says in words of its own which do not fit together, and why; a composition that
it allows must run, and one that it does not must be refused before the first step, with that reason.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import compositions
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_hypergrad import Implicit, Unrolled, conjugate_gradient, nystrom, sgd
from nas_search import ConfigError, ImageData, Method, methods
from nas_search.adversarial import AdversarialStep, UniformPairs
from nas_search.checkpoint import load_checkpoint, save_checkpoint
from nas_search.data_sources import fake
from nas_search.hyperparameters import LearnedHyperparameters, Range
from nas_search.loop import drive, isolated_random_state
from nas_search.losses import (
    Archive,
    Blended,
    Exploiting,
    Pieces,
    Plain,
    Replay,
    Validation,
    complement,
    diverse,
    previous,
)
from nas_search.optimizers import SGD, Adam, VariationalAdam
from nas_search.policies import LearnedOnTop
from nas_search.policy_gradient import PolicyStep
from nas_search.regularizers import Decay, Entropy
from nas_search.relaxations import (
    Autoregressive,
    Concrete,
    Dirichlet,
    EdgeSoftmax,
    GatedSoftmax,
    HardGumbel,
    Softmax,
    SparseCode,
)
from nas_search.relaxed_policy import RelaxedStep
from nas_search.roles import Event
from nas_search.samplers import Archived, Categorical, DrawnArchitecture, Novelty, Relaxed, Settled, Uniform
from nas_search.schedules import Constant, Linear
from nas_search.score_function import ScoreFunctionStep
from nas_search.selection import BestSampled, Derive
from nas_search.state import SearchState
from nas_search.updates import JointStep, OuterStep, PosteriorStep, WeightStep
from nas_spaces import SearchSpace, chain, darts, nas_bench_1shot1, nas_bench_201_small


def _chain() -> SearchSpace:
    return chain(
        3,
        {
            "conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, padding=1),
            "pool": lambda i, o, s: nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(i, o, 1)),
            "skip": lambda i, o, s: nn.Identity(),
        },
    )


SPACES: dict[str, Any] = {
    "three nodes": nas_bench_201_small,
    "1shot1": partial(nas_bench_1shot1, 1),
    "chain": _chain,
    # Three of the eight operations.
    "darts": partial(darts, exclude=("max_pool_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "avg_pool_3x3")),
}
RELAXATIONS: dict[str, Any] = {
    "none": None,
    "softmax": Softmax,
    "gumbel": partial(HardGumbel, temperature=Linear(2.0, 0.5)),
    "gumbel, all options": partial(HardGumbel, temperature=Linear(2.0, 0.5), all_options=True),
    "concrete": partial(Concrete, temperature=Constant(1.0)),
    "dirichlet": Dirichlet,
    "edges": EdgeSoftmax,
    "gates": GatedSoftmax,
    "sparse": SparseCode,
    "controller": partial(Autoregressive, hidden=8),
}
DRAWS = ("gumbel", "gumbel, all options", "controller")
"""The relaxations whose every draw is one path; that of sparse codes is one too, of two inputs a node, and is not random."""

STEPS: dict[str, Any] = {
    "none": None,
    "outer": OuterStep(),
    "two outer": OuterStep(2),
    "joint": JointStep(),
    "posterior": PosteriorStep(),
    "score": ScoreFunctionStep(),
}
HYPERGRADIENTS: dict[str, Any] = compositions.HYPERGRADIENTS | {
    "conjugate gradient": Implicit(conjugate_gradient(2, damping=1.0)),
    "nystrom": Implicit(nystrom(2, damping=1.0)),
    "unrolled": Unrolled(sgd(0.1), 2),
}
IMPLICIT = ("neumann", "amended", "identity", "conjugate gradient", "nystrom")
OUTER_LOSSES: dict[str, Any] = {
    "valid": Validation(),
    "blended": Blended(Constant(0.5)),
    "exploiting": Exploiting(Linear(0.5, 0.1)),
}
LOSSES: dict[str, Any] = {
    "plain": Plain(),
    "nsas": Replay(Pieces((diverse, diverse))),
    "complementation": Replay(Pieces((previous, complement))),
    "archive": Replay(Archive(2)),
}
SAMPLERS: dict[str, Any] = {
    "relaxed": Relaxed(),
    "uniform": Uniform(),
    "novelty": Novelty(2, perturbations=2),
    "categorical": Categorical(),
    "drawn architecture": DrawnArchitecture(),
    "archived": Archived(Relaxed(), 3),
    "settled": Settled(0.5, Relaxed()),
}
OF_RELAXATION = ("relaxed", "categorical", "drawn architecture", "archived", "settled")
"""The samplers that ask the relaxation."""
MIXTURES = ("relaxed", "settled")
"""The samplers that train mixtures where the relaxation does not draw."""

OWN_OPTIMIZER: dict[str, Any] = {"policy_optimizer": Adam(Constant(0.005), weight_decay=0.0)}
POLICIES: dict[str, dict[str, Any]] = {
    "customary": {},
    "outer": {"policy": LearnedOnTop()},
    "policy gradient": {"policy": LearnedOnTop(share="operation"), "step": PolicyStep(1, 2), **OWN_OPTIMIZER},
    "relaxed": {"policy": LearnedOnTop(per="image"), "step": RelaxedStep(), **OWN_OPTIMIZER},
    "adversarial": {"policy": UniformPairs(), "step": AdversarialStep(), **OWN_OPTIMIZER},
}
TUNED: dict[str, LearnedHyperparameters | None] = {
    "none": None,
    "log": LearnedHyperparameters(),
    "raw, valid": LearnedHyperparameters(log=False, examples="valid", optimizer=Adam(Constant(1e-3), weight_decay=0.0)),
    "momentum": LearnedHyperparameters(momentum=Range(0.9, 0.5, 0.99), examples="same"),
}
WEIGHTS: dict[str, Any] = {
    "nesterov": SGD(),
    "plain sgd": SGD(momentum=0.0, nesterov=False, clip=None),
    "adam": Adam(Constant(1e-3), weight_decay=0.0),
}
REGULARIZERS: dict[str, Any] = {
    "none": (),
    "entropy": (Entropy(Constant(0.1)),),
    "decay": (Decay(Constant(0.1)),),
}


@dataclass(frozen=True)
class Composition:
    """The names of one part for each role."""

    space: str
    relaxation: str
    step: str
    hypergradient: str
    outer_loss: str
    loss: str
    sampler: str
    policy: str
    tuned: str
    weights: str
    regularizers: str
    weights_first: bool

    def method(self) -> Method:
        policy = dict(POLICIES[self.policy])
        own, step = policy.pop("step", None), STEPS[self.step]
        # A joint step trains the weights too.
        updates = [each for each in (step, None if self.step == "joint" else WeightStep()) if each is not None]
        return replace(
            methods.darts(),
            name="composed",
            updates=tuple([own] if own is not None else []) + tuple(updates[::-1] if self.weights_first else updates),
            relaxation=RELAXATIONS[self.relaxation],
            hypergradient=HYPERGRADIENTS[self.hypergradient],
            outer_loss=OUTER_LOSSES[self.outer_loss],
            loss=LOSSES[self.loss],
            sampler=SAMPLERS[self.sampler],
            selector=BestSampled(2) if self.relaxation == "none" else Derive(),
            hyperparameters=TUNED[self.tuned],
            weights=WEIGHTS[self.weights],
            outer=VariationalAdam(observations=32) if self.step == "posterior" else Adam(),
            regularizers=REGULARIZERS[self.regularizers],
            steps=STEPS_OF_AN_EPOCH,
            **policy,
        )


STEPS_OF_AN_EPOCH = 3


def _names(parts: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from(list(parts))


COMPOSITIONS = st.builds(
    Composition,
    space=_names(SPACES),
    relaxation=_names(RELAXATIONS),
    step=_names(STEPS),
    hypergradient=_names(HYPERGRADIENTS),
    outer_loss=_names(OUTER_LOSSES),
    loss=_names(LOSSES),
    sampler=_names(SAMPLERS),
    policy=_names(POLICIES),
    tuned=_names(TUNED),
    weights=_names(WEIGHTS),
    regularizers=_names(REGULARIZERS),
    weights_first=st.booleans(),
)


@cache
def _space(name: str) -> SearchSpace:
    space: SearchSpace = SPACES[name]()
    return space


@cache
def _data() -> ImageData:
    return fake("1x8x8", count=64, classes=4)


def begin(composition: Composition) -> SearchState:
    return SearchState(
        _space(composition.space),
        _data(),
        composition.method(),
        epochs=2,
        batch_size=8,
        seed=0,
        device=torch.device("cpu"),
        channels=2,
        cells=None if composition.space == "chain" else 1,
    )


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    pass


@dataclass(frozen=True)
class _StopAfter:
    """Ends a run in the middle; an observer."""

    position: int

    def __call__(self, event: Event) -> None:
        if event.kind == "step" and event.state.position == self.position:
            raise _Stopped


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a state by where it stands, but for the clocks."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in ("seconds", "images_per_second"):
                yield from leaves(each, f"{name}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, each in enumerate(value):
            yield from leaves(each, f"{name}.{index}")
    else:
        yield name, value


def assert_finite(state: dict[str, Any]) -> None:
    for name, value in leaves(state):
        if isinstance(value, Tensor) and value.is_floating_point():
            assert value.isfinite().all(), name
        elif isinstance(value, float):
            assert abs(value) < float("inf"), name


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = dict(leaves(one)), dict(leaves(other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, Tensor) else value == second[name]
        assert same, name


def run(composition: Composition, folder: Path) -> None:
    """Five steps over the end of an epoch; saved after two of them and resumed, they end in the same state."""
    whole, file = begin(composition), folder / "checkpoint.pt"
    with isolated_random_state(0, whole.device):
        with suppress(_Stopped):
            drive(whole, observers=[_StopAfter(2)])
        save_checkpoint(file, whole.state_dict(), {})
        with suppress(_Stopped):
            drive(whole, observers=[_StopAfter(5)])
        ended = whole.state_dict()
        found = whole.method.selector(whole)
    assert whole.position == 5
    assert_finite(ended)
    resumed = begin(composition)
    with isolated_random_state(1, whole.device):  # what the global state was before is of no account
        resumed.load_state_dict(load_checkpoint(file, {}))
        with suppress(_Stopped):
            drive(resumed, observers=[_StopAfter(5)])
        assert_equal(ended, resumed.state_dict())
        assert resumed.method.selector(resumed) == found


def contradictions(composition: Composition) -> list[str]:
    """What of the message says why the parts do not fit, one for each reason; none where they do."""
    return [
        text
        for wrong, text in (*_of_space(composition), *_of_step(composition), *_of_weight_step(composition))
        if wrong
    ]


def _of_space(c: Composition) -> list[tuple[bool, str]]:
    return [
        (c.relaxation == "edges" and c.space in ("chain", "1shot1"), "edges are normalised among those that enter"),
        (c.relaxation == "gates" and c.space in ("chain", "1shot1"), "depth gates stand on edges between nodes"),
        (c.relaxation == "sparse" and c.space == "1shot1", "sparse codes choose among the edges"),
    ]


def _of_step(c: Composition) -> list[tuple[bool, str]]:
    learns = c.relaxation != "none" or c.policy == "outer"
    differs = {
        "hypergradient": c.hypergradient != "first",
        "outer_loss": c.outer_loss != "valid",
        "regularizers": c.regularizers != "none",
    }
    given = [name for name, differ in differs.items() if differ]
    used = {"none": (), "score": (), "joint": ("regularizers",)}.get(c.step, tuple(differs))
    idle = [name for name in given if name not in used]
    outer = c.step in ("outer", "two outer", "posterior", "joint")
    return [
        (bool(given) and not learns, f"sets {', '.join(given)}, but has nothing to learn in the outer problem"),
        (bool(idle), f"sets {', '.join(idle)}, which none of its updates uses"),
        (c.relaxation == "none" and c.regularizers != "none", "which is about what a relaxation learns"),
        (learns and c.step == "none", "to learn, and no update that learns them"),
        (c.policy == "outer" and c.hypergradient == "first" and c.outer_loss == "valid", "the policy would never move"),
        (c.hypergradient in IMPLICIT and c.relaxation in DRAWS, "differentiates implicitly, but its relaxation"),
        (outer and c.relaxation == "controller", "a path that a controller draws has no derivative"),
        (c.step in ("outer", "two outer") and not learns, "has an OuterStep, but nothing to learn"),
        (c.step == "posterior" and not learns, "has a PosteriorStep, which needs a relaxation or a policy"),
        (c.step == "joint" and (c.relaxation == "none" or c.policy == "outer"), "has a JointStep, which learns"),
        (c.step == "score" and c.relaxation != "controller", "a ScoreFunctionStep, which learns the relaxation Auto"),
    ]


def _of_weight_step(c: Composition) -> list[tuple[bool, str]]:
    trains_mixture = c.relaxation not in ("none", "sparse", *DRAWS)
    mixture = trains_mixture and (c.step == "joint" or c.sampler in MIXTURES)
    # A joint step differentiates what it trains.
    mixture = mixture or (c.step == "joint" and c.relaxation == "gumbel, all options")
    return [
        (c.loss != "plain" and mixture, "trains mixtures of all operations; Replay"),
        (c.sampler == "archived" and trains_mixture, "trains mixtures of all operations; an archive"),
        (c.sampler in OF_RELAXATION and c.relaxation == "none", "but has none"),
        (c.tuned == "momentum" and c.weights == "adam", "momentum cannot be learned of Adam"),
    ]


VALID = COMPOSITIONS.filter(lambda each: not contradictions(each))
INVALID = COMPOSITIONS.filter(lambda each: bool(contradictions(each)))
# Five of six compositions do not fit; a failing one is shrunk for minutes, and is short enough as it is.
HOW: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow],
}


def check_that_it_runs(composition: Composition) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(composition, Path(folder))


@settings(max_examples=20, derandomize=True, **HOW)
@given(VALID.filter(lambda each: each.space in ("three nodes", "chain")))
def test_what_fits_runs_and_resumes(composition: Composition) -> None:
    check_that_it_runs(composition)


@pytest.mark.nightly
@settings(max_examples=200, **HOW)
@given(VALID)
def test_two_hundred_that_fit_run_and_resume(composition: Composition) -> None:
    check_that_it_runs(composition)


@settings(max_examples=50, derandomize=True, **HOW)
@given(INVALID)
def test_what_does_not_fit_is_refused_with_the_reason(composition: Composition) -> None:
    with pytest.raises(ConfigError) as caught:
        begin(composition)
    assert any(text in str(caught.value) for text in contradictions(composition))
