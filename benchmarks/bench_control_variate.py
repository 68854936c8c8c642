"""DADA's policy gradient by RELAX, beside the straight-through one and the score function: bias and variance.

    OMP_NUM_THREADS=1 python benchmarks/bench_control_variate.py

A policy that is small enough to enumerate: two different ones of Invert, Equalize and AutoContrast, each applied or not, are
twelve draws for a batch of 64 digits. A network of NAS-Bench-201 is trained for some steps and then held still, and with it
the batch, so that the twelve rewards ``-xi <h, g>`` and the gradient of their mean are exact. The control variate learns as in a
search, from one draw a step. Prints the table of joint.md.
"""

import argparse
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from nas_augment import Operation, PolicySample, Space
from nas_search import methods
from nas_search.batches import Batch
from nas_search.control_variate import ControlledPolicy, ControlVariateStep
from nas_search.data import ImageData
from nas_search.data_sources import load_data
from nas_search.objective import Objective
from nas_search.optimizers import SGD
from nas_search.relaxed_policy import RelaxedStep, ahead, floats
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.updates import WeightStep
from nas_spaces import nas_bench_201

PATH = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_3x3~1|skip_connect~2|"
SPACE = Space("plain", tuple(Operation(name) for name in ("Invert", "Equalize", "AutoContrast")), 2)


def prepare(data: ImageData, steps: int, scale: float, seed: int) -> tuple[SearchState, Batch]:
    """A network after some steps, and a policy whose logits are normal with that standard deviation."""
    method = replace(
        methods.augment_only("dada", network=PATH),
        policy=lambda: ControlledPolicy(SPACE, 2, choice="unordered", per="batch"),
        policy_optimizer=SGD(Constant(0.0), 0.0, 0.0, clip=None),
    )
    sizes = {"epochs": 1, "batch_size": 64, "channels": 8, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=seed, device=torch.device("cpu"), **sizes)
    for step in range(steps):
        WeightStep(customary=True)(state, Batch(state.train, state.valid, step % state.steps))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for logits in cast(ControlledPolicy, state.policy).discrete():
            logits.copy_(scale * torch.randn(logits.shape, generator=generator))
    return state, Batch(state.train, state.valid, 0)


def rewards_of(state: SearchState, batch: Batch, draws: PolicySample) -> Tensor:
    """``-xi <h, dL_train / dw>`` of each draw for the whole batch."""
    rate, found = state.require_policy_learning()[2], []
    inner = {name: value.detach() for name, value in state.require_supernet().named_parameters()}
    for at in range(len(draws)):
        objective = Objective(state, batch, state.method.sampler(state))
        sample = draws[torch.full((len(batch.train.labels),), at)]
        images = state.normalize(state.policy.apply(floats(batch.train.images), sample, path="soft"))  # type: ignore[call-arg]
        found.append(ahead(objective, images, inner, rate)[0].detach())
    return torch.stack(found)


def gradients_of(policy: ControlledPolicy) -> Tensor:
    return torch.cat([each.grad.flatten() for each in policy.discrete() if each.grad is not None])


def relaxed(state: SearchState, draws: PolicySample, rewards: Tensor, count: int, learn: bool, seed: int) -> Tensor:
    """RELAX from one draw, so many times, and after each a step of the control variate where it learns."""
    policy, rate = cast(ControlledPolicy, state.policy), state.require_policy_learning()[2]
    generator, found = torch.Generator().manual_seed(seed), []
    optimizer = torch.optim.Adam(policy.control.parameters(), 5e-3)
    probability = policy.log_prob(draws).detach().exp()
    for _ in range(count):
        at = torch.multinomial(probability, 1, generator=generator)
        optimizer.zero_grad()
        ControlVariateStep()._learn(policy, draws[at], rewards[at], rate, generator)
        found.append(gradients_of(policy))
        if learn:
            optimizer.step()
    return torch.stack(found)


def rows(data: ImageData, steps: int, scale: float, options: argparse.Namespace) -> list[str]:
    state, batch = prepare(data, steps, scale, options.seed)
    policy = cast(ControlledPolicy, state.policy)
    every = policy.enumerate()
    draws = PolicySample((), len(every), every)
    rewards = rewards_of(state, batch, draws)
    scores = torch.stack([
        torch.cat([g.flatten() for g in torch.autograd.grad(policy.log_prob(draws[n : n + 1])[0], policy.discrete())])
        for n in range(len(draws))
    ])  # fmt: skip
    probability = policy.log_prob(draws).detach().exp()
    exact = (probability * rewards) @ scores

    def enumerated(credit: Tensor) -> float:
        return float(probability @ (credit[:, None] * scores - exact).square().sum(1))

    def row(name: str, mean: Tensor | None, variance: float, repeats: int) -> str:
        bias = "0, exactly"
        if mean is not None:
            error = (variance / repeats) ** 0.5 / float(exact.norm())
            bias = f"{float((mean - exact).norm() / exact.norm()):.2f} (chance: {error:.2f})"
        return f"| {steps}, {scale:g} | {name} | {bias} | {variance / float(exact.square().sum()):.3g} |"

    lines = [
        row("score function", None, enumerated(rewards), 0),
        row("score function minus the exact mean", None, enumerated(rewards - probability @ rewards), 0),
    ]
    for learned in (0, *options.learned):
        if learned:
            relaxed(state, draws, rewards, learned, True, 1)
        found = relaxed(state, draws, rewards, options.repeats, False, 2)
        lines.append(row(f"RELAX, {learned} more steps of `c`", found.mean(0), float(found.var(0).sum()), len(found)))
    straight = []
    for _ in range(options.straight):
        RelaxedStep()(state, batch)
        straight.append(gradients_of(policy))
    found = torch.stack(straight)
    lines.append(row("straight-through", found.mean(0), float(found.var(0).sum()), len(found)))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--straight", type=int, default=150)
    parser.add_argument("--learned", type=int, nargs="*", default=[200, 2000])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load_data("digits")
    assert isinstance(data, ImageData)
    print(
        "| steps of the network, s.d. of the logits | estimator | bias / gradient | variance of a draw / gradient^2 |"
    )
    print("|---|---|---|---:|")
    for steps, scale in ((20, 0.0), (100, 1.0)):
        print("\n".join(rows(data, steps, scale, options)), flush=True)


if __name__ == "__main__":
    main()
