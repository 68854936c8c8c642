"""Remember what another sampler draws."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Sampler
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Archived"]


@dataclass(frozen=True)
class Archived:
    """The paths of another sampler, the last of which are kept in the search's memory (E2NAS, Algorithm 4, line 5).

    Args:
        sampler: what draws a path.
        size: how many are kept; 50 in the released code.
    """

    sampler: Sampler
    size: int = 50

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`.

        Raises:
            ConfigError: what is drawn is no path.
        """
        choice = self.sampler(state)
        if choice.drawn is None:
            raise ConfigError(
                f"method {state.method.name!r} trains mixtures of all operations; an archive is for methods that train one "
                "path a step."
            )
        before = state.memory.get("visited_paths", [])
        path = [list(options) for options in choice.drawn]
        state.memory["visited_paths"] = [*before, path][-self.size :]
        return choice
