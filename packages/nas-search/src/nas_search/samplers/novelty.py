"""Train what is unlike the rest of an archive."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.archive import novelties
from nas_search.encodings import Encoding, Logits, behavior
from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Evaluator
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Novelty"]

# Under which names the archive is remembered: encodings (members, ...), their behaviours (members, dimensions), whose turn it is.
_ENCODED, _BEHAVIORS, _TURN = "novelty_archive", "novelty_behaviors", "novelty_turn"


@dataclass(frozen=True)
class Novelty:
    """Evolution strategies on the novelty of an archive's members (EN2AS, thesis chapter 2, Algorithm 1).

    The first `size` architectures are uniformly random and fill the archive. After that, in each step, one member `a`
    moves (Eq. 2.6), and what it then stands for is trained::

        a <- bound(a + step_size / (n sigma) sum_i f_i e_i),    e_i ~ N(0, I),    i = 1 ... n

    `f_i` is the novelty of ``decode(a + sigma e_i)`` with respect to the other members (Eq. 2.4: the mean distance to the
    nearest of them, see `behavior`), in [0, 1], less its mean over i and divided by its standard deviation.

    Args:
        size: S, members of the archive; 1000 in the released code for images, 100 in that for text.
        neighbors: k; 10 there.
        perturbations: n; 10 there.
        sigma: standard deviation of the perturbations; 1 there.
        step_size: gamma; 0.01 there.
        encoding: of the members, which stay within its bound, where a perturbation can always change what they stand for.
        standardized: whether the mean is subtracted and the standard deviation divided by; not so in Eq. 2.6.
        tau: ``f = (1 - tau) novelty + tau reward`` before that; 0.5 in the variant with reward.
        reward: scores the perturbed architectures, in [0, 1]; n evaluations a step.

    Differs from the paper:
        1. Members move in turn and not at random, so that as many steps as there are members train each of them once.
        2. A member's distance to itself is left out: it would draw every member away from where it is.
        3. Novelties are standardised, so that a step has the length of about ``step_size sqrt(1 / n) / sigma`` in every
           coordinate, whatever the space. The raw sum has the mean novelty in every term, which is noise.

    Differs from the released code:
        1. Its step of 0.01 moves a member by 0.02 in a whole search, and to change what it stands for takes 0.5: it trains a
           fixed pool of random architectures. With the default here more than half of the steps change it, and the members
           become more diverse than random ones (measured: benchmarks/methods.md of the repository).
        2. All connections are compared, and a member is written back to where it was read.

    Raises:
        ConfigError: a setting out of its range, or a tau without a reward.
    """

    size: int = 100
    neighbors: int = 10
    perturbations: int = 10
    sigma: float = 1.0
    step_size: float = 1.5
    encoding: Encoding = Logits()
    standardized: bool = True
    tau: float = 0.0
    reward: Evaluator | None = None

    def __post_init__(self) -> None:
        check_positive(neighbors=self.neighbors, perturbations=self.perturbations)
        if self.size < 2:
            raise ConfigError(f"archive is {self.size}; novelty needs 2 members or more.")
        if not (0 < self.sigma < math.inf and 0 <= self.step_size < math.inf):
            raise ConfigError(
                f"sigma is {self.sigma} and step_size {self.step_size}; expected a positive number, and one of 0 or more."
            )
        if not 0 <= self.tau <= 1 or (self.tau > 0 and self.reward is None):
            raise ConfigError(
                f"tau is {self.tau} and reward {self.reward}; expected a weight from 0 to 1, and an evaluator if it is not 0."
            )

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        space, memory = state.space, state.memory
        encoded: Tensor | None = memory.get(_ENCODED)
        if encoded is None or len(encoded) < self.size:
            architecture = space.sample(state.generator)
            member = self.encoding.encode(space, architecture)[None]
            point = behavior(space, architecture)[None]
            memory[_ENCODED] = member if encoded is None else torch.cat([encoded, member])
            memory[_BEHAVIORS] = point if encoded is None else torch.cat([memory[_BEHAVIORS], point])
            memory[_TURN] = 0
        else:
            turn = int(memory[_TURN])
            moved = self._moved(state, encoded[turn], _without(memory[_BEHAVIORS], turn))
            architecture = self.encoding.decode(space, moved)
            memory[_ENCODED] = _with(encoded, turn, moved)
            memory[_BEHAVIORS] = _with(memory[_BEHAVIORS], turn, behavior(space, architecture))
            memory[_TURN] = (turn + 1) % self.size
        return ChoiceWeights(space.weights(architecture), architecture.options)

    def _moved(self, state: "SearchState", member: Tensor, others: Tensor) -> Tensor:
        """The member after its step, where the others are at `others` ``(members - 1, dimensions)``."""
        noise = torch.randn((self.perturbations, *member.shape), generator=state.generator)
        perturbed = [self.encoding.decode(state.space, member + self.sigma * each) for each in noise]
        points = torch.stack([behavior(state.space, each) for each in perturbed])
        fitness = novelties(points, others, self.neighbors)
        if self.tau > 0 and self.reward is not None:
            rewards = torch.tensor([self.reward(each, state) for each in perturbed])
            fitness = (1 - self.tau) * fitness + self.tau * rewards
        if self.standardized:
            deviation = fitness.std(correction=0)
            # Where all are equal there is nothing to climb, and rounding is not to be taken for a slope.
            fitness = (fitness - fitness.mean()) / deviation if deviation > 1e-6 else torch.zeros_like(fitness)
        step = torch.einsum("n,n...->...", fitness, noise) / (self.perturbations * self.sigma)
        return self.encoding.bound(state.space, member + self.step_size * step)


def _without(rows: Tensor, place: int) -> Tensor:
    return torch.cat([rows[:place], rows[place + 1 :]])


def _with(rows: Tensor, place: int, row: Tensor) -> Tensor:
    """A copy with one row replaced: what a checkpoint holds of a moment does not change with the next."""
    return rows.index_copy(0, torch.tensor([place]), row[None])
