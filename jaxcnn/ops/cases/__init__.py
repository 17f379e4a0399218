"""The table of cases of every op: its configurations, and inputs that suit them.

`jaxcnn check` proves them, and the tests go through them; an op without a case fails a test.
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


@functools.cache
def cases(full: bool = False, op: str | None = None) -> list[Case]:
    """Every case; with `full` the whole product of configurations; with `op` those of one op."""
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
