"""How well a supernet ranks architectures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nas_search.errors import ConfigError
from nas_search.evaluation.supernet_accuracy import SupernetAccuracy
from nas_search.roles import Evaluator, Event
from nas_search.state import SearchState
from nas_spaces import Architecture
from nas_spaces.draws import draw_distinct

__all__ = ["RankCorrelation", "kendall_tau", "rank_correlation"]


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two lists of scores of the same things, in [-1, 1]; None where one of them does not rank at all.

    ``(C - D) / sqrt((P - T1) (P - T2))`` with the C concordant and D discordant of the P pairs, and the T1, T2 pairs that
    tie in one list (Kendall, "The treatment of ties in ranking problems", Biometrika 1945).

    Example:
        >>> round(kendall_tau([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]), 4)
        0.6667

    Raises:
        ConfigError: lists of different lengths, of less than two scores, or with a score that is not a number.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ConfigError(
            f"{len(first)} and {len(second)} scores; a rank correlation needs two or more, the same number."
        )
    if any(map(math.isnan, (*first, *second))):
        raise ConfigError("a score is NaN, which has no rank; leave such architectures out.")
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    # Importing it takes as long as a third of all of nas_search, which every command would wait for.
    from scipy import stats

    return float(stats.kendalltau(first, second, variant="b").statistic)


def rank_correlation(
    architectures: Sequence[Architecture],
    state: SearchState,
    reference: Evaluator,
    supernet: Evaluator = SupernetAccuracy(),
) -> float | None:
    """Kendall's tau between what a supernet and what a reference say of architectures.

    Nothing of the search changes: neither its random numbers nor its counts of images.

    Args:
        architectures: two or more.
        state: a search that trains a supernet.
        reference: scores them truly: `TableScore`, or `TrainAndValidate`, which trains each of them.
        supernet: scores them with the shared weights.

    Returns:
        See `kendall_tau`.
    """
    images, random, candidate = state.images, state.generator.get_state(), state.candidate
    with torch.random.fork_rng(devices=[state.device] if state.device.type == "cuda" else []):
        shared = [supernet(architecture, state) for architecture in architectures]
        true = []
        for state.candidate, architecture in enumerate(architectures):  # each that is trained has a seed of its own
            true.append(reference(architecture, state))
    state.images, state.candidate = images, candidate
    state.generator.set_state(random)
    return kendall_tau(shared, true)


@dataclass(frozen=True)
class RankCorrelation:
    """Records ``kendall_tau`` of a supernet when its search ends, which is then a metric of the result (thesis Fig. 2.3).

    An observer, for `nas_search.search` or for a method. Where the supernet or the reference gives all architectures the
    same score there is no such figure.

    Args:
        reference: scores an architecture truly: `TableScore`, or `TrainAndValidate`.
        samples: N, uniformly random architectures, none twice; all of them where the space has less.
        supernet: scores an architecture with the shared weights.
        every: epochs between two records; only at the end when left out.
        seed: of the architectures, which are the same for every search in the space.

    Raises:
        ConfigError: less than two samples, or less than one epoch.
    """

    reference: Evaluator
    samples: int = 100
    supernet: Evaluator = SupernetAccuracy()
    every: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 2 or (self.every is not None and self.every < 1):
            raise ConfigError(
                f"samples is {self.samples} and every {self.every}; expected 2 or more, and 1 or more epochs or None."
            )

    def __call__(self, event: Event) -> None:
        """See `Observer`.

        Raises:
            ConfigError: the search trains no supernet.
        """
        state = event.state
        if event.kind != "epoch" or not isinstance(state, SearchState):
            return
        if not (state.finished or (self.every is not None and event.epoch % self.every == 0)):
            return
        tau = rank_correlation(self.architectures(state), state, self.reference, self.supernet)
        if tau is not None:
            event.record["kendall_tau"] = tau

    def architectures(self, state: SearchState) -> list[Architecture]:
        """The architectures that are compared, in the space of a search."""
        generator = torch.Generator().manual_seed(self.seed)
        return draw_distinct(state.space, self.samples, generator)
