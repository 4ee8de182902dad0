"""Reports for people: one HTML file per pair, and one index of all pairs."""

from exo2micro.report.finished import report_finished, report_pair
from exo2micro.report.index import write_index

__all__ = ["report_finished", "report_pair", "write_index"]
