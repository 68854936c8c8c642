"""Dictionaries from modules and lists, calls without side effects, and filling ``.grad``."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    ForwardMode,
    Hypergradient,
    Implicit,
    ProblemError,
    SettingError,
    Unrolled,
    Variables,
    call_module,
    fill_grad,
    finite_difference,
    largest_eigenvalue,
    list_variables,
    module_variables,
    neumann,
    preconditioned,
    sgd,
)
from nas_hypergrad.products import GradientGraph


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(4 * 36, 3)
        )


def problem_of(module: nn.Module) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(6, 1, 8, 8, generator=generator) for _ in range(2))
    y, z = (torch.randint(3, (6,), generator=generator) for _ in range(2))
    problem = BilevelProblem(
        lambda w, a: (F.cross_entropy(call_module(module, w, x), y, reduction="none") * a["weight"]).mean(),
        lambda w, a: F.cross_entropy(call_module(module, w, v), z),
    )
    return problem, module_variables(module), {"weight": torch.ones(6, requires_grad=True)}


@pytest.mark.parametrize(
    "estimator",
    [
        Implicit(neumann(3, 0.01)),
        Implicit(neumann(3, 0.01), products=finite_difference()),
        Unrolled(sgd(0.01), 3),
        Unrolled(sgd(0.01), 3, recompute=True),
        Unrolled(sgd(0.01), products=finite_difference()),
    ],
)
def test_weights_buffers_grads_and_random_state_stay(estimator: Hypergradient) -> None:
    """Libraries that perturb in place or call the module itself move batch-norm statistics and drift."""
    module = net()
    problem, inner, outer = problem_of(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    first = estimator(problem, inner, outer)
    for _ in range(3):
        torch.testing.assert_close(estimator(problem, inner, outer), first, rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert float(first["weight"].norm()) > 0


def test_differences_agree_with_double_backward_on_a_net_with_dropout() -> None:
    """They do only if both evaluations see the same masks."""
    problem, inner, outer = problem_of(net())
    exact = Implicit(neumann(3, 0.01))(problem, inner, outer)["weight"]
    difference = Implicit(neumann(3, 0.01), products=finite_difference())(problem, inner, outer)["weight"]
    assert float((difference - exact).norm() / exact.norm()) < 0.05


def test_shared_parameters_count_once_and_frozen_ones_not() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2, bias=False)
            self.second = nn.Linear(2, 2)
            self.second.weight = self.first.weight
            self.second.bias.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    module = Tied()
    inner = module_variables(module)
    assert list(inner) == ["first.weight"]
    out = call_module(module, {"first.weight": 2 * torch.eye(2)}, torch.ones(1, 2))
    torch.testing.assert_close(out, torch.full((1, 2), 4.0) + module.second.bias)


def test_unknown_parameter_is_named() -> None:
    with pytest.raises(ProblemError, match=r"no parameters \['wieght'\]; its parameters are \['bias', 'weight'\]"):
        call_module(nn.Linear(2, 1), {"wieght": torch.ones(1, 2)}, torch.ones(1, 2))


def test_list_variables_are_numbered() -> None:
    assert list(list_variables([torch.ones(1), torch.ones(2)], prefix="w")) == ["w0", "w1"]


def test_a_gradient_of_another_shape_is_named_and_nothing_is_written() -> None:
    a = {"a": torch.zeros(2, requires_grad=True), "b": torch.zeros(2, requires_grad=True)}
    with pytest.raises(
        ProblemError, match=r"the gradient of 'b' has shape \(3,\); expected that of the variable, \(2,\)"
    ):
        fill_grad(a, {"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(ProblemError, match=r"the gradient of 'b' is torch.float64; expected torch.float32"):
        fill_grad(a, {"a": torch.ones(2), "b": torch.ones(2, dtype=torch.float64)})
    assert a["a"].grad is None


@pytest.mark.parametrize(
    ("make", "given", "options", "message"),
    [
        (Unrolled, (0.1, 2), {}, "inner_step is 0.1; expected an optimiser's step, such as sgd"),
        (Unrolled, (sgd,), {}, "inner_step is the class SGD; .* call it with its settings"),
        (Unrolled, (len,), {}, "len>, which has no start; expected an optimiser's step"),
        (ForwardMode, (0.1,), {}, "inner_step is 0.1; expected an optimiser's step"),
        (Implicit, (0.1,), {}, "inverse_hessian is 0.1; expected a function"),
        (Implicit, (neumann,), {}, "inverse_hessian is the class Neumann; .* call it with its settings"),
        (preconditioned, (neumann, {}), {}, "inverse_hessian is the class Neumann"),
        (Implicit, (), {"products": finite_difference}, "products is the class FiniteDifference"),
        (Unrolled, (sgd(0.1),), {"products": "exact"}, "products is 'exact'; expected a way to compute second"),
        (largest_eigenvalue, (None, {}, {}), {"products": None}, "products is None; expected a way"),
    ],
)
def test_parts_of_another_kind_are_named(
    make: Callable[..., object], given: tuple[object, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        make(*given, **options)


def test_a_class_whose_values_are_what_is_wanted_is_no_mistake() -> None:
    problem = BilevelProblem(lambda w, a: (a["a"] * w["w"] ** 2 / 2 - w["w"]).sum(), lambda w, a: w["w"].sum())
    inner, outer = {"w": torch.tensor([0.5])}, {"a": torch.tensor([2.0])}
    assert Implicit(products=GradientGraph)(problem, inner, outer) == Implicit()(problem, inner, outer)


def test_fill_grad_drives_an_optimizer() -> None:
    a = {"a": torch.ones(2, requires_grad=True), "frozen": nn.Parameter(torch.ones(1), requires_grad=False)}
    grads = {"a": torch.tensor([1.0, 2.0]), "frozen": torch.ones(1)}
    fill_grad(a, grads)
    fill_grad(a, grads)
    torch.testing.assert_close(a["a"].grad, grads["a"])
    fill_grad(a, grads, accumulate=True)
    torch.testing.assert_close(a["a"].grad, 2 * grads["a"])
    assert a["frozen"].grad is None
    torch.optim.SGD(a.values(), lr=0.5).step()
    torch.testing.assert_close(a["a"].detach(), torch.tensor([0.0, -1.0]))
    plain = {"a": torch.ones(2)}  # a variable too, as for estimators
    fill_grad(plain, {"a": grads["a"]})
    torch.testing.assert_close(plain["a"].grad, grads["a"])
    with pytest.raises(ProblemError, match=r"variables are \['a', 'frozen'\], the gradients \['a'\]"):
        fill_grad(a, {"a": grads["a"]})


def test_a_loop_with_fill_grad_lowers_the_outer_loss() -> None:
    module = net().eval()
    problem, inner, outer = problem_of(module)
    optimizer = torch.optim.Adam(outer.values(), lr=0.1)
    values = []
    for _ in range(5):
        fill_grad(outer, Unrolled(sgd(0.5))(problem, inner, outer))
        optimizer.step()
        leaves: Variables = {name: value.detach().requires_grad_() for name, value in inner.items()}
        grads = torch.autograd.grad(problem.inner_loss(leaves, outer), list(leaves.values()))
        moved = {n: v - 0.5 * g for (n, v), g in zip(leaves.items(), grads, strict=True)}
        values.append(problem.outer_loss(moved, outer).item())
    assert values == sorted(values, reverse=True)
