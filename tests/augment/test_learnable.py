"""The learnable policy: Eq. 4 by enumeration, frequencies of its draws, derivation, and what is refused."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import (
    ImagesError,
    LearnablePolicy,
    Operation,
    OperationDraw,
    Policy,
    PolicyError,
    PolicySample,
    Soft,
    Space,
    daas,
    dada,
    fixed,
    preset,
)
from nas_augment.fixed import Crop, Cutout, Flip
from nas_augment.stages import SubPolicies
from nas_augment.testing import check_policy

SMALL = Space(
    "small",
    (
        Operation("Invert"),
        Operation("Rotate", 0, 30, "degrees", signed=True),
        Operation("Color", 0.1, 1.9, "factor"),
    ),
    levels=3,
)
KINDS: list[dict[str, Any]] = [
    {},
    {"share": "operation"},
    {"share": "pair"},
    {"choice": "joint"},
    {"choice": "unordered", "share": "pair"},
    {"probability": 0.7},
    {"learn_levels": False},
    {"count_void_levels": True},
    {"choice": "joint", "probability": 1.0, "learn_levels": False},
    {"continuous_levels": True},
    {"continuous_levels": True, "share": "pair", "choice": "unordered"},
    {"per": "batch", "share": "pair"},
    {"count": 1},
]


def make(**settings: Any) -> LearnablePolicy:
    policy = LearnablePolicy(SMALL, **settings).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return policy


def all_of(policy: LearnablePolicy) -> PolicySample:
    draw = policy.enumerate()
    return PolicySample((), len(draw), draw)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_it_conforms(settings: dict[str, Any]) -> None:
    check_policy(LearnablePolicy(SMALL, **settings))


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_probabilities_of_all_draws_sum_to_one(settings: dict[str, Any]) -> None:
    policy = make(**settings)
    total = policy.log_prob(all_of(policy)).exp().sum().detach()
    assert float(total) == pytest.approx(1.0, abs=1e-12)


def test_the_number_of_draws_is_that_of_the_paper_without_void_levels() -> None:
    # One of 3 operations, applied or not, at 3 levels where it has any: (2 + 4 + 4)^2.
    assert len(make().enumerate()) == 100
    assert len(make(count_void_levels=True).enumerate()) == 144


def test_log_prob_is_equation_4_written_with_distributions() -> None:
    policy = make()
    draw = policy.enumerate()
    assert policy.probability_logits is not None
    assert policy.level_logits is not None
    gates, levels = policy.probability_logits.view(2, 3), policy.level_logits.view(2, 3, 3)
    expected = torch.zeros(len(draw), dtype=torch.float64)
    for n in range(len(draw)):
        for k in range(2):
            o, y, m = int(draw.op[n, k]), bool(draw.applied[n, k]), draw.level[n, k]
            expected[n] += torch.distributions.Categorical(logits=policy.choice_logits[k]).log_prob(draw.op[n, k])
            expected[n] += torch.distributions.Bernoulli(logits=gates[k, o]).log_prob(torch.tensor(float(y)).double())
            if y and SMALL.operations[o].has_value:
                expected[n] += torch.distributions.Categorical(logits=levels[k, o]).log_prob(m)
    torch.testing.assert_close(policy.log_prob(all_of(policy)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", KINDS[:-2], ids=str)
def test_draws_are_as_frequent_as_their_probabilities(settings: dict[str, Any]) -> None:
    """Chi-square at p = 1e-4 over everything that is drawn; one draw for a whole batch would fail."""
    policy = make(**settings)
    count = 20000
    drawn = policy.sample(count, generator=torch.Generator().manual_seed(7)).operations
    assert drawn is not None
    outcomes = policy.enumerate()

    def key(draw: OperationDraw) -> Tensor:
        level = draw.level if policy.level_logits is not None else torch.zeros_like(draw.level)
        digits = torch.stack((draw.op, draw.applied, level), -1).flatten(1)
        return (digits * 4 ** torch.arange(digits.shape[1])).sum(1)

    expected = policy.log_prob(all_of(policy)).detach().exp() * count
    if policy.probability is not None and policy.probability < 1:
        # Fixed probabilities are not part of log_prob: compare what was drawn where both were applied.
        chosen = drawn.applied.all(1)
        assert float(chosen.float().mean()) == pytest.approx(policy.probability**2, abs=0.02)
        drawn = drawn.map(lambda tensor: tensor[chosen])
        expected = expected / count * len(drawn)
    observed = (key(drawn)[:, None] == key(outcomes)).sum(0)
    assert int(observed.sum()) == len(drawn)
    freedom = len(expected) - 1
    statistic = float(((observed - expected).square() / expected).sum())
    assert statistic < freedom + 3.72 * math.sqrt(2 * freedom) + 12


def test_neighbours_in_a_batch_and_slots_are_independent() -> None:
    policy = LearnablePolicy(preset("fast_aa"))
    drawn = policy.sample(45000, generator=torch.Generator().manual_seed(3)).operations
    assert drawn is not None
    for first, second in ((drawn.op[:, 0], drawn.op[:, 1]), (drawn.op[:-1, 0], drawn.op[1:, 0])):
        count = torch.bincount(first * 15 + second, minlength=225).double()
        assert float(((count - count.mean()) ** 2 / count.mean()).sum()) < 310
    signed = drawn.op[:, 0] < 5
    assert float((drawn.sign[signed, 0] == 1).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert (drawn.sign[drawn.op >= 5] == 1).all()


def test_per_batch_draws_once() -> None:
    drawn = LearnablePolicy(SMALL, per="batch").sample(9, generator=torch.Generator().manual_seed(2)).operations
    assert drawn is not None
    for tensor in (drawn.op, drawn.applied, drawn.level, drawn.sign, drawn.center):
        assert (tensor == tensor[:1]).all()


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_gradient_of_log_prob_is_its_derivative(settings: dict[str, Any]) -> None:
    policy = make(**settings)
    drawn = policy.sample(5, generator=torch.Generator().manual_seed(0))
    names = [name for name, _ in policy.named_parameters()]

    def log_prob(*values: Tensor) -> Tensor:
        class Call(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.policy = policy

            def forward(self) -> Tensor:
                return self.policy.log_prob(drawn)

        parameters = {f"policy.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Call(), parameters, ())

    assert torch.autograd.gradcheck(log_prob, tuple(parameter for _, parameter in policy.named_parameters()))


def test_decide_keeps_all_tuples_with_their_probability_and_likeliest_level() -> None:
    policy = make(share="pair")
    (stage,) = policy.decide().stages
    assert isinstance(stage, SubPolicies)
    assert len(stage.entries) == 9
    weights = [entry.weight for entry in stage.entries]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1.0)
    assert policy.probability_logits is not None
    assert policy.level_logits is not None
    for entry in stage.entries:
        ops = torch.tensor([SMALL.index(step.name) for step in entry.steps])
        chance = policy.choice_logits.softmax(1)
        assert entry.weight == pytest.approx(float((chance[0, ops[0]] * chance[1, ops[1]]).detach()))
        for k, step in enumerate(entry.steps):
            row = (int(ops[0]) * 3 + int(ops[1])) * 2 + k
            assert step.probability == pytest.approx(float(policy.probability_logits[row].sigmoid().detach()))
            has_value = SMALL.operations[int(ops[k])].has_value
            assert step.level == (int(policy.level_logits[row].argmax()) if has_value else 0)
    (best,) = policy.decide(keep=1).stages
    assert isinstance(best, SubPolicies)
    assert best.entries == stage.entries[:1]


def test_sizes_of_daas_are_those_of_the_paper() -> None:
    policy = daas()
    assert {name: tuple(parameter.shape) for name, parameter in policy.named_parameters()} == {
        "choice_logits": (2, 15),
        "probability_logits": (450,),
        "level_logits": (450, 10),
    }


def test_entropy_is_that_of_the_choice() -> None:
    assert float(LearnablePolicy(SMALL).entropy().detach()) == pytest.approx(2 * math.log(3))
    assert float(LearnablePolicy(SMALL, choice="joint").entropy().detach()) == pytest.approx(math.log(9))


def test_state_goes_back_into_the_same_policy_only(tmp_path: Any) -> None:
    policy = make(share="pair")
    torch.save(policy.state_dict(), tmp_path / "policy.pt")
    state = torch.load(tmp_path / "policy.pt", weights_only=True)
    other = LearnablePolicy(SMALL, share="pair").double()
    other.load_state_dict(state)
    assert torch.equal(other.log_prob(all_of(policy)), policy.log_prob(all_of(policy)))
    assert copy.deepcopy(policy).decide() == policy.decide()
    wrong = LearnablePolicy(Space("small", SMALL.operations, levels=4), share="pair")
    with pytest.raises(PolicyError, match="space differ"):
        wrong.set_extra_state(policy.get_extra_state())
    with pytest.raises(PolicyError, match="another policy: choice, count, share, space"):
        wrong.set_extra_state(3)


def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path: Any) -> None:
    numpy = pytest.importorskip("numpy")
    policy = LearnablePolicy(SMALL, numpy.int64(2))
    torch.save(policy.state_dict(), tmp_path / "policy.pt")
    LearnablePolicy(SMALL, 2).load_state_dict(torch.load(tmp_path / "policy.pt", weights_only=True))
    assert repr(policy) == repr(LearnablePolicy(SMALL, 2))
    assert type(policy.sample(numpy.int64(3), generator=torch.Generator()).batch) is int
    assert policy.decide(keep=numpy.int64(3)) == policy.decide(keep=3)


def test_a_sample_of_another_space_is_refused() -> None:
    policy = LearnablePolicy(SMALL)
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for other in (LearnablePolicy(preset("fast_aa")), LearnablePolicy(SMALL, count=3)):
        drawn = other.sample(2, generator=torch.Generator())
        with pytest.raises(PolicyError, match="this policy draws 2 of space 'small'"):
            policy.log_prob(drawn)
        with pytest.raises(PolicyError, match="this policy draws 2 of space 'small'"):
            policy.apply(images, drawn)
    with pytest.raises(PolicyError, match="the sample has no operations"):
        policy.log_prob(PolicySample((), 2))
    same = LearnablePolicy(SMALL).sample(40, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PolicyError, match="never draws together"):
        LearnablePolicy(SMALL, choice="unordered").log_prob(same)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count of operations is 0"),
        ({"choice": "some"}, "choice is 'some'"),
        ({"share": "all"}, "share is 'all'"),
        ({"per": "pixel"}, "per is 'pixel'"),
        ({"backend": "gpu"}, "backend is 'gpu'; expected one of auto, grouped, dense"),
        ({"probability": -0.1}, r"probability is -0\.1"),
        ({"choice": "unordered", "count": 4}, "no sets of 4"),
        ({"continuous_levels": True, "learn_levels": False}, "continuous_levels are learned"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        LearnablePolicy(SMALL, **settings)
    with pytest.raises(PolicyError, match="keep is 0"):
        LearnablePolicy(SMALL).decide(keep=0)


@pytest.mark.parametrize("settings", [*KINDS, {"before": (Crop(2), Flip()), "after": (Cutout(3),)}], ids=str)
@pytest.mark.parametrize("how", ["pickle", "deepcopy", "state_dict"])
def test_a_policy_that_was_saved_is_the_same_to_the_last_bit(how: str, settings: dict[str, Any], tmp_path: Any) -> None:
    policy = make(**settings).float()
    if how == "pickle":
        again = pickle.loads(pickle.dumps(policy))
    elif how == "deepcopy":
        again = copy.deepcopy(policy)
    else:
        torch.save(policy.state_dict(), tmp_path / "policy.pt")
        again = LearnablePolicy(SMALL, **settings)
        again.load_state_dict(torch.load(tmp_path / "policy.pt", weights_only=True))
    images = torch.randint(0, 256, (50, 3, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    first, second = (each(images, generator=torch.Generator().manual_seed(2)) for each in (policy, again))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.log_prob, second.log_prob)
    assert again.decide() == policy.decide()
    with torch.no_grad():
        again.choice_logits += 1.0 * torch.arange(again.choice_logits.numel()).view_as(again.choice_logits)
    assert torch.equal(policy(images, generator=torch.Generator().manual_seed(2)).log_prob, first.log_prob)


def test_parameters_of_a_space_of_the_same_size_are_refused() -> None:
    other = Space("other", (Operation("Equalize"), *SMALL.operations[1:]), levels=3)
    with pytest.raises(PolicyError, match="parameters of another policy: space differ"):
        LearnablePolicy(other).load_state_dict(LearnablePolicy(SMALL).state_dict())


def test_under_autocast_the_same_is_drawn_applied_and_scored() -> None:
    policy = make(before=(Crop(2),)).float()
    for images in (torch.rand(20, 3, 8, 8), torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)):
        plain = policy(images, generator=torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = policy(images, generator=torch.Generator().manual_seed(0))
        assert torch.equal(plain.images, mixed.images)
        assert mixed.log_prob.dtype == torch.float32
        assert torch.equal(plain.log_prob, mixed.log_prob)


def test_continuous_levels_are_one_number_rounded_to_the_space() -> None:
    policy = LearnablePolicy(Space("fine", SMALL.operations, levels=101), count=1, continuous_levels=True)
    assert policy.level_logits is None
    assert policy.position_logits is not None
    with torch.no_grad():
        policy.position_logits.copy_(torch.tensor([0.0, 1.3, -0.7]))
    expected = (policy.position_logits.detach().sigmoid() * 100).round().long()
    draw = policy.sample(300, generator=torch.Generator().manual_seed(0)).operations
    assert draw is not None
    counted = policy.counts_level(draw.op, draw.applied)
    assert torch.equal(draw.level[counted], expected[draw.op][counted])
    assert (draw.level[~counted] == 0).all()
    (stage,) = policy.decide().stages
    assert isinstance(stage, SubPolicies)
    levels = {entry.steps[0].name: entry.steps[0].level for entry in stage.entries}
    assert levels == {"Invert": 0, "Rotate": int(expected[1]), "Color": int(expected[2])}
    assert dada(continuous_levels=True).position_logits is not None
    assert dada(continuous_levels=True).space.levels == 1001


def test_the_soft_path_reaches_stages_and_decided_policies() -> None:
    policy = LearnablePolicy(preset("fast_aa"), before=(fixed.Crop(2), fixed.Flip()), after=(fixed.Cutout(3),))
    images = torch.rand(20, 3, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sample = policy.sample(20, generator=torch.Generator().manual_seed(1))
    out = policy.apply(images, sample, path=Soft(interpolation="nearest"))
    assert (out - policy.apply(images, sample)).abs().mean() < 2 / 255
    assert torch.autograd.grad(out.sum(), images)[0].abs().sum() > 0
    decided = policy.decide()
    soft = decided.apply(images, generator=torch.Generator().manual_seed(2), path="soft")
    assert soft.requires_grad
    exact = decided.apply(images, generator=torch.Generator().manual_seed(2))
    assert not exact.requires_grad
    assert not torch.equal(soft, exact)
    with pytest.raises(PolicyError, match="unknown path 'rough'"):
        decided.apply(images, generator=torch.Generator(), path="rough")  # type: ignore[call-overload]
    with pytest.raises(ImagesError, match=r"pass images.float\(\) / 255"):
        decided.apply((images * 255).to(torch.uint8), generator=torch.Generator(), path="soft")


def test_levels_that_are_not_learned_stay_uniform_when_it_is_decided() -> None:
    decided = LearnablePolicy(SMALL, count=2, learn_levels=False, probability=1.0).decide()
    assert Policy.from_json(decided.to_json()) == decided
    (stage,) = decided.stages
    assert isinstance(stage, SubPolicies)
    assert {step.level for entry in stage.entries for step in entry.steps} == {0, None}  # Invert has no value
    draw = stage.decode(torch.rand(9000, stage.numbers, generator=torch.Generator().manual_seed(0)))
    has_value = torch.tensor([operation.has_value for operation in SMALL.operations])[draw.op]
    counts = torch.bincount(draw.level[has_value], minlength=SMALL.levels).double()
    expected = counts.sum() / SMALL.levels
    assert float(((counts - expected) ** 2 / expected).sum()) < 25  # chi-squared, far in the tail of few degrees
    assert (draw.level[~has_value] == 0).all()
