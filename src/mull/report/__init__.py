"""Pictures and pages: the self-contained ``report.html`` and the terminal's table."""

from mull.report.page import load, render, write
from mull.report.table import table

__all__ = ["load", "render", "table", "write"]
