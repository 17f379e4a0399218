"""What a trained network holds and does, as arrays, pictures and a page."""

from jaxcnn.inspect.report import write_report

__all__ = [
    "write_report",
]
