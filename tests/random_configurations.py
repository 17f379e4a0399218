"""Random calls of the public ops, each against JAX's own functions or PyTorch: any layout, dtype and option.

`python -m random_configurations FIRST LAST` compares the configurations of these seeds, one line each; a process of its
own, as XLA ends the process on some convolutions, jaxcnn's or not.
"""

import functools
import importlib.util
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxcnn import geometry, ops

AXES = "HWD"
DTYPES = ("float64", "float32", "bfloat16", "float16")
TORCH = importlib.util.find_spec("torch") is not None


class Call(NamedTuple):
    """One call, and what computes the same; both take the arrays alone."""

    name: str
    ours: Callable[..., jax.Array]
    theirs: Callable[..., jax.Array]  # of float64
    arrays: tuple[np.ndarray, ...]
    stock: Callable[..., jax.Array] | None = None  # lax's own of the same call, to tell whose fault an abort is
    linear: bool = False  # in each array: then errors are measured against the sums of magnitudes


class Draw:
    """Random choices of one seed."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return values[self.random.integers(len(values))]

    def each(self, low: int, high: int, count: int) -> tuple[int, ...]:
        """Integers from `low` to `high`."""
        return tuple(int(n) for n in self.random.integers(low, high + 1, count))

    def array(self, *shape: int) -> np.ndarray:
        """Normal values."""
        return self.random.normal(size=shape)

    def letters(self, letters: str) -> str:
        """These in any order."""
        return "".join(self.random.permutation(list(letters)))


def _layouts(draw: Draw, spatial: str) -> list[str]:
    """Of inputs, kernel and outputs; half of them those that are in use, one of the three turned."""
    if draw.one(True, False):
        data, kernel = draw.one(("N{}C", "{}IO"), ("NC{}", "OI{}"))
        dims = [data.format(spatial), kernel.format(spatial), data.format(spatial)]
        turned = draw.one(0, 1, 2, None, None)
        return [draw.letters(letters) if at == turned else letters for at, letters in enumerate(dims)]
    return [draw.letters(spatial + more) for more in ("NC", "IO", "NC")]


def convolution_of_any_layout(draw: Draw) -> Call:
    """`conv_general_dilated` with all that lax has."""
    spatial = AXES[: draw.one(1, 1, 2, 2, 2, 3)]
    dims = _layouts(draw, spatial)
    kind = draw.one("none", "none", "feature", "batch")
    groups = 1 if kind == "none" else draw.one(2, 3, 20)
    own, batch = draw.one(1, 2, 5, 32), draw.one(1, 2)
    sizes = {"N": batch * (groups if kind == "batch" else 1), "C": own * (groups if kind == "feature" else 1)}
    kernel = {"I": own, "O": groups * draw.one(1, 2, 3)}
    options: dict[str, Any] = {"window_strides": [], "padding": [], "lhs_dilation": [], "rhs_dilation": []}
    plain = draw.one(True, False)
    for axis in filter(spatial.__contains__, dims[1]):  # lax's order of the spatial axes is the kernel's
        n, k = draw.each(1, 7, 1)[0], draw.each(1, 3, 1)[0]
        s, b, d = (1, 1, 1) if plain else (draw.one(1, 2, 3), draw.one(1, 1, 2), draw.one(1, 1, 2))
        low, high = draw.each(-1 if n > 2 else 0, 2, 2)
        short = (k - 1) * d + 1 - ((n - 1) * b + 1 + low + high)
        sizes[axis], kernel[axis] = n, k
        options["window_strides"].append(s)
        options["padding"].append((low, high + max(0, short)))
        options["lhs_dilation"].append(b)
        options["rhs_dilation"].append(d)
    options["dimension_numbers"] = tuple(dims)
    options["feature_group_count"] = groups if kind == "feature" else 1
    options["batch_group_count"] = groups if kind == "batch" else 1
    lax_conv = functools.partial(lax.conv_general_dilated, **options)
    arrays = draw.array(*(sizes[i] for i in dims[0])), draw.array(*(kernel[i] for i in dims[1]))
    ours = functools.partial(ops.conv_general_dilated, **options)
    return Call(f"conv_general_dilated {options}", ours, lax_conv, arrays, lax_conv, linear=True)


def _window(draw: Draw, cropping: bool = True) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], Any]:
    rank = draw.one(1, 2, 2, 3)
    while True:
        sizes, window, dilation = draw.each(1, 8, rank), draw.each(1, 3, rank), draw.each(1, 2, rank)
        low = -1 if cropping else 0
        pairs = tuple(draw.each(low, 2, 2) for _ in range(rank))
        options = {"strides": draw.each(1, 4, rank), "padding": draw.one("SAME", "VALID", "LECTURE", pairs, pairs)}
        try:
            resolved = geometry.resolve_window(sizes, window, window_dilation=dilation, **options)
        except ValueError:
            continue
        return sizes, window, {**options, "dilation": dilation}, resolved


def convolution(draw: Draw) -> Call:
    """`conv` by every method."""
    sizes, window, options, _ = _window(draw)
    dilation = options.pop("dilation")
    groups = draw.one(1, 1, 2, 4)
    channels, maps = groups * draw.one(1, 2, 16), groups * draw.one(1, 3, 16)
    rank = len(sizes)
    flip, method = draw.one(False, True), draw.one("auto", "auto", "jax", "lax", "im2col", "loops")
    spread = draw.each(1, 2, rank) if method != "loops" and draw.one(True, False) else (1,) * rank
    try:
        resolved = geometry.resolve_window(sizes, window, input_dilation=spread, window_dilation=dilation, **options)
    except ValueError:
        spread = (1,) * rank
        resolved = geometry.resolve_window(sizes, window, window_dilation=dilation, **options)
    options |= {"input_dilation": spread, "kernel_dilation": dilation, "feature_group_count": groups}
    letters = AXES[:rank]

    def theirs(x, w):
        return lax.conv_general_dilated(
            x,
            jnp.flip(w, range(rank)) if flip else w,
            resolved.strides,
            resolved.padding,
            resolved.input_dilation,
            resolved.dilation,
            (f"N{letters}C", f"{letters}IO", f"N{letters}C"),
            groups,
        )

    ours = functools.partial(ops.conv, flip_kernel=flip, method=method, **options)
    arrays = draw.array(draw.one(1, 2, 3), *sizes, channels), draw.array(*window, channels // groups, maps)
    return Call(f"conv {method} flip={flip} {options}", ours, theirs, arrays, theirs, linear=True)


def transposed_convolution(draw: Draw) -> Call:
    """`conv_transpose`, as lax spells it."""
    rank = draw.one(1, 2, 3)
    sizes, window, strides = draw.each(1, 5, rank), draw.each(1, 3, rank), draw.each(1, 3, rank)
    padding, transpose = draw.one("SAME", "VALID"), draw.one(False, True)
    channels, maps = draw.one(1, 2, 5), draw.one(1, 3)
    letters = AXES[:rank]
    dims = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    kernel = (*window, maps, channels) if transpose else (*window, channels, maps)

    def theirs(x, w):
        return lax.conv_transpose(x, w, strides, padding, dimension_numbers=dims, transpose_kernel=transpose)

    ours = functools.partial(ops.conv_transpose, strides=strides, padding=padding, transpose_kernel=transpose)
    name = f"conv_transpose strides={strides} {padding} transpose={transpose}"
    return Call(name, ours, theirs, (draw.array(2, *sizes, channels), draw.array(*kernel)), theirs, linear=True)


def _pooled(draw: Draw) -> tuple[np.ndarray, tuple[int, ...], dict[str, Any], dict[str, Any]]:
    sizes, window, options, resolved = _window(draw)
    options["window_dilation"] = options.pop("dilation")
    return draw.array(2, *sizes, draw.one(1, 3, 16)), window, options, resolved.lax_options()


def max_pooling(draw: Draw) -> Call:
    """`max_pool`, whose gradient JAX knows by picking each window's values."""
    x, window, options, lax_options = _pooled(draw)
    padding = lax_options.pop("padding")
    x = draw.random.permutation(x.size).reshape(x.shape) / 64.0  # in 16 bits many are equal: the first takes all

    def theirs(x):
        seen = lax.pad(x, jnp.array(-jnp.inf, x.dtype), [(low, high, 0) for low, high in padding])
        views = [seen]
        for axis, (k, s, d) in enumerate(
            zip(*(lax_options[n] for n in ("window_dimensions", "window_strides", "window_dilation")), strict=True)
        ):
            count = (seen.shape[axis] - (k - 1) * d - 1) // s + 1
            views = [
                lax.slice_in_dim(view, t * d, t * d + (count - 1) * s + 1, s, axis) for view in views for t in range(k)
            ]
        stacked = jnp.stack(views)
        return jnp.take_along_axis(stacked, jnp.argmax(stacked, 0)[None], 0)[0]

    return Call(f"max_pool {window} {options}", lambda x: ops.max_pool(x, window, **options), theirs, (x,))


def mean_pooling(draw: Draw) -> Call:
    """`avg_pool`, as a sum of windows over their sizes."""
    x, window, options, lax_options = _pooled(draw)
    include = draw.one(True, False)
    padding = lax_options.pop("padding")

    def total(x):
        seen = lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in padding])
        return lax.reduce_window(seen, 0.0, lax.add, **lax_options, padding="VALID")

    def theirs(x):
        counts = math.prod(window) if include else jnp.maximum(total(jnp.ones(x.shape, x.dtype)), 1)
        return total(x) / counts

    ours = functools.partial(ops.avg_pool, window_shape=window, count_include_pad=include, **options)
    return Call(f"avg_pool {window} include={include} {options}", ours, theirs, (x,), linear=True)


def _through_torch(function: Callable[..., Any]) -> Callable[..., jax.Array]:
    """A function of tensors, channels first, as one of arrays, channels last, with PyTorch's gradient."""
    import torch

    def tensors(arrays: Any) -> list[Any]:
        moved = [np.moveaxis(np.array(a), -1, 1) if a.ndim > 2 else np.array(a) for a in arrays]
        return [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in moved]

    def back(tensor: Any) -> np.ndarray:
        array = tensor.detach().numpy()
        return np.moveaxis(array, 1, -1) if array.ndim > 2 else array

    def value(*arrays):
        return back(function(*tensors(arrays)))

    def gradients(error, *arrays):
        inputs = tensors(arrays)
        result = function(*inputs)
        error = np.array(error)
        result.backward(torch.tensor(np.ascontiguousarray(np.moveaxis(error, -1, 1) if error.ndim > 2 else error)))
        return [back(tensor.grad) for tensor in inputs]

    value.gradients = gradients  # type: ignore[attr-defined]
    return value


def norms(draw: Draw) -> Call:
    """`batch_norm` and `local_response_norm`, as PyTorch's."""
    from torch.nn import functional as F

    sizes, channels = draw.each(1, 5, draw.one(1, 2, 3)), draw.one(2, 3, 16)
    x = draw.array(draw.one(3, 4), *sizes, channels) * draw.one(1, 3) + draw.one(0, 5)
    if draw.one(True, False):
        scale, bias = draw.array(channels), draw.array(channels)
        theirs = _through_torch(lambda x, s, b: F.batch_norm(x, None, None, s, b, training=True))
        return Call("batch_norm", lambda x, s, b: ops.batch_norm(x, s, b)[0], theirs, (x, scale, bias))
    size, beta = draw.one(1, 2, 3, 5), draw.one(0.5, 0.75)
    theirs = _through_torch(lambda x: F.local_response_norm(x, size, alpha=0.3, beta=beta, k=1.5))
    ours = functools.partial(ops.local_response_norm, size=size, alpha=0.3 / size, beta=beta, k=1.5)
    return Call(f"local_response_norm {size} {beta}", ours, theirs, (x,))


def pools_of_pytorch(draw: Draw) -> Call:
    """Adaptive and L_p pools."""
    from torch.nn import functional as F

    rank = draw.one(1, 2, 3)
    x = draw.array(2, *draw.each(2, 7, rank), draw.one(1, 3))
    x = draw.random.permutation(x.size).reshape(x.shape) / 64.0 - 1
    target = tuple(min(n, k) for n, k in zip(x.shape[1:-1], draw.each(1, 4, rank), strict=True))
    kind = draw.one("adaptive_avg_pool", "adaptive_max_pool", "lp_pool")
    if kind == "lp_pool" and rank < 3:
        p, k = draw.one(1.5, 2.0, 3.0), draw.one(1, 2)
        pool = getattr(F, f"lp_pool{rank}d")
        theirs = _through_torch(lambda x: pool(x.abs(), p, k))
        return Call(f"lp_pool p={p} {k}", lambda x: ops.lp_pool(jnp.abs(x), k, p=p), theirs, (np.abs(x) + 0.1,))
    kind = "adaptive_avg_pool" if kind == "lp_pool" else kind
    pool = getattr(F, f"{kind}{rank}d")
    ours = functools.partial(getattr(ops, kind), output_shape=target)
    return Call(f"{kind} {target}", ours, _through_torch(lambda x: pool(x, target)), (x,))


def activations(draw: Draw) -> Call:
    """One activation function, or a loss."""
    x = draw.array(*draw.each(1, 6, draw.one(1, 2, 3)), 5) * draw.one(1, 4)
    name = draw.one("relu", "leaky_relu", "sigmoid", "tanh", "softmax", "scaled_tanh", "prelu", "cross_entropy", "bce")
    if name == "prelu":
        slope = draw.array(5)
        return Call(name, ops.prelu, lambda x, a: jnp.where(x > 0, x, a * x), (x, slope))
    if name == "cross_entropy":
        targets = np.abs(draw.array(*x.shape))
        targets /= targets.sum(-1, keepdims=True)
        return Call(name, ops.softmax_cross_entropy, optax.softmax_cross_entropy, (x, targets))
    if name == "bce":
        targets = draw.random.random(x.shape)
        return Call(name, ops.binary_cross_entropy, optax.sigmoid_binary_cross_entropy, (x, targets))
    own = {"scaled_tanh": lambda x: 1.7159 * jnp.tanh(2 / 3 * x), "tanh": jnp.tanh}
    return Call(name, getattr(ops, name), own.get(name) or getattr(jax.nn, name), (x,))


KINDS = [convolution_of_any_layout] * 4 + [convolution] * 3 + [transposed_convolution, max_pooling, mean_pooling]
KINDS += [activations] + ([norms, pools_of_pytorch] if TORCH else [])


def drawn(seed: int) -> tuple[Call, str]:
    """The call of a seed, and the dtype of its arrays."""
    draw = Draw(seed)
    dtype = draw.one(*DTYPES)
    return draw.one(*KINDS)(draw), dtype


def value_and_gradients(function: Callable[..., jax.Array], arrays: list, error: Any = None) -> list[np.ndarray]:
    """The value, and the gradients of all arrays for an error that no symmetry hides."""
    if hasattr(function, "gradients"):
        return [function(*arrays), *function.gradients(error, *arrays)]

    @jax.jit
    def run(*arrays):
        y, back = jax.vjp(function, *arrays)
        given = jnp.cos(jnp.arange(math.prod(y.shape), dtype=jnp.float64)).reshape(y.shape) if error is None else error
        return y, *back(given.astype(y.dtype))

    return list(run(*arrays))


def compare(seed: int) -> str | None:
    """None where the two agree, else what differs."""
    call, dtype = drawn(seed)
    arrays = [jnp.asarray(array, dtype) for array in call.arrays]
    exact = [array.astype(jnp.float64) for array in arrays]
    ours = value_and_gradients(call.ours, arrays)
    error = jnp.cos(jnp.arange(ours[0].size, dtype=jnp.float64)).reshape(ours[0].shape).astype(dtype)
    error = error.astype(jnp.float64)
    theirs = value_and_gradients(call.theirs, exact, error)
    scales = theirs
    if call.linear:  # cancellation loses digits, of whoever sums: measure against the sums of magnitudes
        scales = value_and_gradients(call.theirs, [jnp.abs(array) for array in exact], jnp.abs(error))
    for number, (found, expected, scale) in enumerate(zip(ours, theirs, scales, strict=True)):
        name = f"the gradient of array {number}" if number else "the value"
        found, expected = np.asarray(found, np.float64), np.asarray(expected)
        if found.shape != expected.shape:
            return f"{name} has shape {found.shape} for {expected.shape}"
        if not found.size:
            continue
        size = np.abs(scale) if call.linear else np.maximum(np.abs(expected), np.abs(expected).max())
        most = (8 if call.linear else 32) * float(jnp.finfo(dtype).eps) * np.asarray(size) + 1e-300
        if dtype == "float16":
            most = most + 2.0**-24  # its smallest step
        with np.errstate(invalid="ignore"):  # equal infinities
            off = np.where(found == expected, 0, np.abs(found - expected) / most)
        if not (off <= 1).all():
            return f"{name} is off by {off.max():.3g} times what rounding allows, in {(~(off <= 1)).sum()} cells"
    return None


def main(first: int, last: int) -> None:
    """Compares the configurations of seeds from `first` to before `last`, and prints a line for each."""
    jax.config.update("jax_enable_x64", True)
    for seed in range(first, last):
        print(f"begins {seed}", flush=True)
        try:
            difference = compare(seed)
        except Exception as error:  # a refusal of what JAX computes is a difference too
            difference = f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
        call, dtype = drawn(seed)
        shapes = " ".join(str(array.shape) for array in call.arrays)
        print(f"equal {seed}" if difference is None else f"DIFFERS {seed} {dtype} {shapes} {call.name}: {difference}")
        if seed % 50 == 49:
            jax.clear_caches()


def stock(seed: int) -> None:
    """The same call by lax alone, as it is and as the reference; ends the process where XLA does."""
    jax.config.update("jax_enable_x64", True)
    call, dtype = drawn(seed)
    if call.stock is not None:
        for kind in (dtype, "float64"):
            value_and_gradients(call.stock, [jnp.asarray(array, kind) for array in call.arrays])


if __name__ == "__main__":
    stock(int(sys.argv[2])) if sys.argv[1] == "stock" else main(int(sys.argv[1]), int(sys.argv[2]))
