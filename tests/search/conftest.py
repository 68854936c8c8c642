"""Small data and settings that every test of a search uses."""

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
