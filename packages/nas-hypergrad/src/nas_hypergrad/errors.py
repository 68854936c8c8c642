"""What nas-hypergrad raises and warns of.

HypergradError
|-- ProblemError (also ValueError)       losses or variables that cannot give a hypergradient
|-- SettingError (also ValueError)       an option of an estimator outside its range
|-- NonFiniteError (also ValueError)     NaN or infinity appeared on the way; says at which term
`-- ConformanceError (also AssertionError)   an estimator breaks a rule of `nas_hypergrad.testing`

ConvergenceWarning (UserWarning)         the series or the solve does not converge; says the bound
"""

__all__ = [
    "ConformanceError",
    "ConvergenceWarning",
    "HypergradError",
    "NonFiniteError",
    "ProblemError",
    "SettingError",
]


class HypergradError(Exception):
    """Base of every error that nas-hypergrad raises on purpose."""


class ProblemError(HypergradError, ValueError):
    """A loss or a variable cannot give a hypergradient; the message names it and the remedy."""


class SettingError(HypergradError, ValueError):
    """An option lies outside its range; the message says what was given and what is expected."""


class NonFiniteError(HypergradError, ValueError):
    """NaN or infinity appeared; the message names the quantity or the term at which it did."""


class ConformanceError(HypergradError, AssertionError):
    """An estimator breaks a rule that every estimator keeps; raised by `nas_hypergrad.testing`."""


class ConvergenceWarning(UserWarning):
    """A series grows or a solve stopped early; the message says the bound that is exceeded."""
