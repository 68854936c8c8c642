"""Methods that end before they collapse: the same method with a stop rule, what the rule reads, and its selector."""

from dataclasses import replace

from nas_search.diagnostics import HessianSpectrum, SkipConnections
from nas_search.method import Method
from nas_search.selection import BeforeStop
from nas_search.stopping import EigenvalueRise, SkipLimit

__all__ = ["stopped_by_eigenvalue", "stopped_by_skips"]


def stopped_by_eigenvalue(
    method: Method, ratio: float = 0.75, window: int = 5, spectrum: HessianSpectrum = HessianSpectrum()
) -> Method:
    """Stop when the curvature rises, and take the architecture from before that (Zela et al., "RobustDARTS", ICLR 2020).

    Args:
        method: one whose relaxation weights every option.
        ratio: see `EigenvalueRise`.
        window: see `EigenvalueRise`.
        spectrum: how the curvature is measured.
    """
    rule = EigenvalueRise(ratio, window)
    return replace(method, observers=(*method.observers, spectrum), stop=rule, selector=BeforeStop(window))


def stopped_by_skips(method: Method, limit: int = 2) -> Method:
    """Stop when the normal cell has `limit` skip connections (Liang et al., "DARTS+", 2019)."""
    return replace(method, observers=(*method.observers, SkipConnections()), stop=SkipLimit(limit))
