"""Conformance check for methods, ours and others'.

Call it from your own tests::

    from nas_search.testing import check_method

    def test_my_method():
        check_method(my_method())
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from nas_search.data import Data
from nas_search.data_sources import fake
from nas_search.errors import Interrupted
from nas_search.method import Method
from nas_search.result import SearchResult
from nas_search.roles import Event
from nas_search.searching import search
from nas_search.text_sources import fake_text
from nas_spaces import SearchSpace, nas_bench_201

__all__ = ["check_method"]


def check_method(method: Method, space: SearchSpace | None = None, data: Data | None = None) -> SearchResult:
    """Run a method for three short epochs on the CPU and check the laws that every method obeys.

    Args:
        method: the method.
        space: where it searches; NAS-Bench-201 when left out.
        data: what it searches on; small random images, or text for a space that reads tokens, when left out.

    Returns:
        The result of the search.

    Raises:
        AssertionError: a law does not hold; the message names it.
    """
    space = space or nas_bench_201()
    if data is None:
        data = fake_text(8, count=400, time=4) if space.reads == "tokens" else fake("1x8x8", count=128)
    settings = {"epochs": 3, "batch_size": 16, "device": "cpu", "channels": 4, "cells": 1}
    before = torch.random.get_rng_state()
    first = search(space, data, method, **settings)  # type: ignore[arg-type]
    assert torch.equal(before, torch.random.get_rng_state()), "the global random state is not touched"
    assert space.parse(str(first.architecture)) == first.architecture, "the architecture belongs to the space"
    assert first.ranked_by, "the result says what its candidates are ranked by, or why there are none"
    assert [each.architecture for each in first.candidates[:1]] in ([], [first.architecture]), "the best one is found"
    assert len(first.history) == 3, "there is one record per epoch"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"

        def stop(event: Event) -> None:
            if event.kind == "epoch" and event.epoch == 2:
                assert _untimed(event.state.history) == _untimed(first.history[:2]), "equal seeds give equal histories"
                raise Interrupted("for the check")

        try:
            search(space, data, method, out=out, observers=(stop,), **settings)  # type: ignore[arg-type]
        except Interrupted:
            pass
        else:
            raise AssertionError("the observers are told of every epoch")
        resumed = search(space, data, method, out=out, resume=True, **settings)  # type: ignore[arg-type]
        assert _lasting(resumed) == _lasting(first), "a resumed search ends as one that was not interrupted"
        assert _lasting(SearchResult.load(out, space)) == _lasting(first), "a saved result is read back"
    return first


def _lasting(result: SearchResult) -> tuple[object, ...]:
    """What does not depend on how fast the machine is."""
    return (
        result.architecture,
        result.policy,
        dict(result.hyperparameters),
        _untimed(result.history),
        dict(result.metrics),
        result.candidates,
    )


def _untimed(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    timings = {"seconds", "images_per_second"}
    return [{key: value for key, value in record.items() if key not in timings} for record in history]
