"""The papers that a method comes from, as BibTeX."""

from importlib.resources import files

from nas_search import catalog
from nas_search.errors import ConfigError

__all__ = ["citations"]

# The method's own paper first, then those whose parts it takes.
_SOURCES: dict[str, tuple[str, ...]] = {
    "allegro": ("allegro", "darts"),
    "amended_darts": ("amended", "darts"),
    "augment_only": ("daas", "dada", "faster_autoaugment"),
    "balenas": ("zhang_thesis",),
    "bayesian_optimization": ("botorch", "log_ei"),
    "daas": ("daas", "gdas"),
    "darts": ("darts", "robust_darts", "darts_plus"),
    "dha": ("dha", "ista"),
    "drnas": ("drnas",),
    "e2nas": ("e2nas", "zhang_thesis"),
    "e2nas_r": ("e2nas", "zhang_thesis"),
    "en2as": ("en2as", "zhang_thesis"),
    "enas": ("enas",),
    "gdas": ("gdas",),
    "hyperband": ("hyperband", "halving"),
    "idarts": ("idarts", "zhang_thesis"),
    "ista": ("ista",),
    "local_search": ("local_search",),
    "nsas": ("nsas", "zhang_thesis", "random_nas", "gdas"),
    "pc_darts": ("pc_darts",),
    "random_nas": ("random_nas",),
    "random_search": ("random_search",),
    "regularized_evolution": ("regularized_evolution",),
    "sequential_dha": ("dha", "ista"),
    "setn": ("setn",),
    "snas": ("snas",),
    "successive_halving": ("halving",),
}


def citations(method: str) -> tuple[str, ...]:
    """The papers to cite for a method, as BibTeX entries, its own paper first.

    Args:
        method: its name; hyphens and underscores are the same.

    Returns:
        One entry a paper; none for a method of others, whose papers its own documentation names.

    Raises:
        ConfigError: no such method is installed, with the nearest name.

    Example:
        >>> citations("darts")[0].splitlines()[0]
        '@inproceedings{darts,'
    """
    key, known = method.replace("-", "_"), catalog.methods()
    if key not in known:
        raise ConfigError(
            f"unknown method {method!r}; did you mean {catalog.nearest(key, known)!r}? Installed: {', '.join(known)}."
        )
    entries = _entries()
    return tuple(entries[paper] for paper in _SOURCES.get(key, ()))


def _entries() -> dict[str, str]:
    """The entries of ``references.bib`` by their keys; an empty line stands between two."""
    text = files("nas_search").joinpath("references.bib").read_text(encoding="utf-8")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in text.strip().split("\n\n")}
