"""Small data and settings that every test of a search uses."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_search import ImageData
from nas_search.data_sources import fake

SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "channels": 4, "cells": 1}


@pytest.fixture(scope="session")
def data() -> ImageData:
    """64 random grey images of 8 x 8 pixels in four classes."""
    return fake("1x8x8", count=64, classes=4)


@pytest.fixture
def small() -> dict[str, Any]:
    """Settings of a search that takes a fraction of a second."""
    return dict(SMALL)


@pytest.fixture(autouse=True)
def _no_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without a report, as where matplotlib is missing: drawing one takes longer than most of them do."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture
def drawn() -> None:
    """For tests that look at a report, where matplotlib can draw it."""
    pytest.importorskip("matplotlib")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Autoencoders are kept in the user's cache folder; those of the tests in one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        # But for matplotlib's, which would look through all fonts again.
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path("~/.cache/matplotlib").expanduser())))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
