"""The search spaces that are installed: ours, and those that others register under the entry point ``nas.spaces``."""

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from nas_spaces.errors import UnknownSpaceError
from nas_spaces.space import SearchSpace

__all__ = ["names", "space"]

# Names rather than functions, so that listing the spaces imports none of them.
_OURS = {
    "nas_bench_201": "nas_spaces.nas_bench_201:nas_bench_201",
    "nas_bench_201_small": "nas_spaces.nas_bench_201:nas_bench_201_small",
    "nas_bench_101": "nas_spaces.nas_bench_101:nas_bench_101",
    "nas_bench_1shot1_1": "nas_spaces.nas_bench_1shot1:nas_bench_1shot1_1",
    "nas_bench_1shot1_2": "nas_spaces.nas_bench_1shot1:nas_bench_1shot1_2",
    "nas_bench_1shot1_3": "nas_spaces.nas_bench_1shot1:nas_bench_1shot1_3",
    "darts": "nas_spaces.darts:darts",
    "darts_rnn": "nas_spaces.darts_rnn:darts_rnn",
    "allegro": "nas_spaces.allegro:allegro",
    "amended_s1": "nas_spaces.amended:amended_s1",
    "amended_s2": "nas_spaces.amended:amended_s2",
    "mobile": "nas_spaces.mobile:mobile",
}


def names() -> dict[str, str]:
    """The name of every installed space and where it is defined, as ``module:function``."""
    others = {point.name.replace("-", "_"): point.value for point in entry_points(group="nas.spaces")}
    return others | _OURS


def space(name: str, **options: Any) -> SearchSpace:
    """Build an installed space by its name, with the options of its function; hyphens and underscores are the same.

    Raises:
        UnknownSpaceError: no installed space has that name; the message has the nearest one.
    """
    key = name.replace("-", "_")
    # Nobody replaces ours, and to look for others' reads the metadata of every installed distribution.
    known = _OURS if key in _OURS else names()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        raise UnknownSpaceError(
            f"unknown search space {name!r}; did you mean {near[0]!r}? Installed: {', '.join(known)}."
        )
    module, _, function = known[key].partition(":")
    make: Callable[..., SearchSpace] = getattr(import_module(module), function)
    return make(**options)
