"""The hand-written rule of convolution: its gradients as convolutions."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn import geometry
from jaxcnn.ops import arrays
from jaxcnn.ops.conv import select
from jaxcnn.ops.conv.problem import Spec, problem_of
from jaxcnn.ops.rule import custom_vjp
from jaxcnn.ops.sharding import explicit_sharding, match_cotangent

# The rule. In one axis and one group, with stride s, low padding p, input dilation b, kernel dilation d, input size n
# and kernel size k, the forward is the correlation of x, dilated by b, with w, dilated by d:
#
#     y[m, j, o] = sum_{t, i} x^[m, s j + d t - p, i] w[t, i, o],       x^[b q] = x[q], zero elsewhere.          (1)
#
# A hat is the dilated array, or its size: e^ is e = dL/dy dilated by s, n^ = b (n - 1) + 1, k^ = d (k - 1) + 1.
#
# Input gradient. The output j reads the input q with tap t where b q = s j + d t - p. So
#
#     dx[m, q, i] = sum_{t, o} e^[m, b q - d t + p, o] w[t, i, o].
#
# Put t = k - 1 - t': the index is b q + d t' - (d (k - 1) - p). This is (1) once more, of e^, with stride and input
# dilation exchanged, the kernel flipped and its axes i and o exchanged, and the low padding d (k - 1) - p. The high
# padding makes the size come out as n. It contains the remainder a = (n^ + pads - k^) mod s, so that trailing cells
# that no window reached get their zero gradient instead of vanishing.
#
# Kernel gradient. By the same incidence, dw[t, i, o] = sum_{m, j} x^[m, d t + s j - p, i] e[m, j, o]. This is (1) of
# x with e as the kernel: stride d, kernel dilation s, the same low padding, the batch m summed where (1) sums
# channels, i in the place of the batch. The high padding makes the size come out as k.
#
# A flipped forward is (1) with w reversed: the input gradient negates `flip`, the kernel gradient is reversed.
#
# Groups. Channels in G groups are i = (g, i') and o = (g, o'). The input gradient exchanges i' and o' inside each
# group. In the kernel gradient i stands in the batch's place, so groups of channels become groups of the batch, and
# groups of the batch become groups of channels. Hence `convolution` knows both kinds, and is closed under its own rule:
# second and higher derivatives are again hand-written.


@custom_vjp(2)
def convolution(inputs: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    """Computes the outputs by the fastest method, with the hand-written rule."""
    return select.convolve(inputs, kernel, spec)


def _convolution_fwd(inputs: jax.Array, kernel: jax.Array, spec: Spec):
    return convolution(inputs, kernel, spec), (inputs, kernel)


def _convolution_bwd(spec: Spec, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array):
    inputs, kernel = residuals
    if cotangent.size == 0:  # no output, no gradient; XLA has no convolution with an empty kernel
        return tuple(match_cotangent(jnp.zeros_like(array), array) for array in residuals)
    wide = arrays.wider(cotangent.dtype, inputs.dtype)
    cotangent = cotangent.astype(wide)
    input_gradient = _input_gradient(cotangent, kernel.astype(wide), inputs, spec)
    kernel_gradient = _kernel_gradient(inputs.astype(wide), cotangent, kernel, spec)
    return match_cotangent(input_gradient, inputs), match_cotangent(kernel_gradient, kernel)


convolution.defvjp(_convolution_fwd, _convolution_bwd)


def _input_gradient(cotangent: jax.Array, kernel: jax.Array, inputs: jax.Array, spec: Spec) -> jax.Array:
    problem = select.resolve(problem_of("inputs", kernel, cotangent, spec, inputs, kernel))
    way = select.lowering(problem)
    if way is not None:
        return way.run(kernel, cotangent, problem)
    lhs, rhs, out = spec.dims
    groups = max(spec.feature_groups, spec.batch_groups)
    gradient = convolution(
        cotangent,
        arrays.move_groups(kernel, rhs[0], rhs[1], groups),
        problem.spec._replace(
            window=geometry.transposed_window(spec.window, problem.input_sizes),
            dims=lax.ConvDimensionNumbers(out, (rhs[1], rhs[0], *rhs[2:]), lhs),
            feature_groups=groups,
            batch_groups=1,
            flip=not spec.flip,
            element_type=None,
            out_sharding=explicit_sharding(inputs, cotangent) if spec.batch_groups == 1 else None,
        ),
    )
    return arrays.move_groups(gradient, lhs[1], lhs[0], spec.batch_groups)


def _kernel_gradient(inputs: jax.Array, cotangent: jax.Array, kernel: jax.Array, spec: Spec) -> jax.Array:
    problem = select.resolve(problem_of("kernel", inputs, cotangent, spec, inputs, kernel))
    way = select.lowering(problem)
    if way is not None:
        return way.run(inputs, cotangent, problem)
    if jax.default_backend() == "cpu" and spec.method != "lax":
        # whichever method is next: XLA transposes both, the inputs in the forward pass, to keep them twice, and would
        # compute what made either inside the transpose, cell by cell
        inputs, cotangent = lax.optimization_barrier((arrays.not_before(inputs, cotangent), cotangent))
    own = kernel_gradient_spec(problem.spec, problem.input_sizes)
    gradient = convolution(inputs, cotangent, own._replace(out_sharding=explicit_sharding(kernel, cotangent)))
    return lax.rev(gradient, spec.dims.rhs_spec[2:]) if spec.flip else gradient


def kernel_gradient_spec(spec: Spec, input_sizes: tuple[int, ...]) -> Spec:
    """Returns the convolution that gives the kernel gradient.

    It is that of inputs and cotangent; its result has yet to be reversed.
    """
    lhs, rhs, out = ((axes[1], axes[0], *axes[2:]) for axes in spec.dims)
    return spec._replace(
        window=geometry.tap_window(spec.window, input_sizes),
        dims=lax.ConvDimensionNumbers(lhs, out, rhs),
        feature_groups=spec.batch_groups,
        batch_groups=spec.feature_groups,
        flip=False,
        element_type=None,
        out_sharding=None,
    )
