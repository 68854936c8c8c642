"""Inner steps that continue a real optimiser."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_hypergrad import (
    BilevelProblem,
    Implicit,
    ProblemError,
    Unrolled,
    adam_diagonal,
    identity,
    optimizer_step,
    preconditioned,
)
from nas_hypergrad.testing import quadratic_problem

D = torch.float64

KINDS: list[tuple[Any, dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.02}),
    (torch.optim.AdamW, {"lr": 0.1}),
]


def trained(
    kind: Any, options: dict[str, Any], steps: int = 3
) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], Any]:
    problem, inner, outer, _ = quadratic_problem()
    leaves = {name: (value + 1).requires_grad_() for name, value in inner.items()}
    groups = [{"params": [leaves["w"]]}, {"params": [leaves["b"]], "lr": 0.05}]
    optimizer = kind(groups, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        problem.inner_loss(leaves, outer).backward()
        optimizer.step()
    return problem, leaves, outer, optimizer


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("steps", [0, 3])
def test_the_step_is_the_optimizers_next_with_its_groups_and_state(
    kind: Any, options: dict[str, Any], steps: int
) -> None:
    problem, leaves, outer, optimizer = trained(kind, options, steps)
    step = optimizer_step(optimizer, leaves)
    optimizer.zero_grad()
    problem.inner_loss(leaves, outer).backward()
    before = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    grads = {name: leaf.grad.clone() for name, leaf in leaves.items() if leaf.grad is not None}
    after, _ = step(before, grads, outer, step.start(before))
    assert all(torch.equal(before[name], leaf) for name, leaf in leaves.items())
    optimizer.step()
    torch.testing.assert_close(after, {name: leaf.detach() for name, leaf in leaves.items()}, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("held", [True, False])
def test_what_was_frozen_since_is_a_constant(kind: Any, options: dict[str, Any], held: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    trained = module if held else module[2]
    optimizer = kind(trained.parameters(), **options)
    x = torch.linspace(-1, 1, 10, dtype=D).view(5, 2)
    module(x).square().mean().backward()
    optimizer.step()
    module[0].requires_grad_(False)
    inner = dict(module.named_parameters())
    assert set(optimizer_step(optimizer, inner).lr) == {"2.weight", "2.bias"}  # type: ignore[attr-defined]

    problem = BilevelProblem(
        lambda w, a: (torch.func.functional_call(module, dict(w), (x,)) * a["a"]).square().mean(),
        lambda w, a: torch.func.functional_call(module, dict(w), (x,)).sum(),
    )
    outer = {"a": torch.ones((), dtype=D)}
    found = Unrolled(optimizer_step(optimizer, inner), 1)(problem, inner, outer)["a"]
    step = 1e-6
    moved = []
    for sign in (1, -1):
        parameters = {name: value.detach().clone().requires_grad_(value.requires_grad) for name, value in inner.items()}
        slope = torch.autograd.grad(
            problem.inner_loss(parameters, {"a": outer["a"] + sign * step}),
            [parameters["2.weight"], parameters["2.bias"]],
        )
        following = optimizer_step(optimizer, inner)
        after, _ = following(
            {name: parameters[name] for name in ("2.weight", "2.bias")},
            dict(zip(("2.weight", "2.bias"), slope, strict=True)),
            outer,
            following.start({name: parameters[name] for name in ("2.weight", "2.bias")}),
        )
        moved.append(float(problem.outer_loss({**parameters, **after}, outer).detach()))
    torch.testing.assert_close(float(found), (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-9)
    with pytest.raises(ProblemError, match="every inner variable is a parameter that requires no grad"):
        optimizer_step(optimizer, dict(module[0].named_parameters()))
    if kind is not torch.optim.SGD:
        assert set(adam_diagonal(optimizer, inner)) == {"2.weight", "2.bias"}


def test_momentum_is_not_lost() -> None:
    """quark0/darts swallows every error around the momentum buffers and goes on with zeros."""
    problem, leaves, outer, optimizer = trained(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9})
    buffers = optimizer_step(optimizer, leaves).start(leaves)
    assert all(bool(buffers[name].any()) for name in leaves)
    with_momentum = Unrolled(optimizer_step(optimizer, leaves))(problem, leaves, outer)
    plain = Unrolled(optimizer_step(torch.optim.SGD(leaves.values(), lr=0.1), leaves))(problem, leaves, outer)
    assert not torch.allclose(with_momentum["a"], plain["a"])


def test_a_setting_becomes_an_outer_variable() -> None:
    problem, leaves, outer, optimizer = trained(torch.optim.SGD, {"lr": 0.1})
    step = optimizer_step(optimizer, leaves, lr="lr")
    grads = Unrolled(step)(problem, leaves, {**outer, "lr": torch.tensor(0.1, dtype=D)})
    assert float(grads["lr"]) != 0.0


def test_adam_diagonal_is_the_scale_of_its_step() -> None:
    problem, leaves, outer, optimizer = trained(torch.optim.Adam, {"lr": 0.1})
    diagonal = adam_diagonal(optimizer, leaves)
    for name, leaf in leaves.items():
        state = optimizer.state[leaf]
        corrected = state["exp_avg_sq"] / (1 - 0.999**3)
        torch.testing.assert_close(diagonal[name], 1 / (corrected.sqrt() + 1e-8))
    assert Implicit(preconditioned(identity(0.1), diagonal))(problem, leaves, outer)["a"].isfinite().all()


def test_what_cannot_be_followed_is_named() -> None:
    w = torch.ones(2, requires_grad=True)
    cases: list[tuple[torch.optim.Optimizer, str]] = [
        (torch.optim.RMSprop([w]), "RMSprop; expected torch.optim SGD or Adam"),
        (torch.optim.SGD([w], lr=0.1, momentum=0.9, dampening=0.5), r"\{'dampening': 0.5\}"),
        (torch.optim.Adam([w], amsgrad=True), "amsgrad"),
        (torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=0.1), r"none of the tensors \['w'\]"),
    ]
    for optimizer, message in cases:
        with pytest.raises(ProblemError, match=message):
            optimizer_step(optimizer, {"w": w})
    for kind, option in (
        (torch.optim.SGD, "learning_rate"),
        (torch.optim.SGD, "betas"),
        (torch.optim.Adam, "momentum"),
    ):
        with pytest.raises(ProblemError, match=rf"no setting '{option}'; expected .*'lr'"):
            optimizer_step(kind([w], lr=0.1), {"w": w}, **{option: "lr"})
    v = torch.ones(2, requires_grad=True)
    groups: list[dict[str, Any]] = [{"params": [w]}, {"params": [v], "eps": 1e-3}]
    mixed = torch.optim.Adam(groups)
    with pytest.raises(ProblemError, match="differ in eps"):
        optimizer_step(mixed, {"w": w, "v": v})
    with pytest.raises(ProblemError, match="make a step"):
        adam_diagonal(torch.optim.Adam([w]), {"w": w})
