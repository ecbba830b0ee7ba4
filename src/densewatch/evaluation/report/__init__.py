"""The page that shows what was measured: one HTML file that needs nothing else."""

from densewatch.evaluation.report.page import write_page
from densewatch.evaluation.report.pictures import ShownPicture

__all__ = ["ShownPicture", "write_page"]
