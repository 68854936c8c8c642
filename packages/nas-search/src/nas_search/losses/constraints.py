"""The architectures that a weight step replays beside the current one, so that their shared weights are not forgotten.

A `Piece` chooses one path; `Pieces` chooses several one after another, each of which may look at those before it::

    Pieces((random_path, diverse, diverse, diverse, diverse))   NSAS on NAS-Bench-201, M = 5
    Pieces((random_path, diverse, diverse, diverse, complement))   NSAS-G
    Pieces((previous, diverse, diverse, diverse, complement))   NSAS-LG
    Pieces((previous, complement))   the architecture complementation of E2NAS
    Pieces((previous,))   the previous architecture, as in weight plasticity (Benyahia et al., 2019)
    Archive(8)   NSAS, Algorithms 2 and 3: the most diverse of those that were trained
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from nas_search.archive import most_novel
from nas_search.errors import ConfigError
from nas_search.paths import architecture_of
from nas_search.roles import ChoiceWeights
from nas_search.run_state import check_positive
from nas_spaces import Drawn, RowwiseSpace, SearchSpace

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Archive", "Constraints", "Piece", "Pieces", "complement", "diverse", "previous", "random_path"]


class Constraints(Protocol):
    """Chooses the paths that are replayed in a step."""

    def __call__(self, state: "SearchState", current: Drawn) -> list[Drawn]:
        """Return the options drawn in each row of each path; none where there is nothing to replay yet."""
        ...


class Piece(Protocol):
    """Chooses one path to be replayed."""

    def __call__(self, state: "SearchState", current: Drawn, before: Sequence[Drawn]) -> Drawn | None:
        """Return a path, or None where there is none yet; `before` are those that other pieces chose in this step."""
        ...


@dataclass(frozen=True)
class Pieces:
    """The paths of several pieces, in order.

    Args:
        pieces: each sees what those before it chose.
    """

    pieces: tuple[Piece, ...]

    def __call__(self, state: "SearchState", current: Drawn) -> list[Drawn]:
        """See `Constraints`."""
        chosen: list[Drawn] = []
        for piece in self.pieces:
            path = piece(state, current, chosen)
            if path is not None:
                chosen.append(path)
        return chosen


def random_path(state: "SearchState", current: Drawn, before: Sequence[Drawn]) -> Drawn:
    """A uniformly random architecture."""
    return state.space.sample(state.generator).options


def previous(state: "SearchState", current: Drawn, before: Sequence[Drawn]) -> Drawn | None:
    """The path of the step before; none in the first step."""
    found: Drawn | None = state.memory.get("previous_path")
    return found


def diverse(state: "SearchState", current: Drawn, before: Sequence[Drawn]) -> Drawn:
    """The rows of the first path, each with an operation that no path before it has there, as long as there are any.

    Five of them on NAS-Bench-201 have every operation on every edge once: together they cover any architecture
    (Assumption 1 of Lemma 1), and share no weight (Assumption 2). Wiring, which has no weights, is that of the first path.
    """
    rows, wiring = before[0] if before else current, state.space.choices.wiring
    return tuple(
        options if row in wiring else _others(state, row, before, options, kept=()) for row, options in enumerate(rows)
    )


def complement(state: "SearchState", current: Drawn, before: Sequence[Drawn]) -> Drawn:
    """What is missing to cover the current path: its operation where no path before has it, and elsewhere another one.

    E2NAS, Fig. 4.2, and NSAS-G: every weight of the current path is in the complement or in a path before it, and the
    complement shares no weight with those (as long as a row has operations left that they do not use). Wiring, which has no
    weights, is that of the current path.
    """
    used = [{option for path in before for option in path[row]} for row in range(len(current))]
    wiring = state.space.choices.wiring
    return tuple(
        options
        if row in wiring
        else _others(state, row, before, options, kept=[option for option in options if option not in used[row]])
        for row, options in enumerate(current)
    )


def _others(
    state: "SearchState", row: int, before: Sequence[Drawn], options: Sequence[int], kept: Sequence[int]
) -> tuple[int, ...]:
    """As many operations of a row as `options`: those `kept`, and others at random that no path before has there.

    Two connections of a node may read one state: such a row takes two. If all are in use, it is one other than was there.
    """
    taken = list(kept)
    used = {option for path in before for option in path[row]}
    for option in [each for each in options if each not in kept]:
        allowed = [each for each in _allowed(state.space, row) if each not in taken]
        left = (
            [each for each in allowed if each not in used] or [each for each in allowed if each != option] or [option]
        )
        taken.append(left[int(torch.randint(len(left), (), generator=state.generator))])
    return tuple(sorted(taken))


def _allowed(space: SearchSpace, row: int) -> list[int]:
    names = space.choices.options[row]
    # Where rows depend on each other, "none" stands for an edge that is not taken: it is in no architecture.
    keep_none = isinstance(space, RowwiseSpace)
    return [option for option, name in enumerate(names) if keep_none or name != "none"]


@dataclass(frozen=True)
class Archive:
    """The most diverse of the architectures that were trained: NSAS (thesis chapter 3), Algorithms 2 and 3.

    While there are less than `size`, the current architecture joins and nothing is replayed. After that the member
    nearest to the current one is replaced by that of the `recent` ones which is most novel (Eq. 3.5: the mean distance
    to its nearest neighbours) to the other members, if it is more novel than the member itself.

    Args:
        size: M of Eq. 3.6, and of the archive; 8 in the released code.
        neighbors: how many count for novelty, at most the others there are; 10 in the released code.
        recent: how many of the last architectures are candidates; 50 there.

    Differs from the released code:
        1. It fills the archive with the best of ten random architectures, and replays from the first step on.
        2. Its distance leaves out half of the connections in some scripts; here it is the space's.
    """

    size: int = 8
    neighbors: int = 10
    recent: int = 50

    def __post_init__(self) -> None:
        check_positive(constraints=self.size, neighbors=self.neighbors, recent=self.recent)
        if self.size < 2:
            raise ConfigError(
                f"constraints is {self.size}; an archive needs 2 or more: of one member nothing tells how novel it is."
            )

    def __call__(self, state: "SearchState", current: Drawn) -> list[Drawn]:
        """See `Constraints`."""
        space = state.space
        path = ChoiceWeights(space.choices.one_hot(current), current)
        architecture = space.discretize(path.weights)
        if architecture.options != current:  # a path of one option in every row, where a node takes some of them only
            architecture = space.discretize(architecture_of(state, path).weights)
        members = [space.parse(text) for text in state.memory.get("replay_archive", [])]
        recent = [*state.memory.get("replay_recent", []), str(architecture)][-self.recent :]
        state.memory["replay_recent"] = recent
        if len(members) < self.size:
            if architecture not in members:
                state.memory["replay_archive"] = [*map(str, members), str(architecture)]
            return []
        nearest = min(range(self.size), key=lambda place: space.distance(architecture, members[place]))
        others = [*members[:nearest], *members[nearest + 1 :]]
        candidates = [members[nearest], *(space.parse(text) for text in dict.fromkeys(recent))]
        members[nearest] = most_novel(candidates, others, space.distance, self.neighbors)
        state.memory["replay_archive"] = [str(member) for member in members]
        return [member.options for member in members]
