"""Score an architecture by a tabular benchmark."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_spaces import Architecture, Table

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["TableScore"]


@dataclass(frozen=True)
class TableScore:
    """What the table says of the architecture, in [0, 1]: the cheapest evaluator, for comparing searchers.

    Args:
        table: of the space that is searched.
        metric: an accuracy in percent, such as ``valid``; a searcher should not look at ``test``.
        epochs: how long the networks were trained; the longest that the table has when left out.
    """

    table: Table
    metric: str = "valid"
    epochs: int | None = None

    def __call__(self, architecture: Architecture, state: "SearchState") -> float:
        """See `Evaluator`.

        Raises:
            TableError: the table has no such architecture or figure.
        """
        return self.table.query(architecture, self.metric, epochs=self.epochs) / 100
