"""The C++ backend, where it is available.

It has oneDNN's convolution and both of its gradients, in every layout.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops import native
from jaxcnn.ops.conv.problem import Problem
from jaxcnn.ops.native.form import Form, operands


def supports(problem: Problem) -> bool:
    """What the backend has fast code for.

    Then every derivative is fast too.
    """
    form, dtype = _form(problem), problem.dtype
    if problem.spec.batch_groups > 1 or form.dtype != dtype or dtype not in native.DTYPES or native.partly_mapped():
        return False
    kinds = jax.ShapeDtypeStruct(problem.inputs_shape, dtype), jax.ShapeDtypeStruct(problem.kernel_shape, dtype)
    return native.suits(*kinds, form._replace(wanted="outputs"))


def run(first: jax.Array, second: jax.Array, problem: Problem) -> jax.Array:
    """The wanted array."""
    spec, wanted = problem.spec, problem.wanted
    taps = spec.dims.rhs_spec[2:]
    if spec.flip and wanted != "kernel":
        pair = zip(operands(wanted), (first, second), strict=True)
        first, second = (lax.rev(array, taps) if part == "kernel" else array for part, array in pair)
    result = native.compute(first, second, _form(problem))
    return lax.rev(result, taps) if spec.flip and wanted == "kernel" else result


def _form(problem: Problem) -> Form:
    spec = problem.spec
    dtype = jnp.dtype(spec.element_type or problem.dtype) if problem.wanted == "outputs" else problem.dtype
    return Form(spec.window, problem.input_sizes, spec.dims, spec.feature_groups, problem.wanted, dtype)
