"""What our parts say of themselves, read from their source: importing them takes seconds, most of them for torch."""

import ast
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

__all__ = ["told_methods", "told_parts"]

# The catalogues whose names stand in a literal ``_OURS``, and the entry points by which others add to them.
_CATALOGS = {"spaces": ("nas_spaces", "nas.spaces"), "policies": ("nas_augment", "nas.policies")}


def told_parts(kind: str) -> dict[str, str] | None:
    """The first line of the docstring of every one of our ``spaces`` or ``policies``, in the order of their catalogue.

    Returns:
        None where it takes an import, as `told_methods`.
    """
    package, group = _CATALOGS[kind]
    spec = find_spec(package)
    if entry_points(group=group) or spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parents[1]
    places: dict[str, str] = next(
        ast.literal_eval(node.value)
        for node in _parse(root, f"{package}.catalog").body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_OURS" for t in node.targets)
    )
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
    spec = find_spec("nas_search")  # finds a package without importing it
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parents[1]
    package = _parse(root, "nas_search.methods.__init__")
    names = next(
        ast.literal_eval(node.value)
        for node in package.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    )
    homes = {
        alias.name: node.module
        for node in package.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }
    return {name: _summary(_parse(root, homes[name]), name) for name in names}


def _parse(root: Path, module: str) -> ast.Module:
    return ast.parse(root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))


def _summary(module: ast.Module, name: str) -> str:
    function = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
    lines = (ast.get_docstring(function) or "").splitlines()
    return lines[0] if lines else ""
