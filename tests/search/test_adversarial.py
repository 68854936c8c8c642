"""The adversarial step of the policy against its definition, and the policy that it moves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas_augment.fixed import Crop, Cutout
from nas_augment.learnable import LearnablePolicy
from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.adversarial import AdversarialStep, UniformPairs
from nas_search.batches import Batch
from nas_search.optimizers import SGD
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_spaces import nas_bench_201


def make(data: ImageData, method: Method) -> SearchState:
    sizes: dict[str, Any] = {"epochs": 2, "batch_size": 16, "seed": 0, "channels": 4, "cells": 1}
    return SearchState(nas_bench_201(), data, method, device=torch.device("cpu"), **sizes)


@pytest.mark.parametrize("weighting", ["score", "paper"])
def test_a_step_follows_the_gradient_of_equation_2(weighting: Any, data: ImageData) -> None:
    method = replace(methods.dha(weighting=weighting), policy_optimizer=SGD(Constant(0.5), 0.0, 0.0, clip=None))
    state, twin = make(data, method), make(data, method)
    AdversarialStep(weighting)(state, Batch(state.train, state.valid, 0))
    assert isinstance(state.policy, LearnablePolicy)
    images, labels = twin.train[0]
    sample = twin.policy.sample(len(labels), generator=twin.generator)
    assert twin.relaxation is not None
    with torch.no_grad():
        augmented = twin.normalize(twin.policy.apply(images, sample))
        logits = twin.require_supernet()(augmented, *twin.relaxation(None, 0.0))
        losses = F.cross_entropy(logits, labels, reduction="none")
    operations = sample.operations
    assert operations is not None
    pair = operations.op[:, 0] * 14 + operations.op[:, 1]
    # d p_k / d logits = p_k (onehot_k - p), at p = 1 / 196.
    factor = torch.ones(()) if weighting == "score" else torch.tensor(1 / 196)
    expected = torch.zeros(196)
    for k, loss in zip(pair.tolist(), losses, strict=True):
        expected += 0.5 * loss * factor * (F.one_hot(torch.tensor(k), 196) - 1 / 196) / len(labels)
    torch.testing.assert_close(state.policy.choice_logits.detach(), expected, rtol=1e-5, atol=1e-8)


def test_the_policy_has_what_is_customary_before_it_and_a_cutout_after_it(data: ImageData) -> None:
    with_crop = replace(data, policy=type(data.policy)((Crop(padding=1),)))
    policy = UniformPairs().on(with_crop)
    assert isinstance(policy, LearnablePolicy)
    assert (policy.before.stages, policy.after.stages) == ((Crop(padding=1),), (Cutout(4),))
    plain = UniformPairs(customary=False, cutout=0.0).on(with_crop)
    assert isinstance(plain, LearnablePolicy)
    assert (plain.before.stages, plain.after.stages) == ((), ())
    assert policy.tuples.shape == (196, 2)


def test_settings_that_do_not_fit_are_refused(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="weighting is 'log'; expected score or paper"):
        AdversarialStep("log")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cutout is 1.5; expected a part of the image's side"):
        UniformPairs(cutout=1.5)
    for changes in (
        {"policy": None},
        {"policy_optimizer": None, "updates": (AdversarialStep(), *methods.dha().updates)},
    ):
        with pytest.raises(ConfigError, match="an AdversarialStep, which needs a policy that learns and an optimiser"):
            search(nas_bench_201(), data, replace(methods.dha(), **changes), out=tmp_path / "run", **small)
    assert not (tmp_path / "run").exists()
