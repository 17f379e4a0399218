"""Every op's cases: its configurations, and inputs for them.

`jaxcnn check` and the tests prove the rules on these cases. A test fails if an op has no case.
"""

import functools
import itertools

import jax

from jaxcnn import ops
from jaxcnn.ops.cases.case import Case
from jaxcnn.ops.cases.lowerings import lowering_cases
from jaxcnn.ops.cases.native import native_cases
from jaxcnn.ops.cases.products import conv_cases, pool_cases
from jaxcnn.ops.cases.weighted import weighted_cases
from jaxcnn.ops.cases.whole import whole_cases

WITHOUT_GRADIENT = ("non_maximum_suppression",)  # it returns places; a case would prove nothing


@functools.cache
def cases(full: bool = False, op: str | None = None) -> list[Case]:
    """Returns the cases.

    Args:
      full: whether to return the full product of configurations, instead of a sample of it.
      op: name of an op, to return only its cases.

    Returns:
      The cases, in the order of the table.
    """
    on_cpu = jax.default_backend() == "cpu"
    every = itertools.chain(
        whole_cases(),
        weighted_cases(),
        lowering_cases() if on_cpu else (),
        native_cases() if on_cpu and ops.native.available() else (),
        conv_cases(full),
        pool_cases(full),
    )
    return [case for case in every if op in (None, case.op)]
