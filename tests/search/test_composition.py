"""Any relaxation x any hypergradient x any policy estimator x learned hyper-parameters: each runs and moves all, or is refused."""

import itertools
import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from compositions import HYPERGRADIENTS

from nas_augment import daas
from nas_search import ConfigError, ImageData, Method, methods
from nas_search.adversarial import AdversarialStep, UniformPairs
from nas_search.estimators import OneStep
from nas_search.hyperparameters import LearnedHyperparameters, Range
from nas_search.losses import Blended
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Concrete, Dirichlet, EdgeSoftmax, HardGumbel, Softmax, SparseCode
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.updates import JointStep
from nas_spaces import nas_bench_201

RELAXATIONS: dict[str, Any] = {
    "softmax": Softmax,
    "gumbel": partial(HardGumbel, temperature=Constant(1.0)),
    "concrete": partial(Concrete, temperature=Constant(1.0)),
    "dirichlet": Dirichlet,
    "edges": EdgeSoftmax,
    "sparse": SparseCode,
}
POLICIES: dict[str, dict[str, Any]] = {
    "customary": {},
    "score": {"policy": daas},
    "adversarial": {"policy": UniformPairs(), "policy_optimizer": SGD(Constant(1.0), clip=None)},
}
TUNED: dict[str, LearnedHyperparameters | None] = {
    "none": None,
    "all": LearnedHyperparameters(momentum=Range(0.9, 0.5, 0.99)),
    "raw": LearnedHyperparameters(log=False, examples="valid", optimizer=Adam(Constant(1e-3), weight_decay=0.0)),
    "groups": LearnedHyperparameters(groups=("", "body.stem"), examples="same"),
}
EVERY = list(itertools.product(RELAXATIONS, HYPERGRADIENTS, POLICIES, TUNED))


def compose(relaxation: str, hypergradient: str, policy: str, tuned: str) -> Method:
    base = methods.darts()
    return replace(
        base,
        updates=((AdversarialStep(),) if policy == "adversarial" else ()) + base.updates,
        relaxation=RELAXATIONS[relaxation],
        hypergradient=HYPERGRADIENTS[hypergradient],
        hyperparameters=TUNED[tuned],
        **POLICIES[policy],
    )


def contradiction(relaxation: str, hypergradient: str, policy: str) -> str | None:
    if policy == "score" and hypergradient == "first":
        return "the policy would never move"
    if relaxation == "gumbel" and hypergradient in ("neumann", "amended", "identity"):
        return "differentiates implicitly, but its relaxation HardGumbel draws paths"
    return None


def values(state: SearchState) -> dict[str, torch.Tensor]:
    found = {name: value.detach().clone() for name, value in state.outer_parameters().items()}
    found |= {f"policy.{name}": value.detach().clone() for name, value in state.policy.named_parameters()}
    if state.hyperparameters is not None:
        found |= {f"tuned.{name}": value.detach().clone() for name, value in state.hyperparameters.named_parameters()}
    return found


@pytest.mark.parametrize("combination", random.Random(0).sample(EVERY, 24), ids=" x ".join)
def test_a_combination_moves_all_that_it_learns_or_is_refused(
    combination: tuple[str, str, str, str], data: ImageData, small: dict[str, Any]
) -> None:
    method, match = compose(*combination), contradiction(*combination[:3])
    settings = small | {"seed": 0, "device": torch.device("cpu"), "channels": 3}
    if match is not None:
        with pytest.raises(ConfigError, match=match):
            SearchState(nas_bench_201(), data, method, **settings)
        return
    state = SearchState(nas_bench_201(), data, method, **settings)
    before = values(state)
    figures = state.advance()
    assert all(torch.isfinite(value) for value in figures.values())
    # Whether the operations that were drawn have levels, and so whether their logits move, is chance.
    sure = [name for name in before if not name.startswith("policy.") or name == "policy.choice_logits"]
    still = [name for name in sure if torch.equal(values(state)[name], before[name])]
    assert not still


def test_the_sample_has_what_is_refused_and_what_runs() -> None:
    refused = [contradiction(*each[:3]) for each in random.Random(0).sample(EVERY, 24)]
    assert 2 <= sum(each is not None for each in refused) <= 20


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"policy_optimizer": SGD()}, "a policy_optimizer, but nothing of its policy FixedPolicy is learned"),
        ({"policy": daas}, "the policy would never move"),
        (
            {"updates": (JointStep(),), "policy": daas, "hypergradient": OneStep()},
            "has a JointStep, which learns the parameters of a relaxation and nothing",
        ),
        (
            {
                "train_share": 1.0,
                "updates": (JointStep(),),
                "hyperparameters": LearnedHyperparameters(examples="valid"),
            },
            "are to be learned on validation images, but the method trains on all images",
        ),
    ],
)
def test_contradictions_are_found_when_the_search_is_made(
    changes: dict[str, Any], match: str, data: ImageData, small: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=match):
        SearchState(
            nas_bench_201(),
            data,
            replace(methods.darts(), **changes),
            seed=0,
            **small | {"device": torch.device("cpu")},
        )


def test_a_loss_that_sees_the_policy_is_no_contradiction(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.darts(), policy=daas, outer_loss=Blended(Constant(0.5)))
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    before = values(state)
    state.advance()
    assert not torch.equal(before["policy.choice_logits"], values(state)["policy.choice_logits"])
