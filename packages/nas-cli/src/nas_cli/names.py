"""The names of what is installed, ours and others', with what each is: for ``nascli list`` and for completion."""

from nas_cli.source import told_data, told_estimators, told_methods, told_parts

__all__ = ["KINDS", "first_line", "told"]

KINDS = ("spaces", "methods", "policies", "data", "hypergradients")
_ESTIMATORS = ("FirstOrder", "Unrolled", "Implicit", "ForwardMode")


def told(kind: str) -> dict[str, str]:
    """Names, and a line about each, of one of KINDS; torch is imported only where it has to be."""
    if kind == "methods" and (ours := told_methods()) is not None:
        return ours
    if kind in ("spaces", "policies") and (ours := told_parts(kind)) is not None:
        return ours
    if kind == "data" and (ours := told_data()) is not None:
        return ours
    if kind == "hypergradients" and (ours := told_estimators(_ESTIMATORS)) is not None:
        return ours
    from nas_search import catalog
    from nas_search.data_sources import sources
    from nas_spaces import catalog as spaces

    if kind == "data":
        return sources()
    if kind == "hypergradients":
        import nas_hypergrad

        return {name: first_line(getattr(nas_hypergrad, name).__doc__) for name in _ESTIMATORS}
    places = {"spaces": spaces.names, "methods": catalog.methods, "policies": catalog.policies}[kind]()
    return {name: _summary(place) for name, place in places.items()}


def _summary(place: str) -> str:
    """The first line of what a ``module:function`` says of itself; a plug-in that does not import says so."""
    from nas_search import ConfigError, catalog

    try:
        return first_line(catalog.load(place).__doc__)
    except ConfigError as error:
        return f"(broken: {first_line(str(error))})"


def first_line(text: str | None) -> str:
    """The first line of a docstring; nothing of none."""
    lines = (text or "").strip().splitlines()
    return lines[0] if lines else ""
