"""Candidates that are proposed together: the same whoever scores them, and in whatever order."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch

from nas_search import (
    ConfigError,
    ImageData,
    Interrupted,
    Method,
    NonFiniteError,
    SearchResult,
    WorkerError,
    methods,
    search,
)
from nas_search.computation import Computation
from nas_search.engines import LocalEngine, Outcome, Run, Task
from nas_search.evaluation import TrainAndValidate
from nas_search.roles import Event
from nas_search.samplers import Bayesian, Evolution, Local
from nas_search.scoring import propose
from nas_search.state import SearchState
from nas_spaces import Architecture, nas_bench_201

SPACE = nas_bench_201()


class Backwards:
    """An engine without processes: everything is sent and comes back as between processes, the last first."""

    def __init__(self, workers: int = 2, bad: int | None = None) -> None:
        self.workers, self.bad, self.batches = workers, bad, list[int]()

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        there = cloudpickle.loads(cloudpickle.dumps(function))

        def run(tasks: Sequence[Task], stopping: Callable[[], bool]) -> Iterator[tuple[Task, Outcome]]:
            self.batches.append(len(tasks))
            for task in reversed(tasks):
                if task.name == f"candidate-{self.bad}":
                    yield task, Outcome(error="killed by signal 9")
                else:
                    value = there(*cloudpickle.loads(cloudpickle.dumps(task.arguments)))
                    yield task, Outcome(cloudpickle.loads(cloudpickle.dumps(value)))

        yield run


def drawn(architecture: Architecture, state: SearchState) -> float:
    """Draws in both ways that an evaluator may, and looks at where the search stands and how it computes."""
    noise = torch.rand((), generator=state.generator) + torch.rand(())
    known = 10 * state.epoch + 0.01 * len(state.archive) + 100 * (state.computation.precision == "bfloat16")
    return str(architecture).count("nor_conv_3x3") + 0.1 * float(noise) + known


def lasting(result: SearchResult) -> object:
    history = [{k: v for k, v in record.items() if "second" not in k} for record in result.history]
    return result.architecture, history, dict(result.metrics)


METHODS: dict[str, Method] = {
    "random_search": methods.random_search(parallel=3, evaluator=drawn),
    "regularized_evolution": methods.regularized_evolution(parallel=3, population=4, evaluator=drawn),
    "local_search": methods.local_search(parallel=3, evaluator=drawn),
    "bayesian_optimization": methods.bayesian_optimization(parallel=3, initial=3, pool=6, evaluator=drawn),
    "successive_halving": methods.successive_halving(parallel=3, evaluator=lambda budget: drawn),
    "trained": methods.random_search(parallel=2, candidate_epochs=1),
}


@pytest.mark.parametrize("name", METHODS)
def test_workers_find_what_one_process_finds(name: str, data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    """Also where the search is interrupted, and goes on with another number of workers."""
    method, settings = METHODS[name], small | {"epochs": 3, "computation": Computation("bfloat16")}
    alone = search(SPACE, data, method, **settings)

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Interrupted("for the test")

    with pytest.raises(Interrupted):
        search(SPACE, data, method, **settings, engine=Backwards(2), out=tmp_path, observers=(stop,))
    engine = Backwards(1)
    together = search(SPACE, data, method, **settings, engine=engine, out=tmp_path, resume=True)
    assert engine.batches == [2 if name == "trained" else 3] * 2  # the epoch that was not saved is scored again
    assert lasting(together) == lasting(alone)
    # What is told of the run is told of what was found, and not of the last that were tried.
    best = [record["best_accuracy"] for record in alone.history]
    assert best == sorted(best)
    assert alone.metrics["valid_accuracy"] == alone.candidates[0].score
    if name != "successive_halving":  # which takes the best of the last rung alone
        assert alone.candidates[0].score == pytest.approx(best[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks for signals")
def test_real_workers_find_the_same_and_one_that_is_killed_is_replaced(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    train, mark = TrainAndValidate(1), tmp_path / "killed"

    def killed_once(architecture: Architecture, state: SearchState) -> float:
        if state.candidate == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return train(architecture, state)

    method = methods.random_search(parallel=2, evaluator=killed_once)
    together = search(SPACE, data, method, **small, engine=LocalEngine(2))
    assert mark.exists()
    assert lasting(together) == lasting(
        search(SPACE, data, methods.random_search(parallel=2, evaluator=train), **small)
    )


def test_a_candidate_that_cannot_be_scored_ends_the_search_which_goes_on(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method, settings = methods.random_search(parallel=2, evaluator=drawn), small | {"epochs": 3}
    with pytest.raises(WorkerError, match=r"could not be scored: killed by signal 9\. .* go on with --resume"):
        search(SPACE, data, method, **settings, engine=Backwards(bad=3), out=tmp_path)
    resumed = search(SPACE, data, method, **settings, engine=Backwards(), out=tmp_path, resume=True)
    assert lasting(resumed) == lasting(search(SPACE, data, method, **settings))


@pytest.mark.parametrize(("found", "error"), [(float("nan"), NonFiniteError), (None, ConfigError)])
def test_an_evaluator_that_gives_no_number_is_named(
    data: ImageData, small: dict[str, Any], found: Any, error: type[Exception]
) -> None:
    def judge(architecture: Architecture, state: SearchState) -> Any:
        return found

    with pytest.raises(error, match=rf"evaluator function gave {found} for \|.*; expected a "):
        search(SPACE, data, methods.random_search(evaluator=judge), **small)


def test_workers_that_would_have_nothing_to_do_are_refused(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'gdas' scores no candidates that workers could share"):
        search(SPACE, data, methods.gdas(), **small, engine=Backwards(), out=tmp_path / "a")
    with pytest.raises(
        ConfigError, match=r"scores 2 candidate\(s\) at a time, too few for 3 workers; give it parallel=3"
    ):
        search(SPACE, data, methods.local_search(parallel=2), **small, engine=Backwards(3), out=tmp_path / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="parallel is 0"):
        methods.random_search(parallel=0)


def searching(data: ImageData, small: dict[str, Any], sampler: Any, known: Sequence[Architecture]) -> SearchState:
    method = methods.random_search()
    state = SearchState(SPACE, data, method, **small | {"seed": 0, "device": torch.device("cpu")})
    object.__setattr__(method, "sampler", sampler)
    state.archive = [(str(each), str(each).count("nor_conv_3x3") / 6) for each in known]
    return state


def test_what_is_proposed_together_differs(data: ImageData, small: dict[str, Any]) -> None:
    known = [SPACE.architecture([place] * 6) for place in range(5)]
    state = searching(data, small, Bayesian(initial=2, pool=40), known)
    proposed = propose(state, 4)
    assert len({*proposed, *known}) == 9

    climb = searching(data, small, Local(), [SPACE.architecture([0] * 6)])
    near = set(SPACE.neighbors(SPACE.architecture([0] * 6)))
    proposed = propose(climb, len(near) + 1)
    assert set(proposed[:-1]) == near
    assert proposed[-1] not in near  # the next climb begins

    children = propose(searching(data, small, Evolution(5, 5), known), 20)
    best = max(known, key=lambda each: str(each).count("nor_conv_3x3"))
    parents = [SPACE.distance(best, child) for child in children]
    assert parents.count(1) > 10, "children of one population, the best of which is drawn most often"
    assert len(set(children)) > 5


def test_a_rung_is_shared_and_the_next_one_waits_for_it(data: ImageData, small: dict[str, Any]) -> None:
    budgets: dict[int, list[dict[str, Any]]] = {}
    for parallel, epochs in ((1, 13), (4, 5)):
        method = methods.successive_halving(
            parallel=parallel,
            evaluator=lambda budget: lambda architecture, state: str(architecture).count("nor_conv_3x3") * budget,
        )
        result = search(SPACE, data, method, **small | {"epochs": epochs})
        budgets[parallel] = [{"budget": record["budget"]} for record in result.history]
        budgets[parallel].append({"found": str(result.architecture)})
    assert [each.get("budget") for each in budgets[4][:-1]] == [1, 1, 1, 3, 9]
    assert budgets[1][-1] == budgets[4][-1]
