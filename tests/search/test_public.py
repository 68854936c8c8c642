"""What is public, and that the examples in the documentation run."""

import doctest
import importlib
import pkgutil

import pytest

import nas_search

MODULES = [module.name for module in pkgutil.walk_packages(nas_search.__path__, "nas_search.")]


@pytest.mark.parametrize("name", ["nas_search", *MODULES])
def test_every_module_says_what_is_public_and_has_it(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in module.__all__:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
