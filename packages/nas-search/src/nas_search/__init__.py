"""Search architectures, augmentation policies and hyper-parameters by gradients.

Read `roles` first: what the parts of a search are. `methods` composes them, `search` runs them.
"""

from nas_search import methods
from nas_search.data import Examples, ImageData
from nas_search.errors import (
    CheckpointError,
    ConfigError,
    ConvergenceError,
    DataError,
    ExportError,
    Interrupted,
    LoaderError,
    NonFiniteError,
    RunFolderError,
    SearchError,
    WorkerError,
)
from nas_search.method import Method
from nas_search.references import citations
from nas_search.result import Candidate, SearchResult
from nas_search.searching import search
from nas_search.text import TextData

__all__ = [
    "Candidate",
    "CheckpointError",
    "ConfigError",
    "ConvergenceError",
    "DataError",
    "Examples",
    "ExportError",
    "ImageData",
    "Interrupted",
    "LoaderError",
    "Method",
    "NonFiniteError",
    "RunFolderError",
    "SearchError",
    "SearchResult",
    "TextData",
    "WorkerError",
    "citations",
    "methods",
    "search",
]
