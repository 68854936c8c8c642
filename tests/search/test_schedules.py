import math

import pytest

from nas_search import ConfigError
from nas_search.schedules import Constant, Cosine, Linear


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


@pytest.mark.parametrize("schedule", [Linear(0, 1), Cosine(1)])
@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_progress_outside_of_the_run_is_refused(schedule: Linear, progress: float) -> None:
    with pytest.raises(ConfigError, match="progress"):
        schedule(progress)
