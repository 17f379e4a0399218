"""Proofs for hand-written gradients, of this library or of anyone."""

from jaxcnn.check.comparing import compare
from jaxcnn.check.report import Finding, Report
from jaxcnn.check.vjp import KINDS, assert_vjp, check_vjp

__all__ = [
    "Finding",
    "KINDS",
    "Report",
    "assert_vjp",
    "check_vjp",
    "compare",
]
