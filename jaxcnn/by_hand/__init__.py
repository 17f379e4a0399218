"""The hand-written rules for any JAX function.

The function is traced, rewritten and run.
"""

from jaxcnn.by_hand.report import Replacement, Report, report
from jaxcnn.by_hand.transform import by_hand

by_hand.report = report  # pyright: ignore[reportFunctionMemberAccess]

__all__ = ["Replacement", "Report", "by_hand", "report"]
