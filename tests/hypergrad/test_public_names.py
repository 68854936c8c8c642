"""The public surface."""

import importlib
import pkgutil

import nas_hypergrad


def test_every_module_lists_its_names_and_the_package_exports_existing_ones() -> None:
    assert list(nas_hypergrad.__all__) == sorted(nas_hypergrad.__all__)
    assert all(hasattr(nas_hypergrad, name) for name in nas_hypergrad.__all__)
    for found in pkgutil.iter_modules(nas_hypergrad.__path__):
        module = importlib.import_module(f"nas_hypergrad.{found.name}")
        assert all(hasattr(module, name) for name in module.__all__), found.name


def test_parts_are_values_that_print_themselves() -> None:
    part = nas_hypergrad.Implicit(nas_hypergrad.neumann(2, 0.1))
    assert part == nas_hypergrad.Implicit(nas_hypergrad.neumann(terms=2, step_size=0.1))
    assert "Neumann(terms=2, step_size=0.1" in repr(part)
