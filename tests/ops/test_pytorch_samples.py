"""PyTorch's own samples of its operators, through ours: values and gradients in float64.

`op_db` is the table from which PyTorch tests itself. Below, each operator that ours can express stands as a function of
JAX arrays with PyTorch's arguments and layout; what cannot be expressed raises `Absent` with the reason.
"""

import collections
import functools
import itertools
import math
import re
from functools import partial
from random import Random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import geometry, ops
from jaxcnn.ops.arrays import along_last

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # `op_db` imports it
F = torch.nn.functional


class Absent(Exception):
    """What ours cannot express; the message is the reason."""


SEVERAL = "several values come to one cell: ours are summed, of PyTorch's one stays"
NOTHING = "the statistics of no cells are not defined"
DRAWN = "another generator draws other elements"
ALL_DROPPED = "a rate of 1 drops all"


def last(a):
    return jnp.moveaxis(a, 1, -1) if a.ndim > 1 else a


def first(a):
    return jnp.moveaxis(a, -1, 1) if a.ndim > 1 else a


def each(size, rank):
    """A size for each axis; PyTorch takes one number in a list for all."""
    sizes = (size,) if isinstance(size, int) else tuple(size)
    return sizes * rank if len(sizes) == 1 else sizes


def imaged(function):
    """Lets a function of channels-last batches of `rank` axes take one image, and channels first."""

    @functools.wraps(function)
    def wrapped(rank, x, *others, **options):
        one = x.ndim == rank + 1
        results = function(rank, last(x[None] if one else x), *others, **options)
        return jax.tree.map(lambda y: first(y)[0] if one else first(y), results)

    return wrapped


@imaged
def conv(rank, x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """The weight is `(O, I, *window)`."""
    y = ops.conv(
        x,
        jnp.moveaxis(weight, (0, 1), (-1, -2)),
        strides=each(stride, rank),
        padding=padding.upper() if isinstance(padding, str) else each(padding, rank),
        kernel_dilation=each(dilation, rank),
        feature_group_count=groups,
    )
    return y if bias is None else y + along_last(bias, y)


@imaged
def conv_transpose(rank, x, weight, bias=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The weight is `(I, O / groups, *window)`."""
    y = ops.conv_transpose(
        x,
        jnp.moveaxis(weight, (0, 1), (-1, -2)),
        strides=each(stride, rank),
        padding=each(padding, rank),
        remainder=each(output_padding, rank),
        kernel_dilation=each(dilation, rank),
        feature_group_count=groups,
        transpose_kernel=True,
    )
    return y if bias is None else y + along_last(bias, y)


def linear(x, weight, bias=None):
    """The weight is `(O, I)`."""
    return ops.linear(x, weight.T, bias)


def sliding(rank, kernel_size, stride, padding, dilation=1, ceil_mode=False):
    return {
        "window_shape": each(kernel_size, rank),
        "strides": each(stride, rank) if stride else None,  # PyTorch reads an empty list as None
        "padding": each(padding, rank),
        "window_dilation": each(dilation, rank),
        "ceil_mode": ceil_mode,
    }


@imaged
def avg_pool(
    rank, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    options = sliding(rank, kernel_size, stride, padding, ceil_mode=ceil_mode)
    return ops.avg_pool(x, **options, count_include_pad=count_include_pad, divisor=divisor_override)


@imaged
def max_pool(rank, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    options = sliding(rank, kernel_size, stride, padding, dilation, ceil_mode)
    if not return_indices:
        return ops.max_pool(x, **options)
    pooled, switches = ops.max_pool_with_switches(x, **options)
    window, sizes = geometry.pool_window(x.shape, **options), x.shape[1:-1]
    cells = jnp.zeros(switches.shape, jnp.int64)
    for axis, taps in enumerate(jnp.unravel_index(switches.astype(jnp.int64), window.shape)):
        cells = cells * sizes[axis] + starts(window, axis, switches) + window.dilation[axis] * taps
    return pooled, cells


def starts(window, axis, outputs):
    """Along one axis, the cell of each output's first tap."""
    places = window.strides[axis] * jnp.arange(outputs.shape[axis + 1]) - window.padding[axis][0]
    return jnp.expand_dims(places, [a for a in range(outputs.ndim) if a != axis + 1])


@imaged
def max_unpool(rank, x, indices, *, kernel_size, stride=None, padding=0, output_size):
    sizes, indices = output_size[-rank:], last(indices)
    for ceil_mode in (False, True):  # PyTorch does not say which the pooling had
        options = sliding(rank, kernel_size, stride, padding, ceil_mode=ceil_mode)
        window = geometry.pool_window((1, *sizes, 1), **options)
        if window.output_shape(sizes) == x.shape[1:-1]:
            break
    switches = jnp.zeros(indices.shape, jnp.int64)
    for axis, cells in enumerate(jnp.unravel_index(indices, sizes)):
        switches = switches * window.shape[axis] + cells - starts(window, axis, indices)
    return ops.max_unpool(x, switches.astype(jnp.uint8), sizes, **options)


def unpooled_once(x, indices, **options):
    del x, options
    for cells in indices.reshape(-1, math.prod(indices.shape[2:])):
        if len(set(cells.tolist())) < len(cells):
            raise Absent(SEVERAL)


def adapted(x, output_size):
    rank = x.ndim - 2
    return tuple(n if size is None else size for n, size in zip(x.shape[1:-1], each(output_size, rank), strict=True))


@imaged
def adaptive_avg_pool(rank, x, output_size):
    return ops.adaptive_avg_pool(x, adapted(x, output_size))


@imaged
def adaptive_max_pool(rank, x, output_size, return_indices=False):
    """Indices show in the gradient alone: ours has none."""
    return ops.adaptive_max_pool(x, adapted(x, output_size))


def batch_norm(x, mean, variance, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    return native_batch_norm(x, weight, bias, mean, variance, training, momentum, eps)[0]


def native_batch_norm(x, weight, bias, mean, variance, training, momentum, eps):
    if training and not x.size:
        raise Absent(NOTHING)
    x = last(x)
    scale = jnp.ones(x.shape[-1]) if weight is None else weight
    shift = jnp.zeros(x.shape[-1]) if bias is None else bias
    given = {} if training else {"mean": mean, "variance": variance}
    y, mean, variance = ops.batch_norm(x, scale, shift, epsilon=eps, **given)
    # PyTorch gives the statistics no gradient
    return (first(y), *jax.lax.stop_gradient((mean, jax.lax.rsqrt(variance + eps)))) if training else (first(y),)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    return first(ops.local_response_norm(last(x), size=size, alpha=alpha / size, beta=beta, k=k))


def prelu(x, weight):
    return first(ops.prelu(last(x), weight if weight.size > 1 else weight.reshape(())))


def softmax(x, dim, dtype=None):
    x = x.astype(np.dtype(str(dtype).removeprefix("torch."))) if dtype else x
    return jnp.moveaxis(ops.softmax(jnp.moveaxis(jnp.atleast_1d(x), dim, -1)), -1, dim).reshape(x.shape)


def dropout(x, p=0.5, training=True):
    if p == 1 and training:
        raise Absent(ALL_DROPPED)
    if p and training:
        raise Absent(DRAWN)
    return ops.dropout(x, jax.random.key(0), 0.0)


def reduced(losses, reduction):
    return {"none": lambda a: a, "sum": jnp.sum, "mean": jnp.mean}[reduction](losses)


def mse_loss(x, target, reduction="mean"):
    return reduced(ops.mean_squared_error(x[..., None], target[..., None]), reduction)


def huber_loss(x, target, reduction="mean", delta=1.0):
    return reduced(ops.huber_loss(x, target, delta=delta), reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    hard = jnp.issubdtype(target.dtype, jnp.integer)
    return ops.softmax_cross_entropy(
        last(x),
        target if hard else last(target),
        class_weights=weight,
        ignore_index=ignore_index if hard else None,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def bce_with_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    losses = ops.binary_cross_entropy(x, target, pos_weight=pos_weight)
    return reduced(losses if weight is None else losses * jnp.broadcast_to(weight, losses.shape), reduction)


def bce(x, target, weight=None, reduction="mean"):
    return bce_with_logits(jnp.log(x) - jnp.log1p(-x), target, weight, reduction)


class Twin:
    """Our twin of an operator, how many samples it must at least be held against, and the reasons for leaving others.

    `theirs` is called in place of the operator that has the samples; `refuse` looks at a sample's own arrays; `most` is
    how many different calls the quick test compiles.
    """

    def __init__(self, ours, least, *reasons, theirs=None, refuse=None, most=None):
        self.ours, self.least, self.reasons = ours, least, set(reasons)
        self.theirs, self.refuse, self.most = theirs, refuse, most


TWINS = {
    **{f"nn.functional.conv{n}d": Twin(partial(conv, n), least) for n, least in ((1, 10), (2, 30), (3, 20))},
    **{f"nn.functional.conv_transpose{n}d": Twin(partial(conv_transpose, n), 10) for n in (1, 2, 3)},
    **{f"nn.functional.avg_pool{n}d": Twin(partial(avg_pool, n), 7) for n in (1, 2, 3)},
    **{
        f"nn.functional.max_pool{n}d": Twin(partial(max_pool, n), least, most=most)
        for n, least, most in ((1, 150, 24), (2, 50, 30), (3, 8, 8))
    },
    **{
        f"nn.functional.max_unpool{n}d": Twin(partial(max_unpool, n), least, SEVERAL, refuse=unpooled_once, most=most)
        for n, least, most in ((1, 20, 20), (2, 20, 30), (3, 5, 20))
    },
    **{f"nn.functional.adaptive_avg_pool{n}d": Twin(partial(adaptive_avg_pool, n), 6) for n in (1, 2, 3)},
    **{f"nn.functional.adaptive_max_pool{n}d": Twin(partial(adaptive_max_pool, n), 8) for n in (1, 2, 3)},
    "nn.functional.batch_norm": Twin(batch_norm, 20, NOTHING),
    "native_batch_norm": Twin(native_batch_norm, 10),
    "nn.functional.local_response_norm": Twin(local_response_norm, 10),
    "nn.functional.linear": Twin(linear, 8),
    "nn.functional.relu": Twin(ops.relu, 4),
    "nn.functional.leaky_relu": Twin(ops.leaky_relu, 8),
    "nn.functional.prelu": Twin(prelu, 20),
    "sigmoid": Twin(ops.sigmoid, 3),
    "tanh": Twin(ops.tanh, 1),
    "softmax": Twin(softmax, 12),
    "sign": Twin(ops.signum, 1),
    "nn.functional.dropout": Twin(dropout, 10, DRAWN, ALL_DROPPED),
    "nn.functional.mse_loss": Twin(mse_loss, 6),
    "nn.functional.huber_loss": Twin(huber_loss, 6),
    "nn.functional.cross_entropy": Twin(cross_entropy, 20),
    "nn.functional.nll_loss": Twin(cross_entropy, 50, theirs=F.cross_entropy),  # more weights and ignored labels
    "nn.functional.binary_cross_entropy_with_logits": Twin(bce_with_logits, 26),
    "nn.functional.binary_cross_entropy": Twin(bce, 11),
}


@functools.cache
def operators():
    """Every operator of PyTorch with its variants, by name."""
    from torch.testing._internal.common_methods_invocations import op_db

    found = collections.defaultdict(list)
    for operator in op_db:
        found[operator.name].append(operator)
    return found


LEARNED, GIVEN = "an array that has a gradient", "an array that has none"  # where they stand among the arguments


class Call:
    """One sample, taken apart: arrays, and all the rest, by which our twin is compiled."""

    def __init__(self, operator, sample):
        self.operator, self.sample = operator, sample
        self.args, self.kwargs = (sample.input, *sample.args), sample.kwargs
        leaves, self.tree = jax.tree.flatten(jax.tree.map(plain, (self.args, self.kwargs), is_leaf=is_sizes))
        self.tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self.arguments = tuple(
            leaf if not isinstance(leaf, torch.Tensor) else LEARNED if leaf.requires_grad else GIVEN for leaf in leaves
        )

    @property
    def key(self):
        """Equal for calls that differ in numbers alone."""
        return self.tree, self.arguments, tuple(tuple(tensor.shape) for tensor in self.tensors)

    def arrays(self, learned):
        """Copies of the arrays that have a gradient, or of the others."""
        return [tensor.detach().numpy().copy() for tensor in self.tensors if tensor.requires_grad is learned]


def is_sizes(value):
    return isinstance(value, list | tuple) and bool(value) and all(type(entry) is int for entry in value)


def plain(value):
    """One spelling of a number for each axis: PyTorch's samples have several."""
    return value[0] if is_sizes(value) and len(set(value)) == 1 else tuple(value) if is_sizes(value) else value


@functools.cache
def compiled(name, tree, arguments):
    """Our values and gradients, as a function of the arrays."""

    def ours(learned, given):
        learned, given = iter(learned), iter(given)
        filled = [next(learned) if a is LEARNED else next(given) if a is GIVEN else a for a in arguments]
        args, kwargs = jax.tree.unflatten(tree, filled)
        return TWINS[name].ours(*args, **kwargs)

    @jax.jit
    def value_and_gradients(learned, given):
        outputs, back = jax.vjp(lambda learned: ours(learned, given), learned)
        return jax.tree.leaves(outputs), back(jax.tree.map(error_like, outputs))[0]

    return value_and_gradients


def error_like(y):
    if not jnp.issubdtype(y.dtype, jnp.floating):
        return np.zeros(y.shape, jax.dtypes.float0)
    return np.cos(np.arange(y.size) + 1.0).reshape(y.shape)


def hold(name, call):
    """Compares one sample's outputs and gradients."""
    twin, about = TWINS[name], str(call.sample)
    if twin.refuse is not None:
        twin.refuse(*(a.detach().numpy() if isinstance(a, torch.Tensor) else a for a in call.args), **call.kwargs)
    found, gradients = compiled(name, call.tree, call.arguments)(call.arrays(True), call.arrays(False))
    outputs = (twin.theirs or call.operator.op)(*call.args, **call.kwargs)
    outputs = [y for y in (outputs if isinstance(outputs, tuple) else (outputs,)) if y is not None]
    assert len(found) <= len(outputs)
    for ours, theirs in zip(found, outputs, strict=False):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-11, err_msg=about)
    learned = [tensor for tensor in call.tensors if tensor.requires_grad]
    outputs = [y for y in outputs[: len(found)] if y.requires_grad]
    if learned and outputs:
        errors = [torch.tensor(error_like(y.detach().numpy())) for y in outputs]
        expected = torch.autograd.grad(outputs, learned, errors)
        for ours, theirs in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-8, atol=1e-10, err_msg=about)


def hold_all(name, most, record):
    """Holds the samples of at most so many different calls, drawn evenly, and records how many were left, and why."""
    held, left, kinds = 0, collections.Counter(), collections.defaultdict(list)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for operator in operators()[name]:
            for sample in operator.sample_inputs("cpu", torch.float64, requires_grad=True):
                call = Call(operator, sample)
                kinds[call.key].append(call)
    chosen = list(kinds) if most is None else Random(0).sample(list(kinds), min(most, len(kinds)))
    for call in itertools.chain.from_iterable(kinds[key] for key in chosen):
        try:
            hold(name, call)
            held += 1
        except Absent as reason:
            left[str(reason)] += 1
    thinned = sum(map(len, kinds.values())) - held - left.total()
    record("held", held)
    record("left", dict(left))
    print(f"{name}: held {held} samples of {len(chosen)} calls of {len(kinds)}; {thinned} untried; left {dict(left)}")
    assert set(left) == TWINS[name].reasons
    assert held >= TWINS[name].least
    return thinned


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", TWINS)
def test_pytorch_samples(name, float64, record_property):
    """Every sample gives PyTorch's numbers, or is left for a reason that is listed."""
    most = TWINS[name].most
    thinned = hold_all(name, most, record_property)
    assert bool(thinned) == (most is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, twin in TWINS.items() if twin.most is not None])
def test_pytorch_samples_of_every_pool(name, float64, record_property):
    """Also the calls of which the quick test draws some: they take a second each to compile."""
    assert hold_all(name, None, record_property) == 0


def test_pytorch_operators_of_our_names_are_held():
    """No operator that has one of our names, with or without its number of axes, is forgotten."""
    short = {name: re.sub(r"[123]d$", "", name.removeprefix("nn.functional.")) for name in operators()}
    of_maps = {"nn.functional.dropout2d", "nn.functional.dropout3d"}  # they drop whole maps
    of_axes = {"flatten"}  # theirs joins any neighboring axes
    assert {name for name in short if short[name] in ops.__all__} - set(TWINS) == of_maps | of_axes
