"""The C++ backend, where it is built: oneDNN's convolution and both of its gradients."""

import jax
import jax.numpy as jnp

from jaxcnn.ops import native
from jaxcnn.ops.conv.problem import Problem, channels_last
from jaxcnn.ops.native.form import Form, whole_is_fast


def supports(problem: Problem) -> bool:
    """What the backend has fast code for, so that every derivative is fast too."""
    spec = problem.spec
    if spec.dims != channels_last(len(problem.inputs_shape)) or spec.flip:
        return False
    if set(spec.window.input_dilation) != {1} or min(map(min, spec.window.padding)) < 0 or spec.batch_groups > 1:
        return False
    if {problem.dtype, spec.element_type or problem.dtype} != {jnp.dtype(jnp.float32)} or native.partly_mapped():
        return False
    inputs, kernel = (
        jax.ShapeDtypeStruct(shape, problem.dtype) for shape in (problem.inputs_shape, problem.kernel_shape)
    )
    return whole_is_fast(inputs, kernel, _form(problem)._replace(wanted="outputs"))


def run(first: jax.Array, second: jax.Array, problem: Problem) -> jax.Array:
    """The wanted array."""
    return native.product(first, second, _form(problem))


def _form(problem: Problem) -> Form:
    spec = problem.spec
    return Form(spec.window, problem.input_sizes, spec.feature_groups, problem.wanted, problem.dtype)
