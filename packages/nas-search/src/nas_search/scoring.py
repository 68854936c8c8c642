"""Candidates of a black-box search: proposed together, scored here or by the workers of an engine, told in a fixed order.

A batch is proposed before any of it is scored, and its scores are noted in the order of the proposals when all of them are
there. So a search depends on how many are proposed at a time, and neither on how many workers score them nor on which of them
is the first to be done; and it is resumed like any other, between two batches.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from nas_search import distributed
from nas_search.computation import deterministic
from nas_search.data import Data
from nas_search.engines import Engine, Task
from nas_search.errors import ConfigError, NonFiniteError, WorkerError
from nas_search.method import Method
from nas_search.roles import BatchSampler, Checked, ChoiceWeights, Evaluator
from nas_search.state import SearchState
from nas_search.streams import stream_seed
from nas_spaces import Architecture, SearchSpace

__all__ = ["Candidate", "check_engine", "check_evaluator", "propose", "score", "scored_by"]


@dataclass(frozen=True)
class Candidate:
    """What is to be scored.

    Args:
        architecture: of the space.
        evaluator: what scores it.
        number: of the evaluations of this search before it; what is random in its evaluation is drawn by it.
    """

    architecture: Architecture
    evaluator: Evaluator
    number: int


def propose(state: SearchState, count: int) -> list[Architecture]:
    """The architectures that the method's sampler would have evaluated next, together."""
    return [state.space.discretize(choice.weights) for choice in _choices(state, count)]


def _choices(state: SearchState, count: int) -> Sequence[ChoiceWeights]:
    sampler = state.method.sampler
    if isinstance(sampler, BatchSampler):
        return sampler.several(state, count)
    return [sampler(state) for _ in range(count)]


def check_evaluator(evaluator: Evaluator, state: SearchState) -> None:
    """Let an evaluator say beforehand what does not fit, see `Checked`.

    Raises:
        ConfigError: what does not.
    """
    if isinstance(evaluator, Checked):
        evaluator.check(state)


def score(state: SearchState, candidates: Sequence[Candidate]) -> list[float]:
    """The score of each candidate, in their order.

    Raises:
        WorkerError: a worker could not score one of them.
    """
    if state.workers is None:
        return [_score(state, candidate) for candidate in candidates]
    moment = _Moment(state.epoch, state.step, tuple(state.archive))
    tasks = [
        Task(f"candidate-{each.number}", (str(each.architecture), each.evaluator, each.number, moment))
        for each in candidates
    ]
    found: dict[str, float] = {}
    for task, outcome in state.workers(tasks, lambda: False):
        if outcome.error:
            raise WorkerError(
                f"{task.arguments[0]} could not be scored: {outcome.error}. What was saved last is whole; go on with --resume, "
                "with less workers if memory ran out."
            )
        found[task.name], images = outcome.value
        state.images += images
    return [found[task.name] for task in tasks]


def _score(state: SearchState, candidate: Candidate) -> float:
    """Score it in this process: draws depend on its number, and leave no trace, so that any process does it alike."""
    seed = stream_seed(state.seed, "evaluation", candidate.number)
    before, state.candidate = state.generator.get_state(), candidate.number
    state.generator.manual_seed(seed)
    with torch.random.fork_rng(devices=[state.device] if state.device.type == "cuda" else []):
        torch.manual_seed(seed)
        found = _number(candidate, candidate.evaluator(candidate.architecture, state))
    state.generator.set_state(before)
    if distributed.size() > 1:
        found = float(distributed.mean(torch.tensor(found, dtype=torch.float64, device=state.device)))
    return found


def _number(candidate: Candidate, found: Any) -> float:
    name = f"evaluator {type(candidate.evaluator).__name__} gave {found!r:.60} for {candidate.architecture}"
    try:
        number = float(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name}; expected a number that is larger for what is better.") from error
    if not math.isfinite(number):
        raise NonFiniteError(
            f"{name}; expected a finite number. Give what cannot be scored one that is low, such as 0."
        )
    return number


def check_engine(engine: Engine | None, state: SearchState) -> None:
    """Refuse an engine that would have nothing to do for a search.

    Raises:
        ConfigError: the method scores no candidates, or less at a time than there are workers; or there are several ranks.
    """
    if engine is None:
        return
    counts = [count for update in state.method.updates if (count := getattr(update, "count", None)) is not None]
    name = state.method.name
    if not counts:
        raise ConfigError(
            f"method {name!r} scores no candidates that workers could share; leave them out. The batches of a supernet are shared "
            "by torchrun."
        )
    if engine.workers > max(counts):
        raise ConfigError(
            f"method {name!r} scores {max(counts)} candidate(s) at a time, too few for {engine.workers} workers; give it "
            f"parallel={engine.workers} (--set parallel={engine.workers}), or take less workers."
        )
    if distributed.size() > 1:
        raise ConfigError("workers score candidates for one process; start it without torchrun, or leave them out.")


@contextmanager
def scored_by(engine: Engine | None, state: SearchState) -> Iterator[None]:
    """Let an engine score the candidates of a search; this process does it without one."""
    if engine is None:
        yield
        return
    with engine.open(_Scorer.of(state)) as run:
        state.workers = run
        try:
            yield
        finally:
            state.workers = None


@dataclass(frozen=True)
class _Moment:
    """Where a search stands."""

    epoch: int
    step: int
    archive: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class _Scorer:
    """What workers are sent: all that a search at its beginning is made of."""

    space: SearchSpace
    data: Data
    method: Method
    settings: tuple[tuple[str, Any], ...]

    @staticmethod
    def of(state: SearchState) -> "Callable[..., tuple[float, int]]":
        names = ("epochs", "batch_size", "seed", "device", "channels", "cells")
        settings = (*((name, getattr(state, name)) for name in names), ("computation", state.asked))
        return _Scorer(state.space, state.data, state.method, settings)

    @cached_property
    def state(self) -> SearchState:
        """The search as an evaluator sees it; made once by each worker."""
        return SearchState(self.space, self.data, self.method, **dict(self.settings))

    def __call__(self, text: str, evaluator: Evaluator, number: int, moment: _Moment) -> tuple[float, int]:
        """The score, and how many images the evaluation took."""
        state = self.state
        state.epoch, state.step, state.archive, state.images = moment.epoch, moment.step, list(moment.archive), 0
        with deterministic(state.asked.deterministic):
            return _score(state, Candidate(state.space.parse(text), evaluator, number)), state.images
