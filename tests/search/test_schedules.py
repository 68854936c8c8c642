import math

import pytest

from nas_search import ConfigError
from nas_search.roles import Schedule
from nas_search.schedules import Constant, Cosine, Exponential, ExponentialCosine, Linear, Ramp, Sigmoid


def test_constant_is_constant() -> None:
    assert {Constant(0.3)(t) for t in (0.0, 0.4, 1.0)} == {0.3}


def test_linear_goes_straight_from_start_to_end() -> None:
    schedule = Linear(10.0, 0.1)
    assert [schedule(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([10.0, 5.05, 0.1])


def test_cosine_meets_its_closed_form() -> None:
    schedule = Cosine(0.025, 0.001)
    assert schedule(0.0) == 0.025
    assert schedule(1.0) == pytest.approx(0.001)
    assert schedule(0.25) == pytest.approx(0.001 + 0.024 * (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize(
    ("epoch", "exponential", "cosine"),
    [(0, 0.025, 0.025), (150, 0.01961, 0.02134), (300, 0.00944, 0.0125), (450, 0.00229, 0.00366), (600, 0.0, 0.0)],
)
def test_exponential_cosine_meets_the_tabulated_values(epoch: int, exponential: float, cosine: float) -> None:
    """AllegroNAS, Eq. 8 with a learning rate of 0.025 over 600 epochs."""
    assert ExponentialCosine(0.025)(epoch / 600) == pytest.approx(exponential, abs=5e-6)
    assert Cosine(0.025)(epoch / 600) == pytest.approx(cosine, abs=5e-6)


def test_exponential_cosine_falls_from_start_to_end() -> None:
    schedule = ExponentialCosine(0.1, 0.02)
    values = [schedule(t / 50) for t in range(51)]
    assert values[0] == pytest.approx(0.1)
    assert values[-1] == pytest.approx(0.02)
    assert values == sorted(values, reverse=True)


def test_exponential_falls_by_the_same_factor() -> None:
    schedule = Exponential(1.0, 0.01)
    assert [schedule(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize(
    ("epoch", "clipped", "free"), [(0, 0.0, 0.0), (10, 0.04, 0.04), (25, 0.1, 0.1), (40, 0.1, 0.16), (50, 0.1, 0.2)]
)
def test_ramp_is_the_asymptotic_coefficient(epoch: int, clipped: float, free: float) -> None:
    """AllegroNAS, Eq. 6: chi_max 0.1, chi_min 0 and H 25, in a search of 50 epochs."""
    assert Ramp(0.0, 0.1, 25 / 50)(epoch / 50) == pytest.approx(clipped)
    assert Ramp(0.0, 0.1, 25 / 50, clip=False)(epoch / 50) == pytest.approx(free)


def test_ramp_begins_at_its_start() -> None:
    assert [Ramp(0.02, 0.1)(t) for t in (0.0, 0.25, 1.0)] == pytest.approx([0.02, 0.04, 0.1])


def test_sigmoid_meets_the_tabulated_values() -> None:
    """Thesis, Eq. 4.16 with b = 10: 0.99995 at the beginning, one half in the middle, 4.5e-5 at the end."""
    assert [Sigmoid(10.0)(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0.99995, 0.5, 4.54e-5], rel=1e-3)
    assert [round(Sigmoid(b)(0.25), 5) for b in (1.0, 2.0, 5.0)] == [0.62246, 0.73106, 0.92414]


@pytest.mark.parametrize(
    "schedule", [Linear(0, 1), Cosine(1), ExponentialCosine(1), Exponential(1, 2), Ramp(0, 1), Sigmoid()]
)
@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_progress_outside_of_the_run_is_refused(schedule: Schedule, progress: float) -> None:
    with pytest.raises(ConfigError, match="progress"):
        schedule(progress)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"goes from 1\.0 to 0\.0; expected positive numbers"):
        Exponential(1.0, 0.0)
    for span in (0.0, -1.0, math.inf):
        with pytest.raises(ConfigError, match=rf"span is {span}; expected a positive part of the run"):
            Ramp(0.0, 0.1, span)
