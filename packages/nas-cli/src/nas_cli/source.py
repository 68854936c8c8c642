"""What our parts say of themselves, read from their source: importing them takes seconds, most of them for torch."""

import ast
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["told_data", "told_estimators", "told_methods", "told_parts"]

# The catalogues whose names stand in a literal ``_OURS``, and the entry points by which others add to them.
_CATALOGS = {"spaces": ("nas_spaces", "nas.spaces"), "policies": ("nas_augment", "nas.policies")}


def told_parts(kind: str) -> dict[str, str] | None:
    """The first line of the docstring of every one of our ``spaces`` or ``policies``, in the order of their catalogue.

    Returns:
        None where it takes an import, as `told_methods`.
    """
    package, group = _CATALOGS[kind]
    root = _root(package)
    if entry_points(group=group) or root is None:
        return None
    places: dict[str, str] = _literal(_parse(root, f"{package}.catalog"), "_OURS")
    told = {}
    for name, place in places.items():
        module, _, function = place.partition(":")
        told[name] = _summary(_parse(root, module), function)
    return told


def told_methods() -> dict[str, str] | None:
    """The first line of the docstring of every method of nas_search, in the order of its ``__all__``.

    Returns:
        None where it takes an import: for the methods of others, which may be made anyhow.
    """
    if entry_points(group="nas.methods"):
        return None
    root = _root("nas_search")
    if root is None:
        return None
    package = _parse(root, "nas_search.methods.__init__")
    return _summaries(root, package, _literal(package, "__all__"))


def told_data() -> dict[str, str] | None:
    """How every data source of ours is written, and what it is: ``_OURS`` of nas_search.data_sources.

    Returns:
        None where it takes an import, as `told_methods`.
    """
    root = _root("nas_search")
    if entry_points(group="nas.data") or root is None:
        return None
    told: dict[str, str] = _literal(_parse(root, "nas_search.data_sources"), "_OURS")
    return told


def told_estimators(names: Sequence[str]) -> dict[str, str] | None:
    """The first line of the docstring of each of these estimators of nas_hypergrad.

    Returns:
        None where the source is not there to be read.
    """
    root = _root("nas_hypergrad")
    return None if root is None else _summaries(root, _parse(root, "nas_hypergrad.__init__"), names)


def _summaries(root: Path, package: ast.Module, names: Sequence[str]) -> dict[str, str]:
    """The first lines of what a package imports under these names, from where it imports it."""
    homes = {
        alias.name: node.module
        for node in package.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }
    return {name: _summary(_parse(root, homes[name]), name) for name in names}


def _root(package: str) -> Path | None:
    """The folder that holds a package, which is found without being imported."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parents[1]


def _parse(root: Path, module: str) -> ast.Module:
    return ast.parse(root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))


def _literal(module: ast.Module, name: str) -> Any:
    """The value of a name that is assigned a literal."""
    return next(
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    )


def _definition(module: ast.Module, name: str) -> ast.FunctionDef | ast.ClassDef:
    return next(node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name)


def _summary(module: ast.Module, name: str) -> str:
    lines = (ast.get_docstring(_definition(module, name)) or "").splitlines()
    return lines[0] if lines else ""
