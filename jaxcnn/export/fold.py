"""Folds batch normalization into the convolution before it."""

import warnings
from collections.abc import MutableSequence, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxcnn import layers
from jaxcnn.models.summary import observe

Model = TypeVar("Model", bound=nnx.Module)
_ANY_SIZE = 64  # where a network takes any size, large enough for all windows
_MARK = "jaxcnn.export:"
_KERNELS, _NORMS = (layers.Conv, nnx.Conv, nnx.Linear), (layers.BatchNorm, nnx.BatchNorm)

# In evaluation both are affine in each output channel o: the convolution y = w_o * x + b_o, and the normalization
# z = (y - mean_o) f_o + shift_o with f_o = scale_o / sqrt(var_o + eps). Hence
#
#     z = (f_o w_o) * x + (b_o - mean_o) f_o + shift_o,
#
# one convolution with another kernel and another bias, if nothing else reads y.


class Identity(nnx.Module):
    """The identity, which replaces a normalization."""

    def __call__(self, x: jax.Array, *_: Any, **__: Any) -> jax.Array:
        """Returns its input; other arguments of a normalization mean nothing here."""
        return x


def fold_batch_norm(model: Model, input_shape: Sequence[int] | None = None) -> Model:
    """Folds every batch normalization into the layer before it.

    The layer is a convolution or dense; its kernel and bias change.

    Args:
      model: a trained network, with channels last; it stays unchanged.
      input_shape: shape of one example; by default the network's own `input_shape`.

    Returns:
      A network for inference that computes the same, in evaluation mode. A normalization stays if it does not follow a
      kernel, or if the output before it has other readers, as at the start of each block in residual networks of
      version 2. A warning says how many stay.

    Raises:
      ValueError: if the shape of an example is not known.

    Source: Jacob et al. 2018, section 3.2.
    """
    folded: Any = nnx.clone(model)
    folded.eval()
    calls = _calls(folded, input_shape)
    for call in calls:
        if call.kernel is not None:
            _fold(call.kernel, call.norm)
            _replace(folded, call.norm, Identity())
    left = [call.name for call in calls if call.kernel is None]
    if left:
        warnings.warn(
            f"{len(left)} of {len(calls)} batch normalizations follow no kernel of their own and stay: "
            f"{', '.join(left[:3])}{', ...' if len(left) > 3 else ''}.",
            RuntimeWarning,
            stacklevel=2,
        )
    return folded


class _Call(NamedTuple):
    """A normalization, and the layer that it alone reads, if any."""

    name: str
    norm: Any
    kernel: Any


def _calls(model: nnx.Module, input_shape: Sequence[int] | None) -> list[_Call]:
    """The normalizations in the order of their first calls.

    One trace of the network finds them.
    """
    graph, state = nnx.split(model)
    mine = {path: module for path, module in nnx.iter_modules(model)}
    seen: list[tuple[tuple, int | None]] = []  # path of a normalization, number of the kernel whose output it read
    kernels: list[tuple] = []  # paths

    def call(state: Any, inputs: jax.Array) -> Any:
        copy = nnx.merge(graph, state)
        paths = {id(module): path for path, module in nnx.iter_modules(copy)}
        outputs: list[Any] = []

        def record(module: nnx.Module, inputs: Any, output: Any) -> Any:
            if isinstance(module, _NORMS):
                last = getattr(module, "axis", -1) in (-1, inputs.ndim - 1)  # only there are a kernel's outputs
                number = next((i for i, output in enumerate(outputs) if last and output is inputs), None)
                seen.append((paths[id(module)], number))
            elif isinstance(module, _KERNELS):
                output = checkpoint_name(output, f"{_MARK}{len(kernels)}")  # found again in the jaxpr
                kernels.append(paths[id(module)])
                outputs.append(output)
            return output

        observe(copy, record)
        return copy(inputs)

    dtype = getattr(model, "input_dtype", jnp.float32)
    shape = (1, *example_shape(model, input_shape, any_size=_ANY_SIZE))
    readers = _readers(jax.make_jaxpr(call)(state, jax.ShapeDtypeStruct(shape, dtype)).jaxpr)
    calls = []
    for path, number in dict(seen).items():
        once = sum(path == other for other, _ in seen) == 1
        kernel = None
        if number is not None and once and kernels.count(kernels[number]) == 1 and readers.get(number) == 1:
            kernel = mine[kernels[number]]
        calls.append(_Call("/".join(map(str, path)), mine[path], kernel))
    return calls


def _readers(jaxpr: Any) -> dict[int, int]:
    """The number of readers of each marked output."""
    reads: dict[Any, int] = {}
    for variable in [v for equation in jaxpr.eqns for v in equation.invars] + list(jaxpr.outvars):
        if not hasattr(variable, "val"):
            reads[variable] = reads.get(variable, 0) + 1
    names = [(str(equation.params.get("name", "")), equation.outvars) for equation in jaxpr.eqns]
    return {int(name.removeprefix(_MARK)): reads.get(out[0], 0) for name, out in names if name.startswith(_MARK)}


def _replace(model: nnx.Module, old: nnx.Module, new: nnx.Module) -> None:
    """Puts a module in another's place, under all its names."""
    for _, parent in list(nnx.iter_modules(model)):
        if isinstance(parent, MutableSequence):
            for place, part in enumerate(parent):
                if part is old:
                    parent[place] = new
        else:
            for name, part in list(vars(parent).items()):
                if part is old:
                    setattr(parent, name, new)


def _fold(layer: Any, norm: Any) -> None:
    """Replaces a layer's kernel and bias by those with a normalization.

    They are computed in float64.
    """
    wide = {name: np.asarray(getattr(norm, name)[...], np.float64) for name in ("mean", "var")}
    scale, shift = (0.0 if value is None else np.asarray(value[...], np.float64) for value in (norm.scale, norm.bias))
    factor = (1.0 if norm.scale is None else scale) / np.sqrt(wide["var"] + norm.epsilon)
    kernel = layer.kernel[...]
    bias = 0.0 if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    layer.kernel[...] = jnp.asarray(np.asarray(kernel, np.float64) * factor, kernel.dtype)
    layer.bias = nnx.Param(jnp.asarray((bias - wide["mean"]) * factor + shift, kernel.dtype))
    if hasattr(layer, "use_bias"):
        layer.use_bias = True


def example_shape(model: nnx.Module, input_shape: Sequence[int] | None, any_size: int | None = None) -> tuple[int, ...]:
    """Returns an example's shape, as given or from the network.

    Raises:
      ValueError: if it is not given, and the network does not have it.
    """
    shape = getattr(model, "input_shape", None) if input_shape is None else tuple(input_shape)
    if shape is None or (any_size is None and None in shape):
        said = "" if shape is None else f", which takes {tuple('any' if n is None else n for n in shape)}"
        raise ValueError(f"`input_shape` must be given for {type(model).__name__}{said}; got None.")
    return tuple(any_size if n is None else n for n in shape)  # type: ignore[misc]
