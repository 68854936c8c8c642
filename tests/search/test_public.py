"""What is public, and that the examples in the documentation run."""

import doctest
import importlib
import pkgutil
import re
from types import GenericAlias

import pytest

import nas_search
from nas_search import roles

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


def test_the_page_of_roles_has_all_of_them_in_one_table() -> None:
    text = roles.__doc__ or ""
    assert len(re.findall(r"^=+  =+  =+$", text, flags=re.M)) == 3, "above the heading, below it, and at the end"
    named = re.findall(r"^`+(\w+)`+  ", text, flags=re.M)
    currencies = {"ChoiceWeights", "Event"}
    parts = {name: getattr(roles, name) for name in roles.__all__}
    # Python 3.10 takes an alias for a class.
    kinds = {name for name, part in parts.items() if isinstance(part, type) and not isinstance(part, GenericAlias)}
    assert set(named) - {"Data"} == kinds - currencies
