"""The README's code blocks, word for word, and the docstrings' examples."""

import doctest
import importlib
import io
import pkgutil
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import nas_hypergrad

README = Path(__file__).resolve().parents[2] / "packages" / "nas-hypergrad" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def run(code: str) -> tuple[float, float]:
    """The figures without and with hypergradients that a block prints, run by itself."""
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, README.name, "exec"), {"__name__": "__main__"})
    without, with_hypergradients = re.findall(r"\d+\.\d+", printed.getvalue())
    return float(without), float(with_hypergradients)


def test_there_are_two_examples() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.slow
def test_weight_decay_example_lowers_the_test_error() -> None:
    without, learned = run(BLOCKS[0])
    assert learned < 0.8 * without


@pytest.mark.slow
def test_data_cleaning_example_raises_the_accuracy() -> None:
    pytest.importorskip("sklearn")
    without, cleaned = run(BLOCKS[1])
    assert cleaned > without + 0.01


@pytest.mark.parametrize("name", [found.name for found in pkgutil.iter_modules(nas_hypergrad.__path__)])
def test_docstring_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(f"nas_hypergrad.{name}"))
    assert failed == 0
