"""Architectures together with settings of their training, as one space that black-box methods search."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_augment.published import randaugment
from nas_search.errors import ConfigError, did_you_mean
from nas_search.schedules import Cosine
from nas_spaces import Architecture, ArchitectureError, Choices, SearchSpace, Supernet, catalog
from nas_spaces.errors import InputError

if TYPE_CHECKING:
    import networkx as nx

__all__ = [
    "SETTINGS",
    "MixedSpace",
    "Range",
    "Settled",
    "named",
    "of_architectures",
    "settle",
    "training_settings",
    "with_magnitude",
]

_POINTS = 21


def _text(value: float) -> str:
    return f"{value:.6g}"


@dataclass(frozen=True)
class Range:
    """The values of a setting: `levels` of them, evenly spaced, or in even ratios.

    Args:
        low: the smallest.
        high: the largest.
        logarithmic: in even ratios.
        levels: how many.

    Raises:
        ConfigError: no range, or values that the text of an architecture cannot tell apart.

    Example:
        >>> [round(value, 3) for value in Range(0.01, 1.0, logarithmic=True, levels=3).values]
        [0.01, 0.1, 1.0]
    """

    low: float
    high: float
    logarithmic: bool = False
    levels: int = 16

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high and self.levels > 1):
            raise ConfigError(
                f"a setting ranges from {self.low} to {self.high} in {self.levels} levels; expected low < high, and two or more."
            )
        if self.logarithmic and self.low <= 0:
            raise ConfigError(f"a setting in even ratios begins at {self.low}; expected a number above 0.")
        if len(set(map(_text, self.values))) < self.levels:
            raise ConfigError(
                f"a setting ranges from {self.low} to {self.high} in {self.levels} levels, and some are the same in the six "
                "digits that an architecture's text has; widen the range, or take fewer levels."
            )

    @property
    def values(self) -> tuple[float, ...]:
        """All of them, rising."""
        shares = [level / (self.levels - 1) for level in range(self.levels)]
        if self.logarithmic:
            return tuple(self.low * (self.high / self.low) ** share for share in shares)
        return tuple(self.low + share * (self.high - self.low) for share in shares)


SETTINGS: Mapping[str, Range] = {
    "learning_rate": Range(1e-3, 1.0, logarithmic=True),
    "weight_decay": Range(1e-6, 1e-2, logarithmic=True),
    "augmentation_magnitude": Range(0.0, 30.0, levels=16),
}
"""What `nas_search.evaluation.TrainAndValidate` can set, and the range that is searched if no other is given.

The learning rate is the first of a cosine; the magnitude is that of RandAugment with one operation, of 30, after the
customary augmentation, and 0 is without it.
"""


class MixedSpace(SearchSpace):
    """A space whose architectures carry settings of their training.

    A setting is one more row, whose options are the levels of its `Range`; a neighbour differs in the architecture or by
    one level of one setting. The text form is that of the architecture, then ``@`` and the values of the settings.

    Args:
        base: the space of the architectures.
        settings: names of `SETTINGS`, with their ranges; or names alone.

    Raises:
        ConfigError: a setting that no training has.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space = MixedSpace(nas_bench_201(), {"learning_rate": Range(0.01, 0.1, levels=4)})
        >>> space.size
        62500
        >>> a = space.sample(torch.Generator().manual_seed(0))
        >>> space.parse(str(a)) == a
        True
    """

    def __init__(
        self, base: SearchSpace, settings: Mapping[str, Range] | tuple[str, ...] = ("learning_rate", "weight_decay")
    ) -> None:
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown or not settings:
            near = f"; {did_you_mean(unknown[0], SETTINGS)}" if unknown and unknown[0] else "."
            raise ConfigError(f"settings {unknown} of a mixed space; expected some of {', '.join(SETTINGS)}{near}")
        self.base = base
        self.settings = {name: settings[name] if isinstance(settings, Mapping) else SETTINGS[name] for name in settings}

    @property
    def name(self) -> str:
        """The name of the base with those of the settings."""
        return "+".join([self.base.name, *self.settings])

    def __repr__(self) -> str:
        """The base, and the settings with their ranges."""
        return f"MixedSpace({self.base!r}, {self.settings!r})"

    @property
    def reads(self) -> Literal["images", "tokens"]:
        """As the base."""
        return self.base.reads

    @property
    def choices(self) -> Choices:
        """The rows of the base, then one a setting, in the group ``settings``."""
        own, rows = self.base.choices, len(self.base.choices)
        levels = tuple(tuple(map(_text, each.values)) for each in self.settings.values())
        return Choices(
            (*own.options, *levels),
            {**own.groups, "settings": range(rows, rows + len(levels))},
            (*own.picks, *(1,) * len(levels)),
            own.nodes,
            wiring=own.wiring,
        )

    @property
    def size(self) -> int:
        """The number of pairs."""
        return self.base.size * math.prod(each.levels for each in self.settings.values())

    def join(self, architecture: Architecture, levels: tuple[int, ...]) -> Architecture:
        """An architecture of the base with a level of each setting.

        Raises:
            ArchitectureError: a level that a range does not have, or an architecture of another space.
        """
        self.base.require(architecture)
        ranges = list(self.settings.values())
        if len(levels) != len(ranges) or any(not 0 <= at < of.levels for at, of in zip(levels, ranges, strict=False)):
            raise ArchitectureError(
                f"levels {levels} of {', '.join(self.settings)}; expected 0 to {[of.levels - 1 for of in ranges]}."
            )
        options = (*architecture.options, *((at,) for at in levels))
        values = ",".join(
            f"{name}={_text(of.values[at])}" for (name, of), at in zip(self.settings.items(), levels, strict=True)
        )
        return Architecture(self.name, options, f"{architecture}@{values}")

    def split(self, architecture: Architecture) -> tuple[Architecture, dict[str, float]]:
        """The architecture of the base, and the values of the settings."""
        self.require(architecture)
        values = {
            name: of.values[level]
            for (name, of), level in zip(self.settings.items(), self._levels(architecture), strict=True)
        }
        return self.base.parse(architecture.text.rpartition("@")[0]), values

    def _levels(self, architecture: Architecture) -> tuple[int, ...]:
        return tuple(taken[0] for taken in architecture.options[-len(self.settings) :])

    def positions(self, architecture: Architecture) -> list[float]:
        """Where each setting stands in its range, in [0, 1]."""
        ranges = self.settings.values()
        return [level / (of.levels - 1) for level, of in zip(self._levels(architecture), ranges, strict=True)]

    def parse(self, text: str) -> Architecture:
        """See `SearchSpace.parse`."""
        base, _, given = text.rpartition("@")
        words = given.split(",")
        known = [[f"{name}={_text(value)}" for value in of.values] for name, of in self.settings.items()]
        if len(words) != len(known) or not all(word in each for word, each in zip(words, known, strict=True)):
            raise ArchitectureError(
                f"{text!r} is no architecture of {self.name}: expected one of {self.base.name}, then "
                f"'@{','.join(each[0] for each in known)}', with values of the ranges; given was {given!r}."
            )
        levels = tuple(each.index(word) for word, each in zip(words, known, strict=True))
        return self.join(self.base.parse(base), levels)

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw architecture and settings uniformly and independently."""
        base = self.base.sample(generator)
        return self.join(base, tuple(_draw(of.levels, generator) for of in self.settings.values()))

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Draw one of the neighbours uniformly."""
        neighbors = list(self.neighbors(architecture))
        return neighbors[_draw(len(neighbors), generator)]

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """The neighbours in the base under the same settings, and one level more or less of each setting."""
        base, _ = self.split(architecture)
        levels = self._levels(architecture)
        for near in self.base.neighbors(base):
            yield self.join(near, levels)
        for place, of in enumerate(self.settings.values()):
            for level in (levels[place] - 1, levels[place] + 1):
                if 0 <= level < of.levels:
                    yield self.join(base, (*levels[:place], level, *levels[place + 1 :]))

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The distance in the base, and for each setting the part of its range between the two."""
        apart = sum(abs(x - y) for x, y in zip(self.positions(a), self.positions(b), strict=True))
        return self.base.distance(self.split(a)[0], self.split(b)[0]) + apart

    def discretize(self, weights: Tensor) -> Architecture:
        """As the base; and the level of largest weight of each setting."""
        self.choices.check(weights)
        rows, width = self.base.choices.shape
        levels = weights.detach().cpu()[rows:].masked_fill(~self.choices.mask[rows:], -torch.inf).argmax(dim=1)
        return self.join(self.base.discretize(weights[:rows, :width]), tuple(levels.tolist()))

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The cell, which the settings do not change."""
        return self.base.graph(self.split(architecture)[0])

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """There is none.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{self.name} has no supernet, since settings of the training are no operations; search it with a black-box method, "
            "or learn the settings by gradients in the space of the architectures."
        )

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """The network of the architecture."""
        base, _ = self.split(architecture)
        return self.base.network(base, classes=classes, channels=channels, cells=cells, in_channels=in_channels)

    def table_text(self, architecture: Architecture) -> str:
        """The architecture's; a table knows of no settings."""
        return self.base.table_text(self.split(architecture)[0])


def named(name: str) -> SearchSpace:
    """An installed space, or with settings of the training joined to its name by ``+`` a mixed one, with their own ranges.

    Args:
        name: such as ``nas_bench_201`` or ``nas_bench_201+learning_rate+weight_decay``; hyphens and underscores are the same.

    Raises:
        UnknownSpaceError: no installed space has the name before the first ``+``.
        ConfigError: a setting that no training has, or the same one twice.

    Example:
        >>> named("nas_bench_201+learning_rate").name
        'nas_bench_201+learning_rate'
    """
    base, *settings = name.replace("-", "_").split("+")
    if len(set(settings)) < len(settings):
        raise ConfigError(f"space {name!r} has a setting twice; expected each of {', '.join(SETTINGS)} once at most.")
    return MixedSpace(catalog.space(base), tuple(settings)) if settings else catalog.space(base)


def of_architectures(space: SearchSpace | None) -> SearchSpace | None:
    """The base of a mixed space, in which a result has its architecture; any other space, or none, as it is."""
    return space.base if isinstance(space, MixedSpace) else space


def training_settings(space: SearchSpace, architecture: Architecture) -> dict[str, float]:
    """The settings that an architecture of a mixed space carries, by name; none in any other space."""
    return space.split(architecture)[1] if isinstance(space, MixedSpace) else {}


def with_magnitude(policy: Policy, settings: Mapping[str, float]) -> Policy:
    """The policy, and after it RandAugment at the ``augmentation_magnitude`` of the settings; without it where that is 0."""
    level = round(settings.get("augmentation_magnitude", 0.0))
    return randaugment(1, level, before=policy.stages).decide() if level else policy


class Settled(NamedTuple):
    """What a search found, each part where a result has it.

    Attributes:
        architecture: of a space that has networks.
        policy: to train it with.
        hyperparameters: see `nas_search.SearchResult`; empty where nothing of them was searched.
    """

    architecture: Architecture
    policy: Policy
    hyperparameters: dict[str, Any]


def settle(space: SearchSpace, architecture: Architecture, policy: Policy) -> Settled:
    """An architecture of a mixed space taken apart; any other as it is.

    The learning rate becomes the schedule of a cosine that begins with it, as candidates are trained with.
    """
    if not isinstance(space, MixedSpace):
        return Settled(architecture, policy, {})
    base, settings = space.split(architecture)
    rates = {name: value for name, value in settings.items() if name != "augmentation_magnitude"}
    schedule = {name: [value] * _POINTS for name, value in rates.items()}
    if "learning_rate" in rates:
        cosine = Cosine(rates["learning_rate"])
        schedule["learning_rate"] = [cosine(place / (_POINTS - 1)) for place in range(_POINTS)]
    return Settled(base, with_magnitude(policy, settings), {**rates, "schedule": schedule} if rates else {})


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))
