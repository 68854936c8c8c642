import math

import pytest
import torch

from nas_search.meter import Meter, perplexities


def test_means_are_over_the_steps_that_had_a_figure() -> None:
    meter = Meter()
    for step, figures in enumerate([{"a": 1.0, "b": 10.0}, {"a": 2.0}, {"a": 6.0}]):
        meter.add(step, {name: torch.tensor(value) for name, value in figures.items()})
    assert meter.flush() is None
    assert meter.means() == {"a": 3.0, "b": 10.0}


def test_looking_seldom_gives_the_same_means_as_looking_always() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    often, seldom = Meter(), Meter()
    for step, value in enumerate(values):
        often.add(step, {"a": value})
        often.flush()
        seldom.add(step, {"a": value})
    seldom.flush()
    assert often.means() == seldom.means()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_step_that_is_not_finite_is_named(bad: float) -> None:
    meter = Meter()
    for step, value in enumerate([1.0, 2.0, bad, 3.0, bad]):
        meter.add(step, {"a": torch.tensor(value)})
    assert meter.flush() == 2


def test_a_restored_meter_continues() -> None:
    meter, other = Meter(), Meter()
    meter.add(0, {"a": torch.tensor(1.0)})
    meter.flush()
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        each.add(1, {"a": torch.tensor(4.0)})
        each.flush()
    assert meter.means() == other.means() == {"a": 2.5}


def test_perplexities_belong_to_losses_and_are_numbers() -> None:
    means = {"train_loss": math.log(5.0), "valid_loss": 1e6, "valid_accuracy": 0.5, "gradient_norm": 3.0}
    assert perplexities(means) == {
        "train_perplexity": pytest.approx(5.0), "valid_perplexity": pytest.approx(math.exp(700.0))
    }  # fmt: skip
