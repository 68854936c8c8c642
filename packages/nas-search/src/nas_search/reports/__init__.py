"""Reports: a run folder as a page."""

from nas_search.reports.chart import can_draw
from nas_search.reports.html import write_report, write_report_if_possible

__all__ = ["can_draw", "write_report", "write_report_if_possible"]
