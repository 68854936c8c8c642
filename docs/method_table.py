"""The tables of methods in choosing.md and in the README: `python docs/method_table.py` writes both anew.

Which methods search in which spaces, and what a weight step trains, is found by making every search; what an outer step costs and
what was found is read from ``benchmarks/``. A test makes the tables again and compares.
"""

import os
import re
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from nas_search import ConfigError, Method, methods
from nas_search.data import Data
from nas_search.data_sources import fake
from nas_search.pretraining import AutoencoderSettings
from nas_search.roles import RelaxationOfSpace
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_spaces import SearchSpace, catalog

ROOT = Path(__file__).resolve().parents[1]

COLUMNS = {
    "NAS-Bench-201": ("nas_bench_201", "nas_bench_201_small"),
    "101, 1Shot1": ("nas_bench_101", "nas_bench_1shot1_1", "nas_bench_1shot1_2", "nas_bench_1shot1_3"),
    "DARTS, Allegro, Amended": ("darts", "allegro", "amended_s1", "amended_s2"),
    "mobile": ("mobile",),
    "darts_rnn": ("darts_rnn",),
}
# Depth of the supernets that are made: as small as the space allows.
_CELLS = {"darts": 3, "allegro": 3, "amended_s1": 3, "amended_s2": None, "mobile": None}
# Under which name a method with its defaults stands in the pages of benchmarks/, where it is not its own.
_COSTS = {"darts": "darts(1)", "balenas": "balenas(1)", "ista": "ista(2)", "idarts": "idarts(terms=2)"}
_FOUND = {"ista": "ista 2 stages"}


def made(name: str, space: SearchSpace) -> SearchState | None:
    """A small search by a method with its defaults at its beginning; None where the space is refused."""
    method: Method = getattr(methods, name)()
    if name == "augment_only":  # an architecture has to be named
        method = methods.augment_only(network=str(space.sample(torch.Generator().manual_seed(0))))
    if isinstance(method.relaxation, RelaxationOfSpace):  # an autoencoder that is trained at once
        settings = AutoencoderSettings(hidden=8, epochs=1, samples=50)
        method = replace(method, relaxation=replace(method.relaxation, settings=settings))  # type: ignore[type-var]
    data: Data = fake_text(8, count=400, time=4) if space.reads == "tokens" else fake("1x8x8", count=64, classes=4)
    sizes = {"epochs": 1, "batch_size": 4, "seed": 0, "channels": 4, "cells": _CELLS.get(space.name, 1)}
    try:
        return SearchState(space, data, method, device=torch.device("cpu"), **sizes)  # type: ignore[arg-type]
    except ConfigError:
        return None


@cache
def by_space() -> str:
    """Methods against spaces."""
    ours = {name for name, place in catalog.names().items() if place.startswith("nas_spaces.")}
    missing = sorted(ours ^ {name for names in COLUMNS.values() for name in names})
    if missing:
        raise ValueError(f"the table has no column for {', '.join(missing)}: add them to COLUMNS.")
    lines = [f"| method | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    spaces = {column: [catalog.space(name) for name in names] for column, names in COLUMNS.items()}
    for name in methods.__all__:
        fits = {column: [made(name, space) is not None for space in each] for column, each in spaces.items()}
        if any(len(set(each)) > 1 for each in fits.values()):
            raise ValueError(f"{name} searches in some spaces of a column and not in others: {fits}; split the column.")
        lines.append(f"| `{name}` | {' | '.join('yes' if all(each) else '–' for each in fits.values())} |")
    return "\n".join(lines)


def by_cost() -> str:
    """What a method with its defaults learns, trains and costs, and what it found."""
    head = "| method | learns | a weight step trains | outer step, in weight steps | found, % | CPU s |"
    lines = [head, "|---|---|---|---|---|---|"]
    space = catalog.space("nas_bench_201")
    costs, found = _costs(), _found()
    for name in methods.__all__:
        state = made(name, space)
        assert state is not None
        accuracy, seconds = found.get(_FOUND.get(name, name), ("", ""))
        cost = costs.get(_COSTS.get(name, f"{name}()"), "")
        lines.append(f"| `{name}` | {_learns(state.method)} | {_trains(state)} | {cost} | {accuracy} | {seconds} |")
    return "\n".join(lines)


def _learns(method: Method) -> str:
    parts = [] if method.name == "augment_only" else ["architecture"]
    parts += [] if method.policy is None else ["augmentation"]
    parts += [] if method.hyperparameters is None else ["learning rate, weight decay"]
    return ", ".join(parts) + (": ends trained" if method.network is not None else "")


def _trains(state: SearchState) -> str:
    if state.supernet is None:
        return "a network of its own"
    drawn = state.method.sampler(state).drawn
    if drawn is None:
        return "all options"
    count = sum(map(len, drawn))
    return (
        "one path" if count == len(state.space.choices) else f"{count} of {int(state.space.choices.mask.sum())} options"
    )


def _rows(page: str) -> list[list[str]]:
    lines = (ROOT / "benchmarks" / page).read_text().splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def _costs() -> dict[str, str]:
    """The third column of the table of outer steps, by call; the table has five."""
    return {row[0]: row[2] for row in _rows("methods.md") if len(row) == 5 and re.fullmatch(r"[\d.]+", row[2])}


def _found() -> dict[str, tuple[str, str]]:
    """Test accuracy with its number of seeds, and CPU seconds; the table has eleven columns."""
    rows = [row for row in _rows("proxy.md") if len(row) == 11 and row[1].isdigit()]
    return {row[0]: (f"{row[2]} ({row[1]})", row[7]) for row in rows}


PAGES = {ROOT / "docs" / "choosing.md": (by_space, by_cost), ROOT / "README.md": (by_space,)}


def written(page: Path) -> str:
    """The page with its tables made anew, between ``<!-- by_space -->`` and ``<!-- end -->``."""
    text = page.read_text()
    for make in PAGES[page]:
        begin = f"<!-- {make.__name__} -->\n"
        if text.count(begin) != 1:
            raise ValueError(f"{page} has {text.count(begin)} places {begin.strip()}; expected one.")
        before, after = text.split(begin)
        text = f"{before}{begin}\n{make()}\n\n{after[after.index('<!-- end -->') :]}"
    return text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for page in PAGES:
            page.write_text(written(page))
