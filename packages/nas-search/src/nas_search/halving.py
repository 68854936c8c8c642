"""Successive halving and Hyperband: many candidates trained for a short while, and the better ones again for longer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.ranking import Ranking, by_score
from nas_search.roles import Evaluator
from nas_search.run_state import check_positive
from nas_search.scoring import Candidate, check_evaluator, propose, score
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["BestAtLargestBudget", "Bracket", "EvaluateRungs", "hyperband_brackets", "successive_halving_bracket"]

_MEMORY = "rungs"


@dataclass(frozen=True)
class Bracket:
    """One race: in rung i, ``counts[i]`` candidates are trained for ``budgets[i]`` epochs each.

    Raises:
        ConfigError: budgets that do not rise, or counts that do not fall.
    """

    counts: tuple[int, ...]
    budgets: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.budgets, self.budgets[1:], strict=False))
        falling = all(a >= b for a, b in zip(self.counts, self.counts[1:], strict=False))
        if not (rising and falling and self.budgets and len(self.counts) == len(self.budgets)):
            raise ConfigError(f"{self}; expected as many counts as budgets, and budgets that rise while counts fall.")
        if min(self.budgets) < 1 or min(self.counts) < 1:
            raise ConfigError(f"{self}; expected one candidate and one epoch at least.")

    @property
    def cost(self) -> int:
        """Epochs of training in all."""
        return sum(count * budget for count, budget in zip(self.counts, self.budgets, strict=True))


def successive_halving_bracket(candidates: int, shortest: int, eta: int) -> Bracket:
    """`candidates` at first, one in `eta` of them again for `eta` times as long, and so on down to one.

    Example:
        >>> successive_halving_bracket(9, 1, 3)
        Bracket(counts=(9, 3, 1), budgets=(1, 3, 9))
    """
    check_positive(candidates=candidates, shortest=shortest, eta=eta)
    if eta < 2:
        raise ConfigError(f"eta is {eta}; expected 2 or more, of which one goes on.")
    counts = [candidates]
    while counts[-1] >= eta:
        counts.append(counts[-1] // eta)
    return Bracket(tuple(counts), tuple(shortest * eta**rung for rung in range(len(counts))))


def hyperband_brackets(longest: int, eta: int) -> tuple[Bracket, ...]:
    """All trade-offs between many candidates and long training (Li et al., JMLR 2018, Algorithm 1).

    With ``s_max = floor(log_eta(longest))``, bracket s of ``s_max .. 0`` has ``ceil((s_max + 1) / (s + 1) eta^s)``
    candidates at first, trained for ``longest eta^-s`` epochs.

    Args:
        longest: R, the most epochs that a candidate is trained.
        eta: of each rung one in eta goes on.

    Example:
        >>> for bracket in hyperband_brackets(9, 3):
        ...     print(bracket)
        Bracket(counts=(9, 3, 1), budgets=(1, 3, 9))
        Bracket(counts=(5, 1), budgets=(3, 9))
        Bracket(counts=(3,), budgets=(9,))
    """
    check_positive(longest=longest, eta=eta)
    if eta < 2:
        raise ConfigError(f"eta is {eta}; expected 2 or more, of which one goes on.")
    largest = 0
    while eta ** (largest + 1) <= longest:
        largest += 1
    brackets = []
    for s in range(largest, -1, -1):
        first = math.ceil((largest + 1) * eta**s / (s + 1))
        counts = tuple(max(1, first // eta**rung) for rung in range(s + 1))
        brackets.append(Bracket(counts, tuple(longest // eta ** (s - rung) for rung in range(s + 1))))
    return tuple(brackets)


@dataclass(frozen=True)
class EvaluateRungs:
    """Evaluations of a race: new candidates, or some of the best of the rung before for longer.

    The brackets follow each other, again and again. Where the race stands follows from ``state.memory["rungs"]``, the list
    of all evaluations as ``(text, budget, score)``. Only candidates of the longest budget enter the archive, which samplers
    that learn read: scores of different budgets cannot be compared.

    Args:
        evaluator: the evaluator of a budget in epochs.
        brackets: what is run.
        count: how many are evaluated together, see `nas_search.scoring`; less where a rung has no more.

    Raises:
        ConfigError: a `count` below 1.

    Differs from the paper:
        1. A candidate that goes on is trained from the beginning, and not from where it stood.
    """

    evaluator: Callable[[int], Evaluator]
    brackets: tuple[Bracket, ...]
    count: int = 1

    uses: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_positive(parallel=self.count)

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: what the evaluator does not fit.
        """
        check_evaluator(self.evaluator(self.brackets[0].budgets[0]), state)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the mean of the scores as ``valid_accuracy``, the largest so far as ``best_accuracy``, and ``budget``.

        The budget is the epochs of training.
        """
        done = state.memory.setdefault(_MEMORY, [])
        rung = _rung(self.brackets, done)
        count = min(self.count, rung.left)
        texts = rung.best[:count] if rung.best else [str(each) for each in propose(state, count)]
        evaluator = self.evaluator(rung.budget)
        candidates = [
            Candidate(state.space.parse(text), evaluator, len(done) + place) for place, text in enumerate(texts)
        ]
        scores = score(state, candidates)
        done += [[text, rung.budget, found] for text, found in zip(texts, scores, strict=True)]
        if rung.budget == max(bracket.budgets[-1] for bracket in self.brackets):
            state.archive += zip(texts, scores, strict=True)
        return {
            "valid_accuracy": torch.tensor(scores).mean(),
            "best_accuracy": torch.tensor(max(found for *_, found in done)),
            "budget": torch.tensor(float(rung.budget)),
        }


class _Rung(NamedTuple):
    """What is left of the rung that is run."""

    budget: int
    left: int
    best: list[str]  # those of the rung before that go on, in their order; empty for new ones


def _rung(brackets: Sequence[Bracket], done: Sequence[tuple[str, int, float]]) -> _Rung:
    lengths = [sum(bracket.counts) for bracket in brackets]
    first = len(done) // sum(lengths) * sum(lengths)
    place = 0
    while len(done) >= first + lengths[place]:
        first += lengths[place]
        place += 1
    bracket = brackets[place]
    for rung, (count, budget) in enumerate(zip(bracket.counts, bracket.budgets, strict=True)):
        if len(done) < first + count:
            before = done[first - bracket.counts[rung - 1] : first] if rung else []
            # Equal scores: the earlier one goes on, in every step of the rung alike.
            best = sorted(before, key=lambda entry: -entry[2])
            return _Rung(budget, first + count - len(done), [text for text, *_ in best[len(done) - first : count]])
        first += count
    raise AssertionError("a bracket ends with its last rung")


@dataclass(frozen=True)
class BestAtLargestBudget:
    """Selector: of what was trained longest the architecture of the highest score; the first of equals."""

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`."""
        done = state.memory[_MEMORY]
        text, _, _ = max(done, key=lambda entry: (entry[1], entry[2]))
        return state.space.parse(text)

    def rank(self, state: "SearchState") -> Ranking:
        """See `Ranks`: by the score of the longest training that there was; scores of different ones cannot be compared."""
        done = state.memory[_MEMORY]
        longest = max(budget for _, budget, _ in done)
        scored = [(text, score) for text, budget, score in done if budget == longest]
        return by_score(state.space, scored, f"score of the candidates of {longest} epochs")
