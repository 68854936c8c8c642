"""Inner steps against torch.optim, and their derivatives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_hypergrad import InnerStep, ProblemError, SettingError, adam, adamw, sgd

D = torch.float64

PAIRS: list[tuple[InnerStep, type[torch.optim.Optimizer], dict[str, Any]]] = [
    (sgd(0.1), torch.optim.SGD, {"lr": 0.1}),
    (sgd(0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (
        sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    (adam(0.1, weight_decay=0.02), torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.02}),
    (adamw(0.1, betas=(0.5, 0.99)), torch.optim.AdamW, {"lr": 0.1, "betas": (0.5, 0.99)}),
]


@pytest.mark.parametrize(("step", "kind", "options"), PAIRS)
def test_values_are_those_of_torch(step: InnerStep, kind: Any, options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    inner = {"u": torch.randn(3, generator=generator, dtype=D), "v": torch.randn(2, 2, generator=generator, dtype=D)}
    parameters = {name: value.clone().requires_grad_() for name, value in inner.items()}
    optimizer = kind(parameters.values(), **options)
    state = step.start(inner)
    for _ in range(5):
        grads = {name: torch.randn(value.shape, generator=generator, dtype=D) for name, value in inner.items()}
        for name, parameter in parameters.items():
            parameter.grad = grads[name].clone()
        optimizer.step()
        inner, state = step(inner, grads, {}, state)
        torch.testing.assert_close(inner, {n: p.detach() for n, p in parameters.items()}, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "step",
    [
        sgd("lr", momentum="mass", nesterov=True, weight_decay="decay"),
        adam("lr", weight_decay="decay"),
        adamw("lr", weight_decay="decay"),
    ],
)
def test_gradcheck_through_two_steps(step: InnerStep) -> None:
    generator = torch.Generator().manual_seed(0)
    w, g = (torch.randn(3, generator=generator, dtype=D).requires_grad_() for _ in range(2))
    settings = [torch.tensor(value, dtype=D, requires_grad=True) for value in (0.1, 0.9, 0.2)]

    def twice(w: Tensor, g: Tensor, lr: Tensor, mass: Tensor, decay: Tensor) -> Tensor:
        outer = {"lr": lr, "mass": mass, "decay": decay}
        inner, state = step({"w": w}, {"w": g}, outer, {})
        inner, state = step(inner, {"w": g * inner["w"]}, outer, state)
        return inner["w"]

    assert torch.autograd.gradcheck(twice, (w, g, *settings))
    assert torch.autograd.gradgradcheck(twice, (w, g, *settings))


def test_adam_without_gradient_gives_zeros_and_not_nan() -> None:
    g = torch.zeros(2, requires_grad=True)
    inner, _ = adam(0.1)({"w": torch.ones(2)}, {"w": g}, {}, {})
    (slope,) = torch.autograd.grad(inner["w"].sum(), g)
    assert bool(slope.isfinite().all())


def test_the_longest_prefix_counts() -> None:
    inner = {"body.w": torch.ones(1), "body.head.w": torch.ones(1), "x": torch.ones(1)}
    step = sgd({"": 0.1, "body.": 0.2, "body.head.": "head"})
    moved, _ = step(inner, {name: torch.ones(1) for name in inner}, {"head": torch.tensor(0.3)}, {})
    torch.testing.assert_close([moved[n].item() for n in inner], [0.8, 0.7, 0.9])


def test_bad_settings() -> None:
    for make in (
        lambda: sgd(None),  # type: ignore[arg-type]
        lambda: sgd([0.1]),  # type: ignore[arg-type]
        lambda: sgd({"": None}),  # type: ignore[dict-item]
        lambda: sgd(0.0),
        lambda: sgd(float("nan")),
        lambda: sgd(0.1, momentum=-0.1),
        lambda: sgd({"": 0.1, "b": -1.0}),
        lambda: sgd(0.1, nesterov=True),
        lambda: adam(0.1, betas=(0.9, 1.0)),
        lambda: adamw(0.1, weight_decay=-1.0),
    ):
        with pytest.raises(SettingError, match="expected|needs"):
            make()
    w = {"w": torch.ones(1)}
    with pytest.raises(ProblemError, match=r"outer variable 'lr', but there are \['a'\]"):
        sgd("lr")(w, w, {"a": torch.ones(1)}, {})
    with pytest.raises(ProblemError, match="add one under the key ''"):
        sgd({"v": 0.1})(w, w, {}, {})
    with pytest.raises(ProblemError, match=r"entries for \['v'\]"):
        sgd(0.1, momentum=0.9, buffers={"v": torch.ones(1)}).start(w)
    with pytest.raises(ProblemError, match=r"entries for \['v'\]"):
        adam(0.1, moments={"first.v": torch.ones(1)}).start(w)
