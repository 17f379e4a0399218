"""What a trained network holds and does."""

from jaxcnn.inspect.report import write_report

__all__ = [
    "write_report",
]
