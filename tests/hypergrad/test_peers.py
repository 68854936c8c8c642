"""Faults seen in released hypergradient code; a library that had one would fail the test that names it.

Each test first shows that a straightforward rendering of the fault gives a different number here, so that the test is
known to tell the two apart.
"""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    FirstOrder,
    Implicit,
    InverseHessian,
    Unrolled,
    Variables,
    call_module,
    conjugate_gradient,
    finite_difference,
    module_variables,
    sgd,
)

D = torch.float64


def toy(direct: bool) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], Tensor]:
    """``L_train = (w-a)'A(w-a)/2``, ``L_val = |w-t|^2/2 (+ a'c)``; the exact gradient of one step of SGD at 0.1."""
    generator = torch.Generator().manual_seed(0)
    root, w, a, t, c = (torch.randn(s, generator=generator, dtype=D) for s in ((6, 6), (6,), (6,), (6,), (6,)))
    matrix = root @ root.T / 6 + torch.eye(6, dtype=D)

    def outer_loss(w: Variables, a: Variables) -> Tensor:
        loss = (w["w"] - t).square().sum() / 2
        return loss + a["a"] @ c if direct else loss

    problem = BilevelProblem(lambda w, a: (w["w"] - a["a"]) @ matrix @ (w["w"] - a["a"]) / 2, outer_loss)
    moved = w - 0.1 * matrix @ (w - a)
    return problem, {"w": w}, {"a": a}, 0.1 * matrix @ (moved - t) + (c if direct else 0)


def error(given: Tensor, truth: Tensor) -> float:
    return float((given - truth).norm() / truth.norm())


def grad_a(problem: BilevelProblem, w: Tensor, a: Tensor) -> Tensor:
    leaf = a.clone().requires_grad_()
    return torch.autograd.grad(problem.inner_loss({"w": w}, {"a": leaf}), leaf)[0]


def mixed(problem: BilevelProblem, w: Tensor, a: Tensor, v: Tensor) -> Tensor:
    """``d2 L_train / (da dw) v`` by double backward."""
    at, leaf = w.detach().requires_grad_(), a.detach().requires_grad_()
    (slope,) = torch.autograd.grad(problem.inner_loss({"w": at}, {"a": leaf}), at, create_graph=True)
    return torch.autograd.grad(slope, leaf, v.detach())[0]


def test_archai_counts_the_outer_parameters_twice_in_the_perturbation() -> None:
    for direct in (False, True):
        problem, inner, outer, truth = toy(direct)
        ours = Unrolled(sgd(0.1), products=finite_difference())(problem, inner, outer)["a"]
        assert error(ours, truth) < 1e-10
    w, a = inner["w"], outer["a"]
    leaves = [w.clone().requires_grad_(), a.clone().requires_grad_()]
    moved = w - 0.1 * torch.autograd.grad(problem.inner_loss({"w": leaves[0]}, {"a": a}), leaves[0])[0]
    at = moved.clone().requires_grad_()
    v, d = torch.autograd.grad(problem.outer_loss({"w": at}, {"a": leaves[1]}), [at, leaves[1]])
    r = 0.01 / torch.cat([v, d]).norm()
    both = (grad_a(problem, w + r * v, a + r * d) - grad_a(problem, w - r * v, a - r * d)) / (2 * r)
    assert error(d - 0.1 * both, truth) > 0.01


def test_mmrazor_never_writes_the_virtual_step() -> None:
    problem, inner, outer, truth = toy(True)
    assert error(Unrolled(sgd(0.1))(problem, inner, outer)["a"], truth) < 1e-12
    w, a = inner["w"].clone().requires_grad_(), outer["a"].clone().requires_grad_()
    moved = w
    moved = moved - 0.1 * torch.autograd.grad(problem.inner_loss({"w": w}, {"a": a}), w)[0]  # and then `w` is used
    v, d = torch.autograd.grad(problem.outer_loss({"w": w}, {"a": a}), [w, a])
    assert error(d - 0.1 * mixed(problem, w, a, v), truth) > 0.01


def test_mmrazor_lets_gradients_of_earlier_passes_add_up() -> None:
    problem, inner, outer, truth = toy(True)
    leaves = [{name: value.clone().requires_grad_() for name, value in g.items()} for g in (inner, outer)]
    (problem.inner_loss(*leaves) + problem.outer_loss(*leaves)).backward()
    stale = [leaf.grad.clone() for group in leaves for leaf in group.values() if leaf.grad is not None]
    for _ in range(2):
        assert error(Unrolled(sgd(0.1))(problem, *leaves)["a"], truth) < 1e-12
    now = [leaf.grad for group in leaves for leaf in group.values()]
    assert all(torch.equal(a, b) for a, b in zip(stale, now, strict=True) if b is not None)
    # The fault: backward() of the train loss for the virtual step, then of the validation loss, without zero_grad.
    w, a = inner["w"].clone().requires_grad_(), outer["a"].clone().requires_grad_()
    problem.inner_loss({"w": w}, {"a": a}).backward()
    assert w.grad is not None
    at = (w - 0.1 * w.grad).detach().requires_grad_()
    at.grad = w.grad
    problem.outer_loss({"w": at}, {"a": a}).backward()
    assert at.grad is not None
    assert a.grad is not None
    assert error(a.grad - 0.1 * mixed(problem, inner["w"], a, at.grad), truth) > 0.01


def test_mmrazor_takes_the_difference_of_a_tensor_with_itself() -> None:
    for direct in (False, True):
        problem, inner, outer, truth = toy(direct)
        ours = Unrolled(sgd(0.1), products=finite_difference())(problem, inner, outer)["a"]
        assert error(ours, truth) < 1e-10
        a = outer["a"].clone().requires_grad_()
        plus = minus = torch.autograd.grad(problem.inner_loss(inner, {"a": a}), a)[0]
        d = FirstOrder()(problem, inner, outer)["a"] if direct else torch.zeros_like(truth)
        assert error(d - 0.1 * (plus - minus) / 0.02, truth) > 0.01


def test_darts_drifts_by_perturbing_back_and_forth() -> None:
    module = nn.Linear(50, 50)
    w = module.weight.detach().clone()
    v = torch.randn(w.shape, generator=torch.Generator().manual_seed(0))
    drifted = w.clone()
    for _ in range(20):
        drifted.add_(v, alpha=0.01).sub_(v, alpha=0.02).add_(v, alpha=0.01)
    assert not torch.equal(drifted, w)
    x = torch.randn(8, 50, generator=torch.Generator().manual_seed(1))
    problem = BilevelProblem(
        lambda w, a: (call_module(module, w, x).square() * a["a"].exp()).mean(),
        lambda w, a: call_module(module, w, x).sum(),
    )
    for _ in range(20):
        Unrolled(sgd(0.1), products=finite_difference())(problem, module_variables(module), {"a": torch.zeros(50)})
    assert torch.equal(module.weight, w)


def test_naslib_and_vega_ignore_the_option_for_the_second_order() -> None:
    problem, inner, outer, truth = toy(True)
    assert error(Unrolled(sgd(0.1))(problem, inner, outer)["a"], truth) < 1e-12
    assert error(FirstOrder()(problem, inner, outer)["a"], truth) > 0.01  # what they compute whatever is asked for
    estimates = [Unrolled(sgd(0.1), n)(problem, inner, outer)["a"] for n in (1, 2, 3)]
    assert error(estimates[1], estimates[0]) > 0.01
    assert error(estimates[2], estimates[1]) > 0.01


def test_naslib_gdas_samples_other_paths_for_each_evaluation() -> None:
    """Both sides of a difference, and every recomputed step, must see the same draw."""
    problem, inner, outer, _ = toy(False)

    def sampled(w: Variables, a: Variables) -> Tensor:
        path = F.gumbel_softmax(torch.zeros(2, dtype=D), hard=True)
        return problem.inner_loss(w, {"a": a["a"] * path[0] + 2 * a["a"] * path[1]})

    def paths(seed: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            drawn = BilevelProblem(sampled, problem.outer_loss)
            return tuple(Unrolled(sgd(0.1), products=p)(drawn, inner, outer)["a"] for p in (finite_difference(), exact))  # type: ignore[return-value]

    exact = Unrolled(sgd(0.1)).products
    for seed in range(6):
        difference, graph = paths(seed)
        assert error(difference, graph) < 1e-9
    # The fault: another path on each side of the difference, whose gap is divided by the small radius.
    w, a = inner["w"], outer["a"]
    v = torch.ones_like(w)
    gap = (grad_a(problem, w + 0.01 * v, 2 * a) - grad_a(problem, w - 0.01 * v, a)) / 0.02
    assert error(gap, mixed(problem, w, a, v)) > 1


def test_moskomule_and_an_old_betty_diverge_by_conjugate_gradient() -> None:
    """Their error grows with the iterations; here it may not."""
    problem, _inner, outer, _ = toy(False)
    stationary = {"w": outer["a"]}  # w*(a) = a, and dL_val/da = a - t
    truth = -torch.autograd.functional.jacobian(lambda w: -problem.outer_loss({"w": w}, outer), outer["a"])
    counts = (1, 2, 4, 6, 12)
    errors = [error(Implicit(conjugate_gradient(k))(problem, stationary, outer)["a"], truth) for k in counts]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 1e-12

    def growing(iterations: int) -> InverseHessian:
        """A conjugate gradient whose residuals do not follow its solution: the next direction is never conjugate."""

        def solve(
            product: Callable[[dict[str, Tensor]], dict[str, Tensor]], vector: dict[str, Tensor]
        ) -> dict[str, Tensor]:
            s, r, p = torch.zeros_like(vector["w"]), vector["w"], vector["w"]
            for _ in range(iterations):
                bent = product({"w": p})["w"]
                alpha = r @ r / (p @ bent)
                s, following = s + alpha * p, r - alpha * bent
                p = r + (following @ following) / (r @ r) * p  # with the old residual
                r = following
            return {"w": s}

        return solve

    faulty = [error(Implicit(growing(k))(problem, stationary, outer)["a"], truth) for k in counts]
    assert faulty[-1] > faulty[0]


def test_bettys_one_step_has_another_scale() -> None:
    """A perturbed loss must be divided by the whole width of the perturbation, and multiplied with the rate once."""
    problem, inner, outer, truth = toy(False)
    ours = Unrolled(sgd(0.1), products=finite_difference())(problem, inner, outer)["a"]
    assert abs(float(ours.norm() / truth.norm()) - 1) < 1e-10
    w, a = inner["w"].clone().requires_grad_(), outer["a"]
    moved = (w - 0.1 * torch.autograd.grad(problem.inner_loss({"w": w}, {"a": a}), w)[0]).detach().requires_grad_()
    (v,) = torch.autograd.grad(problem.outer_loss({"w": moved}, {"a": a}), moved)
    half_width = (grad_a(problem, w + 0.01 * v, a) - grad_a(problem, w - 0.01 * v, a)).detach() / 0.01
    assert abs(float((0.1 * half_width).norm() / truth.norm()) - 1) > 0.1


def test_buffers_and_weights_are_left_moved_by_passes_that_fail() -> None:
    """Batch-norm statistics follow extra passes, and an exception in the middle leaves perturbed weights behind."""
    module = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    calls: list[None] = []

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        calls.append(None)
        if len(calls) == 3:
            raise InterruptedError("in the middle of a difference")
        return (call_module(module, w, x) * a["a"]).square().mean()

    problem = BilevelProblem(inner_loss, lambda w, a: call_module(module, w, x).sum(dim=1).square().mean())
    estimator = Unrolled(sgd(0.1), products=finite_difference())
    with pytest.raises(InterruptedError):
        estimator(problem, module_variables(module), {"a": torch.ones(5)})
    estimator(problem, module_variables(module), {"a": torch.ones(5)})
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    # The faults: a plain pass moves the statistics, and a perturbation in place stays when the pass raises.
    def pass_in_place() -> None:
        with torch.no_grad():
            module.get_parameter("0.weight").add_(1.0)
        module(x)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pass_in_place()
    now = module.state_dict()
    assert not torch.equal(now["0.weight"], before["0.weight"])
    assert not torch.equal(now["1.running_mean"], before["1.running_mean"])
