"""What every test shares: where real data is, and a machine-independent number of threads."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _two_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _same_randomness() -> None:
    """What draws from the global generator, such as initial weights and dropout, does so alike in every run and order."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says how to provide it."""
    folder = Path(os.environ.get("NAS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NAS_TEST_DATA to a folder that holds it")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests are run without coverage, which makes enumerations and compilers several times as slow; nightly ones if asked."""
    for item in items:
        if item.get_closest_marker("nightly") is not None:
            item.add_marker("slow")
            if "NAS_NIGHTLY" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="takes minutes: `nox -s nightly` runs it"))
        if item.get_closest_marker("slow") is not None:
            item.add_marker("no_cover")
