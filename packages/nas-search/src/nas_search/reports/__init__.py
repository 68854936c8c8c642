"""Reports: a run folder as a page."""

from nas_search.reports.html import write_report

__all__ = ["write_report"]
