"""XLA's own convolution, for every device, layout and dtype."""

import jax
from jax import lax
from jax.lax import conv_general_dilated as xla_convolution  # bound now: who puts ours in its place means others' calls

from jaxcnn.ops.conv.problem import Problem, Spec


def supports(problem: Problem) -> bool:
    """Whether the outputs are wanted.

    The rule also expresses both gradients as convolutions.
    """
    return problem.wanted == "outputs"


def run(inputs: jax.Array, kernel: jax.Array, problem: Problem) -> jax.Array:
    """Computes the outputs."""
    return correlate(inputs, kernel, problem.spec)


def correlate(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """Computes the outputs by lax, which JAX differentiates."""
    padding = list(spec.window.padding)
    for place, (axis, dilation) in enumerate(zip(spec.dims.lhs_spec[2:], spec.window.input_dilation, strict=True)):
        low, high = padding[place]
        # cropped first, as XLA on CPU reads beyond the inputs there: jaxlib 0.10, float32, one and two axes
        if low < 0 < high and dilation == 1:
            inputs = lax.slice_in_dim(inputs, -low, inputs.shape[axis], axis=axis)
            padding[place] = (0, high)
    return xla_convolution(
        inputs,
        lax.rev(kernel, spec.dims.rhs_spec[2:]) if spec.flip else kernel,
        spec.window.strides,
        padding,
        lhs_dilation=spec.window.input_dilation,
        rhs_dilation=spec.window.dilation,
        dimension_numbers=spec.dims,
        feature_group_count=spec.feature_groups,
        batch_group_count=spec.batch_groups,
        precision=spec.precision,
        preferred_element_type=spec.element_type,
        out_sharding=spec.out_sharding,
    )
