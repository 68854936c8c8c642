"""What nas-hypergrad raises.

HypergradError
`-- ProblemError (also ValueError)    losses or variables that cannot give a hypergradient
"""

__all__ = ["HypergradError", "ProblemError"]


class HypergradError(Exception):
    """Base of every error that nas-hypergrad raises on purpose."""


class ProblemError(HypergradError, ValueError):
    """A loss or a variable cannot give a hypergradient; the message names it and the remedy."""
