"""Stages of fixed policies that apply operations of a space: weighted sub-policies, and uniform choice."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from nas_augment.applying import apply_operations
from nas_augment.errors import PolicyError, is_count, is_share, tuple_of
from nas_augment.geometry import Motion
from nas_augment.operation_motions import operation_motions
from nas_augment.operations import Space, check_space
from nas_augment.sample import OperationDraw

__all__ = ["Step", "SubPolicies", "SubPolicy", "UniformOperations"]


@dataclass(frozen=True)
class Step:
    """One operation of a sub-policy.

    Args:
        name: of the operation, in its space.
        probability: of applying it.
        level: of its value; 0 for operations without one, and None for one that is drawn uniformly for every image.
    """

    name: str
    probability: float
    level: int | None = 0

    def __post_init__(self) -> None:
        if not is_share(self.probability):
            raise PolicyError(f"probability of {self.name} is {self.probability!r}; expected 0 to 1.")
        if self.level is not None and not is_count(self.level):
            raise PolicyError(f"level of {self.name} is {self.level!r}; expected a whole number, 0 or more, or None.")
        # Numpy's numbers are not JSON's.
        object.__setattr__(self, "probability", float(self.probability))
        object.__setattr__(self, "level", None if self.level is None else int(self.level))


@dataclass(frozen=True)
class SubPolicy:
    """Operations applied one after another.

    Args:
        steps: in order.
        weight: how often it is drawn, relative to the others.
    """

    steps: tuple[Step, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple_of(Step, self.steps, "steps of a sub-policy"))
        if not _is_number(self.weight) or not 0 <= self.weight < float("inf"):
            raise PolicyError(f"weight of a sub-policy is {self.weight!r}; expected a finite number, 0 or more.")
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True)
class SubPolicies:
    """One of several sub-policies for every image, drawn by weight; each operation applied with its probability.

    Args:
        space: the operations and what their levels mean.
        entries: the sub-policies.
    """

    space: Space
    entries: tuple[SubPolicy, ...]

    def __post_init__(self) -> None:
        check_space(self.space)
        object.__setattr__(self, "entries", tuple_of(SubPolicy, self.entries, "entries of sub-policies"))
        if not self.entries or not sum(entry.weight for entry in self.entries) > 0:
            raise PolicyError("a policy of sub-policies needs at least one of positive weight.")
        for step in (step for entry in self.entries for step in entry.steps):
            self.space.index(step.name)
            if step.level is not None and step.level >= self.space.levels:
                raise PolicyError(
                    f"level of {step.name} is {step.level}; space {self.space.name!r} has levels 0 to "
                    f"{self.space.levels - 1}."
                )

    @property
    def count(self) -> int:
        """The operations of the longest sub-policy."""
        return max(len(entry.steps) for entry in self.entries)

    @property
    def numbers(self) -> int:
        """One number chooses; then, for each operation, four: whether, sign, and place; and one for levels that are drawn."""
        return 1 + (5 if self._draws_levels else 4) * self.count

    @cached_property
    def _draws_levels(self) -> bool:
        return any(step.level is None for entry in self.entries for step in entry.steps)

    def decode(self, draw: Tensor) -> OperationDraw:
        """The operations that uniform numbers ``(batch, numbers)`` stand for."""
        ops, probabilities, levels, cumulated = (table.to(draw.device) for table in self._tables)
        # The last bound is left out: rounding must not lead past the end.
        chosen = (draw[:, :1].double() >= cumulated[:-1]).sum(1)
        level, rest = levels[chosen], draw[:, 1 : 1 + 4 * self.count]
        if self._draws_levels:
            level = torch.where(level < 0, (draw[:, 1 + 4 * self.count :] * self.space.levels).long(), level)
        return _decode(self.space, ops[chosen], probabilities[chosen], level, rest)

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """See `fixed.Stage.apply`."""
        return apply_operations(images, self.decode(draw))

    def motions(self, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
        """The motion of each operation."""
        return operation_motions(self.decode(draw), height, width)

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = [
            [
                (self.space.index(step.name), step.probability, -1 if step.level is None else step.level)
                for step in entry.steps
            ]
            + [(0, 0.0, 0)] * (self.count - len(entry.steps))
            for entry in self.entries
        ]
        table = torch.tensor(rows, dtype=torch.float64).view(len(rows), self.count, 3)
        weights = torch.tensor([entry.weight for entry in self.entries], dtype=torch.float64)
        return table[..., 0].long(), table[..., 1], table[..., 2].long(), weights.cumsum(0) / weights.sum()

    def to_record(self) -> dict[str, Any]:
        """The stage as JSON types."""
        entries = [
            {"weight": entry.weight, "steps": [[step.name, step.probability, step.level] for step in entry.steps]}
            for entry in self.entries
        ]
        return {"space": self.space.to_record(), "entries": entries}

    @staticmethod
    def from_record(space: Any, entries: Any) -> "SubPolicies":
        """Read `to_record` back.

        Raises:
            PolicyError: something is missing, unknown or of a wrong type.
        """
        if not isinstance(entries, list):
            raise PolicyError(f"entries of sub_policies are a list; this is {entries!r:.100}.")
        return SubPolicies(Space.from_record(space), tuple(_sub_policy(entry) for entry in entries))


@dataclass(frozen=True)
class UniformOperations:
    """Operations drawn uniformly, one after another.

    Args:
        space: the operations.
        count: how many are applied to an image.
        level: of all of them; None draws it uniformly.
        probability: of applying each.
    """

    space: Space
    count: int = 2
    level: int | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_space(self.space)
        if not is_count(self.count):
            raise PolicyError(f"count of operations is {self.count!r}; expected a whole number, 0 or more.")
        if self.level is not None and not (is_count(self.level) and self.level < self.space.levels):
            raise PolicyError(f"level is {self.level!r}; space {self.space.name!r} has 0 to {self.space.levels - 1}.")
        if not is_share(self.probability):
            raise PolicyError(f"probability is {self.probability!r}; expected 0 to 1.")
        object.__setattr__(self, "count", int(self.count))
        object.__setattr__(self, "level", None if self.level is None else int(self.level))
        object.__setattr__(self, "probability", float(self.probability))

    @property
    def numbers(self) -> int:
        """For each operation six: which, level, whether, sign, and place."""
        return 6 * self.count

    def decode(self, draw: Tensor) -> OperationDraw:
        """The operations that uniform numbers ``(batch, numbers)`` stand for."""
        which = draw.view(len(draw), self.count, 6)
        ops = (which[..., 0] * len(self.space.operations)).long()
        levels = (which[..., 1] * self.space.levels).long() if self.level is None else torch.full_like(ops, self.level)
        chances = torch.full(ops.shape, self.probability, dtype=torch.float64, device=draw.device)
        return _decode(self.space, ops, chances, levels, which[..., 2:].flatten(1))

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """See `fixed.Stage.apply`."""
        return apply_operations(images, self.decode(draw))

    def motions(self, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
        """The motion of each operation."""
        return operation_motions(self.decode(draw), height, width)

    def to_record(self) -> dict[str, Any]:
        """The stage as JSON types."""
        return {
            "space": self.space.to_record(),
            "count": self.count,
            "level": self.level,
            "probability": self.probability,
        }

    @staticmethod
    def from_record(space: Any, count: Any, level: Any, probability: Any) -> "UniformOperations":
        """Read `to_record` back.

        Raises:
            PolicyError: something is missing, unknown or of a wrong type.
        """
        return UniformOperations(Space.from_record(space), count, level, probability)


def _decode(space: Space, ops: Tensor, probabilities: Tensor, levels: Tensor, draw: Tensor) -> OperationDraw:
    """Whether, sign and place from four uniform numbers for each operation."""
    which = draw.reshape(*ops.shape, 4)
    applied = which[..., 0].double() < probabilities
    has_value = space.has_value().to(ops.device)[ops]
    negative = space.signed().to(ops.device)[ops] & (which[..., 1] < 0.5)
    sign = torch.where(negative, -1, 1).to(torch.int8)
    return OperationDraw(space, ops, applied, torch.where(applied & has_value, levels, 0), sign, which[..., 2:])


def _is_number(number: Any) -> bool:
    return isinstance(number, Real) and not isinstance(number, bool)


def _sub_policy(record: Any) -> SubPolicy:
    if not isinstance(record, dict) or set(record) != {"weight", "steps"} or not isinstance(record["steps"], list):
        raise PolicyError(f"a sub-policy is an object with weight and steps (a list); this is {record!r:.100}.")
    steps: Sequence[Any] = record["steps"]
    if any(not isinstance(step, list) or len(step) != 3 or not isinstance(step[0], str) for step in steps):
        raise PolicyError(f"a step is a list of name, probability and level; these are {steps!r:.100}.")
    return SubPolicy(tuple(Step(*step) for step in steps), record["weight"])
