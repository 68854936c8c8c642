"""The table of decisions that a search space asks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas_spaces.errors import WeightsError

__all__ = ["Choices"]


@dataclass(frozen=True)
class Choices:
    """One row per decision (edge x operation, node x input, layer x width), one column per option.

    Args:
        options: the names of each row's options; rows may differ in length.
        groups: named ranges of rows, such as ``{"normal": range(0, 14), "reduce": range(14, 28)}``.
        picks: how many options an architecture takes in each row; 1 everywhere when left out.
        nodes: for each node of the cells, the rows of the edges that enter it, by increasing source; none where the rows
            are no edges.
        skips: the names of the options that hand their input on; those with ``skip`` in their name when left out.
        wiring: the rows that say what reads what and have no operation, and so no weights of a supernet; those with several
            picks are among them, whether they are given or not.

    Example:
        >>> choices = Choices(options=(("skip", "conv"), ("a", "b", "c")), groups={"edges": range(2)})
        >>> choices.shape
        (2, 3)
        >>> choices.mask.tolist()
        [[True, True, False], [True, True, True]]
    """

    options: tuple[tuple[str, ...], ...]
    groups: Mapping[str, range] = field(default_factory=dict)
    picks: tuple[int, ...] = ()
    nodes: tuple[tuple[int, ...], ...] = ()
    skips: frozenset[str] | None = None
    wiring: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.picks:
            object.__setattr__(self, "picks", (1,) * len(self.options))
        several = {row for row, count in enumerate(self.picks) if count > 1}
        object.__setattr__(self, "wiring", frozenset(self.wiring) | several)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.options)

    @property
    def shape(self) -> tuple[int, int]:
        """``(choices, options)``: the shape of a tensor of choice weights."""
        return len(self.options), max((len(row) for row in self.options), default=0)

    @property
    def mask(self) -> Tensor:
        """Which entries of a weight tensor exist, ``(choices, options)`` bool, on the host whatever the default device."""
        width = self.shape[1]
        rows = [[column < len(row) for column in range(width)] for row in self.options]
        return torch.tensor(rows, dtype=torch.bool, device="cpu").view(self.shape)

    def one_hot(self, options: Sequence[Sequence[int]]) -> Tensor:
        """How often each option is taken, mostly 0 or 1, ``(choices, options)`` float32, on the host."""
        weights = torch.zeros(self.shape, device="cpu")
        for row, taken in enumerate(options):
            for option in taken:
                weights[row, option] += 1.0
        return weights

    def skip_connections(self, options: Sequence[Sequence[int]], rows: Iterable[int] | None = None) -> int:
        """How many of the options taken are skip connections.

        Args:
            options: for each row of the choices the options taken.
            rows: which rows are looked at; all of them when left out.
        """
        names = [
            self.options[row][option] for row in (range(len(self)) if rows is None else rows) for option in options[row]
        ]
        return sum("skip" in name if self.skips is None else name in self.skips for name in names)

    def require_shape(self, weights: Tensor, drawn: Sequence[Sequence[int]] | None = None) -> None:
        """Refuse weights of another shape, without reading them, and drawn options that the rows do not have.

        Raises:
            WeightsError: the shape is not ``(choices, options)``, or `drawn` is no path.
        """
        if not isinstance(weights, Tensor):
            raise WeightsError(
                f"choice weights are a {type(weights).__name__}; expected a tensor of shape {self.shape}."
            )
        if tuple(weights.shape) != self.shape:
            raise WeightsError(f"choice weights have shape {tuple(weights.shape)}; this space has {self.shape}.")
        if drawn is not None:
            self._require_path(drawn)

    def _require_path(self, drawn: Sequence[Sequence[int]]) -> None:
        if len(drawn) != len(self.options):
            raise WeightsError(f"options were drawn for {len(drawn)} rows; this space has {len(self.options)}.")
        for row, taken in enumerate(drawn):
            if not isinstance(taken, Sequence):
                raise WeightsError(
                    f"{taken!r} was drawn in row {row}; expected a sequence of options, such as ({taken!r},)."
                )
            for option in taken:
                # A negative one would count from the end, without a word.
                if not 0 <= option < len(self.options[row]):
                    raise WeightsError(
                        f"option {option} was drawn in row {row}, which has options 0 to {len(self.options[row]) - 1}."
                    )

    def check(self, weights: Tensor) -> None:
        """Refuse weights of another shape, or that are not finite.

        Raises:
            WeightsError: the shape is not ``(choices, options)``, or an entry is NaN or infinite.
        """
        self.require_shape(weights)
        if not torch.isfinite(weights).all():
            row = int(torch.nonzero(~torch.isfinite(weights))[0, 0])
            raise WeightsError(f"choice weights of row {row} are not finite: {weights[row].tolist()}.")
