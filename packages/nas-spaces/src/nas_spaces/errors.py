"""What nas-spaces raises.

SpacesError
|-- ArchitectureError (also ValueError)   a text or an architecture that the space does not have
|-- WeightsError (also ValueError)        choice weights of the wrong shape, or that are not numbers
|-- InputError (also ValueError)          images or sizes that a network cannot work with
|-- TableError (also ValueError)          a tabular benchmark that cannot be read, or lacks what was asked for
`-- UnknownSpaceError (also ValueError)   a name that no installed space has
"""

__all__ = ["ArchitectureError", "InputError", "SpacesError", "TableError", "UnknownSpaceError", "WeightsError"]


class SpacesError(Exception):
    """Base of every error that nas-spaces raises on purpose."""


class ArchitectureError(SpacesError, ValueError):
    """A text or an architecture that the space does not have."""


class WeightsError(SpacesError, ValueError):
    """Choice weights of the wrong shape, or that are not numbers."""


class InputError(SpacesError, ValueError):
    """Images or sizes that a network cannot work with."""


class TableError(SpacesError, ValueError):
    """A tabular benchmark that cannot be read, or lacks what was asked for."""


class UnknownSpaceError(SpacesError, ValueError):
    """A name that no installed search space has."""
