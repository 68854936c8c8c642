"""How many skip connections the derived cell has."""

from dataclasses import dataclass

from nas_search.roles import Event
from nas_search.state import SearchState

__all__ = ["SkipConnections"]


@dataclass(frozen=True)
class SkipConnections:
    """Records ``skip_connections``: how many the first group of rows (the normal cell) takes, after each epoch."""

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        if event.kind == "epoch" and isinstance(event.state, SearchState) and "architecture" in event.record:
            choices = event.state.space.choices
            options = event.state.space.parse(event.record["architecture"]).options
            rows = next(iter(choices.groups.values()))
            event.record["skip_connections"] = choices.skip_connections(options, rows)
