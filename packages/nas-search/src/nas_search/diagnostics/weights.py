"""How the choice weights move."""

from dataclasses import dataclass

from nas_search.roles import Event
from nas_search.state import SearchState

__all__ = ["OperationWeights"]


@dataclass(frozen=True)
class OperationWeights:
    """Records ``operation_weights`` after each epoch, and the ``temperature`` of a relaxation that has one.

    ``operation_weights[group][option]`` is the mean of the relaxation's probabilities of an option over the rows of a
    group that have it. Rows that choose inputs, whose options have no meaning in common, are left out. It costs one
    evaluation of the probabilities an epoch.
    """

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        state = event.state
        if event.kind != "epoch" or not isinstance(state, SearchState) or state.relaxation is None:
            return
        probabilities = state.relaxation.probabilities()
        # An edge that weighs nothing has no probabilities to be shared.
        shares = (probabilities / probabilities.sum(dim=1, keepdim=True).clamp_min(1e-30)).tolist()
        choices = state.space.choices
        found: dict[str, dict[str, float]] = {}
        for group, rows in choices.groups.items():
            if group.endswith("inputs"):
                continue
            values: dict[str, list[float]] = {}
            for row in rows:
                for option, value in zip(choices.options[row], shares[row], strict=False):
                    values.setdefault(option, []).append(value)
            found[group] = {option: sum(each) / len(each) for option, each in values.items()}
        event.record["operation_weights"] = found
        temperature = getattr(state.relaxation, "temperature", None)
        if callable(temperature):
            event.record["temperature"] = float(temperature(state.progress))
