"""Every hand-written gradient against JAX's own: how exact, and how fast.

Hypothesis:
  In float64 the hand-written gradient of every op of the library equals what JAX derives, except for rounding. In
  float32 it is as exact as that of JAX, and takes no more time; where the derivative in XLA is slow, as in max-pool, it
  takes much less.

Proxy:
  One case for each op, with arrays of 0.5 to 2 MB, as in small networks; other shapes and machines are in
  `experiments/benchmarks`. `jaxcnn check` has proofs of many more cases.

Protocol:
  All ops of `jaxcnn.ops`; the script refuses to run if one has no place here. Random normal inputs by seed, none of
  them at a kink. Error: of all input gradients, for a random error that comes back, the largest difference from float64
  autodiff, over the largest value. Time: value and all gradients in one compiled function in float32; by hand and by
  autodiff in turn, each first in every other round, 11 rounds; the ratio is that of each round, of which the median and
  the quartiles are kept. Run with `JAXCNN_NATIVE=off`. `unit_step` and `signum` have the
  gradient 0 by either rule. Four ops have no argument `rule="autodiff"`: their twin is lax's convolution, the plain
  pool, or a selection written out. Dropout draws other elements in float64: in float32 it is held against float32
  autodiff. Rules that are no derivatives (guided, straight through) are left out.

Expected:
  Errors of 1e-15 to 1e-13 in float64, of 1e-7 to 1e-6 in float32. Ratios from 1 (activations, which XLA fuses either
  way) to 10 or more (max-pool, grouped convolution).

Result:
  3 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor, 2026-11-22, commit 8cbfd2a.
  - Holds: in float64 every hand-written gradient equals that of autodiff, to a relative error of 1e-11 (39 places,
    worst 1.1e-14 in conv, 2 groups).
  - Holds: in float32 each is within 1e-5 of autodiff in float64; the worst error is at most twice autodiff's worst
    (worst 4.0e-06 in conv_transpose; autodiff's worst 4.0e-06 in conv_transpose).
  - Does not hold: no hand-written rule takes more than a tenth longer than autodiff (21 of 39 faster by a tenth or
    more, 1 slower: softmax 0.8925).
  - Holds: the hand-written max-pool is at least five times as fast as what XLA derives (max_pool 2/2 11.76 times,
    max_pool 3/2 13.97 times).

  | largest error, relative to float64 autodiff | hand, float64 | hand, float32 | autodiff, float32 |
  | --- | --- | --- | --- |
  | conv | 0 | 2.38e-06 ± 3e-07 | 2.38e-06 ± 3e-07 |
  | conv, stride 2 | 0 | 4.54e-07 ± 5.9e-08 | 4.54e-07 ± 5.9e-08 |
  | conv, 2 groups | 9.35e-15 ± 1.6e-15 | 6.04e-07 ± 1.1e-07 | 6.2e-07 ± 1.4e-07 |
  | conv, one channel | 0 | 1.27e-06 ± 2.2e-07 | 1.27e-06 ± 2.2e-07 |
  | conv_general_dilated | 0 | 1.95e-06 ± 3e-07 | 1.95e-06 ± 3e-07 |
  | conv_transpose | 0 | 3.04e-06 ± 8e-07 | 3.04e-06 ± 8e-07 |
  | depthwise_conv | 7.95e-16 ± 1.7e-16 | 1.12e-07 ± 8e-09 | 1.55e-06 ± 2.6e-07 |
  | separable_conv | 1.23e-15 ± 2.1e-16 | 5.26e-07 ± 1.9e-07 | 2.3e-06 ± 2.5e-07 |
  | locally_connected | 2.25e-16 ± 5.1e-17 | 2.14e-07 ± 7e-08 | 2.14e-07 ± 7e-08 |
  | conv_relu_pool | 0 | 9.4e-07 ± 1.2e-07 | 9.4e-07 ± 1.2e-07 |
  | max_pool 2/2 | 0 | 0 | 0 |
  | max_pool 3/2 | 0 | 7.66e-08 ± 3.4e-09 | 7.53e-08 ± 1.5e-09 |
  | relu_max_pool | 0 | 0 | 0 |
  | max_pool_with_switches | 0 | 0 | 0 |
  | avg_pool | 0 | 0 | 0 |
  | lp_pool | 2.14e-16 ± 2.1e-17 | 1.11e-07 ± 1.3e-08 | 9.05e-08 ± 9.3e-09 |
  | blur_pool | 0 | 6.79e-08 ± 6.7e-09 | 6.16e-08 ± 8.8e-09 |
  | subsample | 0 | 0 | 0 |
  | global_avg_pool | 0 | 0 | 0 |
  | global_max_pool | 0 | 0 | 0 |
  | adaptive_avg_pool | 0 | 1.34e-07 ± 6.2e-09 | 1.34e-07 ± 6.2e-09 |
  | adaptive_max_pool | 0 | 4.56e-08 ± 5.8e-09 | 4.56e-08 ± 5.8e-09 |
  | batch_norm | 1.67e-16 ± 5.4e-17 | 1.26e-07 ± 2.4e-08 | 1.3e-07 ± 2.9e-08 |
  | batch_norm_relu | 1.4e-16 ± 3.8e-17 | 2.3e-07 ± 5.9e-08 | 2.3e-07 ± 5.9e-08 |
  | local_response_norm | 7.53e-17 ± 4.1e-18 | 9.9e-08 ± 1.5e-08 | 9.9e-08 ± 1.5e-08 |
  | relu | 0 | 0 | 0 |
  | leaky_relu | 0 | 5.77e-10 ± 4.5e-11 | 5.77e-10 ± 4.5e-11 |
  | tanh | 2.07e-16 ± 1.9e-17 | 2.07e-07 ± 1.6e-08 | 2.08e-07 ± 1.7e-08 |
  | scaled_tanh | 3.53e-16 ± 3.3e-17 | 2.18e-07 ± 3.2e-08 | 2.01e-07 ± 2.3e-08 |
  | sigmoid | 1.63e-16 ± 4.9e-17 | 1.77e-07 ± 1.9e-08 | 1.77e-07 ± 1.9e-08 |
  | softmax | 1.35e-16 ± 1.8e-17 | 9.59e-08 ± 2.4e-08 | 9.09e-08 ± 2.7e-08 |
  | unit_step | 0 | 0 | 0 |
  | signum | 0 | 0 | 0 |
  | prelu | 0 | 1.73e-07 ± 5.1e-08 | 1.11e-07 ± 2.5e-08 |
  | mean_squared_error | 0 | 7.35e-08 ± 3.6e-09 | 7.35e-08 ± 3.6e-09 |
  | binary_cross_entropy | 2.35e-16 ± 4.2e-17 | 1.07e-07 ± 1e-08 | 7.3e-08 ± 4.9e-09 |
  | softmax_cross_entropy | 1.24e-16 ± 4.7e-18 | 4.82e-08 ± 5.6e-10 | 3.32e-08 ± 1.2e-09 |
  | dropout | 0 | 0 | 0 |
  | max_unpool | 0 | 0 | 0 |

  | time of autodiff over hand, ratio | median | low quartile | high quartile |
  | --- | --- | --- | --- |
  | conv | 0.9804 ± 0.032 | 0.9574 ± 0.021 | 1.001 ± 0.03 |
  | conv, stride 2 | 0.9569 ± 0.024 | 0.9381 ± 0.0097 | 0.9849 ± 0.036 |
  | conv, 2 groups | 21.3 ± 0.38 | 20.87 ± 0.2 | 21.97 ± 0.41 |
  | conv, one channel | 2.876 ± 0.041 | 2.837 ± 0.023 | 2.954 ± 0.021 |
  | conv_general_dilated | 0.9647 ± 0.058 | 0.9369 ± 0.069 | 1.024 ± 0.11 |
  | conv_transpose | 1.009 ± 0.0097 | 0.9935 ± 0.0088 | 1.022 ± 0.025 |
  | depthwise_conv | 11.2 ± 0.28 | 10.68 ± 0.25 | 13.07 ± 2.7 |
  | separable_conv | 9.755 ± 1 | 9.051 ± 0.38 | 11.59 ± 1.8 |
  | locally_connected | 1.279 ± 0.038 | 1.224 ± 0.0076 | 1.373 ± 0.066 |
  | conv_relu_pool | 1.577 ± 0.096 | 1.533 ± 0.085 | 1.616 ± 0.073 |
  | max_pool 2/2 | 11.76 ± 0.4 | 10.9 ± 0.2 | 12.6 ± 0.7 |
  | max_pool 3/2 | 13.97 ± 1.4 | 13.58 ± 1.6 | 14.38 ± 1.3 |
  | relu_max_pool | 9.68 ± 1.2 | 9.313 ± 1 | 10.27 ± 0.89 |
  | max_pool_with_switches | 10.7 ± 1.1 | 10.33 ± 1.1 | 11.72 ± 1.6 |
  | avg_pool | 0.9973 ± 0.0088 | 0.9798 ± 0.01 | 1.019 ± 0.013 |
  | lp_pool | 1.59 ± 0.1 | 1.572 ± 0.1 | 1.611 ± 0.1 |
  | blur_pool | 22.9 ± 7.6 | 21.59 ± 6.8 | 27.58 ± 12 |
  | subsample | 1.26 ± 0.068 | 1.204 ± 0.072 | 1.29 ± 0.076 |
  | global_avg_pool | 1.001 ± 0.015 | 0.9752 ± 0.0058 | 1.015 ± 0.015 |
  | global_max_pool | 1.119 ± 0.1 | 1.097 ± 0.11 | 1.146 ± 0.087 |
  | adaptive_avg_pool | 1.547 ± 0.1 | 1.492 ± 0.11 | 1.609 ± 0.07 |
  | adaptive_max_pool | 3.525 ± 0.097 | 3.356 ± 0.087 | 3.687 ± 0.17 |
  | batch_norm | 1.266 ± 0.048 | 1.204 ± 0.094 | 1.314 ± 0.023 |
  | batch_norm_relu | 1.17 ± 0.022 | 1.113 ± 0.052 | 1.215 ± 0.017 |
  | local_response_norm | 2.788 ± 0.019 | 2.776 ± 0.02 | 2.834 ± 0.046 |
  | relu | 0.9983 ± 0.012 | 0.9762 ± 0.015 | 1.01 ± 0.014 |
  | leaky_relu | 0.996 ± 0.0067 | 0.9919 ± 0.0084 | 1.018 ± 0.016 |
  | tanh | 1.01 ± 0.012 | 0.9797 ± 0.016 | 1.019 ± 0.021 |
  | scaled_tanh | 1.011 ± 0.012 | 0.9791 ± 0.0032 | 1.053 ± 0.036 |
  | sigmoid | 0.9962 ± 0.017 | 0.9689 ± 0.025 | 1.017 ± 0.026 |
  | softmax | 0.8925 ± 0.01 | 0.8699 ± 0.014 | 0.9214 ± 0.022 |
  | unit_step | 1.407 ± 0.052 | 1.353 ± 0.026 | 1.463 ± 0.036 |
  | signum | 0.9939 ± 0.02 | 0.9759 ± 0.022 | 1.05 ± 0.068 |
  | prelu | 1.137 ± 0.027 | 1.074 ± 0.06 | 1.178 ± 0.048 |
  | mean_squared_error | 1.016 ± 0.009 | 0.9976 ± 0.02 | 1.057 ± 0.041 |
  | binary_cross_entropy | 1.002 ± 0.0073 | 0.9591 ± 0.057 | 1.013 ± 0.0061 |
  | softmax_cross_entropy | 0.9932 ± 0.0056 | 0.9668 ± 0.0096 | 1.013 ± 0.01 |
  | dropout | 1.004 ± 0.0079 | 0.9914 ± 0.012 | 1.02 ± 0.017 |
  | max_unpool | 0.9033 ± 0.01 | 0.881 ± 0.031 | 0.9123 ± 0.017 |

Command:
  python -m experiments.hand_vs_autodiff --seeds 0 1 2

Cost:
  37 seconds a seed, where the result comes from.
"""

import argparse
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.timing import alternate, ratios, spread
from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import ops

ERROR, TIME = "largest error, relative to float64 autodiff", "value and gradients, ms"
SPEED = "time of autodiff over hand, ratio"
HAND64, HAND32, AUTO32 = "hand, float64", "hand, float32", "autodiff, float32"
FLAT, MAPS, LOGITS = (256, 1024), (32, 32, 32, 16), (4096, 100)
_PLAIN = {"rule": "autodiff"}


class Place(NamedTuple):
    """Where an op is differentiated: the shapes of its arrays, and the same by hand and by autodiff."""

    op: str
    shapes: tuple[tuple[int, ...], ...]
    hand: Callable[..., Any]
    autodiff: Callable[..., Any]


def places() -> dict[str, Place]:
    """All of them, by what is written in the tables."""
    found: dict[str, Place] = {}

    def add(op: str, *shapes: tuple[int, ...], label: str = "", twin: Any = None, first: bool = False, **how: Any):
        hand = partial(getattr(ops, op), **how)
        plain = twin or partial(hand, **_PLAIN)
        pick = (lambda call: lambda *arrays: call(*arrays)[0]) if first else (lambda call: call)
        found[label or op] = Place(op, shapes, pick(hand), plain if twin else pick(plain))

    kernel, vector = (3, 3, 16, 16), (16,)
    add("conv", MAPS, kernel)
    add("conv", MAPS, kernel, label="conv, stride 2", strides=2)
    add("conv", MAPS, (3, 3, 8, 16), label="conv, 2 groups", feature_group_count=2)
    add("conv", (32, 28, 28, 1), (5, 5, 1, 6), label="conv, one channel")
    how = {"window_strides": (1, 1), "padding": "SAME"}
    add(
        "conv_general_dilated",
        (32, 16, 32, 32),
        (16, 16, 3, 3),
        twin=partial(jax.lax.conv_general_dilated, **how),
        **how,
    )
    add("conv_transpose", (32, 16, 16, 16), kernel, strides=2)
    add("depthwise_conv", MAPS, (3, 3, 1, 16))
    add("separable_conv", MAPS, (3, 3, 1, 16), (1, 1, 16, 16))
    add("locally_connected", MAPS[:1] + (12, 12, 8), (10, 10, 3, 3, 8, 8))
    add("conv_relu_pool", MAPS, kernel, vector)
    add("max_pool", MAPS, label="max_pool 2/2", window_shape=2)
    add("max_pool", MAPS, label="max_pool 3/2", window_shape=3, strides=2)
    add("relu_max_pool", MAPS, window_shape=2)
    add(
        "max_pool_with_switches", MAPS, first=True, window_shape=2, twin=partial(ops.max_pool, window_shape=2, **_PLAIN)
    )
    how = {"window_dimensions": (1, 1, 2, 2), "window_strides": (1, 1, 2, 2)}
    add("reduce_window_max", (32, 16, 32, 32), twin=partial(_stock_max, **how), **how)
    add("avg_pool", MAPS, window_shape=2)
    add("lp_pool", MAPS, window_shape=2)
    add("blur_pool", MAPS)
    add("subsample", MAPS, strides=2)
    add("global_avg_pool", MAPS)
    add("global_max_pool", MAPS)
    add("adaptive_avg_pool", MAPS, output_shape=5)
    add("adaptive_max_pool", MAPS, output_shape=5)
    add("batch_norm", MAPS, vector, vector, first=True)
    add("batch_norm_relu", MAPS, vector, vector, MAPS, first=True)
    for op, windows in (("residual_block", (3, 3)), ("bottleneck_block", (1, 3, 1))):
        parts = [shape for k in windows for shape in ((k, k, 16, 16), vector, vector)]
        found[op] = Place(op, (MAPS, *parts), _block(op), _block(op, **_PLAIN))
    add("local_response_norm", MAPS)
    for op in ("relu", "leaky_relu", "tanh", "scaled_tanh", "sigmoid", "softmax", "unit_step", "signum"):
        add(op, FLAT)
    add("prelu", FLAT, FLAT[-1:])
    add("linear", FLAT, (FLAT[-1], 100), (100,))
    add("flatten", MAPS, channels="first")
    for op in ("mean_squared_error", "half_squared_error", "huber_loss"):
        add(op, FLAT, FLAT)
    add("binary_cross_entropy", FLAT, FLAT)
    for op, pairs in (("box_iou", ((64, 4), (256, 4))), ("giou_loss", ((4096, 4), (4096, 4)))):
        found[op] = Place(op, pairs, _of_boxes(op), _of_boxes(op, **_PLAIN))
    labels = (np.arange(LOGITS[0]) % LOGITS[1]).astype(np.int32)
    add("softmax_cross_entropy", LOGITS, labels=labels)
    add("dice_loss", MAPS, labels=(np.arange(np.prod(MAPS[:-1])) % MAPS[-1]).reshape(MAPS[:-1]).astype(np.int32))
    key, dropped = jax.random.key(0), {"rate": 0.5}
    found["dropout"] = Place("dropout", (FLAT,), _dropped(key, **dropped), _dropped(key, **dropped, **_PLAIN))
    half = tuple(size // 2 for size in MAPS[1:3])
    pooled = (MAPS[0], *half, MAPS[-1])
    switches = np.random.default_rng(0).integers(0, 4, pooled).astype(np.uint8)
    unpool = partial(ops.max_unpool, switches=switches, output_shape=MAPS[1:3], window_shape=2)
    found["max_unpool"] = Place("max_unpool", (pooled,), unpool, partial(_selected, switches))
    return found


def _dropped(key: jax.Array, **how: Any) -> Callable[[jax.Array], jax.Array]:
    return lambda x: ops.dropout(x, key, **how)


def _of_boxes(op: str, **how: Any) -> Callable[..., jax.Array]:
    """An op of boxes whose corners are drawn: the second one is to the lower right of the first."""

    def whole(corners: jax.Array) -> jax.Array:
        return jnp.concatenate([corners[..., :2], corners[..., :2] + jnp.exp(corners[..., 2:])], -1)

    return lambda *corners: getattr(ops, op)(*map(whole, corners), **how)


def _stock_max(x: jax.Array, window_dimensions: Any, window_strides: Any) -> jax.Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window_dimensions, window_strides, "VALID")


def _block(op: str, **how: Any) -> Callable[..., jax.Array]:
    """A block of arrays: the inputs, then each unit's kernel, scale and bias."""
    return lambda x, *parts: getattr(ops, op)(x, list(zip(*[iter(parts)] * 3, strict=True)), **how)[0]


def _selected(switches: np.ndarray, pooled: jax.Array) -> jax.Array:
    """Max-unpooling of windows of 2 by 2, written out for JAX to differentiate."""
    n, h, w, c = pooled.shape
    cells = jnp.stack([jnp.where(switches == tap, pooled, 0) for tap in range(4)], -1)
    return cells.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)


def refuse_gaps(known: dict[str, Place]) -> None:
    """Sees to it that every op with a gradient has a place.

    Raises:
      ValueError: if one has none.
    """
    every = {name for name in ops.__all__ if callable(getattr(ops, name))} - {"non_maximum_suppression"}  # has none
    if missing := sorted(every - {place.op for place in known.values()}):
        raise ValueError(f"`places` must have all ops; it lacks {', '.join(missing)}.")


@cache
def compiled(label: str, rule: str) -> Callable[..., Any]:
    """An op's value and gradients, kept for all seeds."""
    call = getattr(places()[label], rule)

    @jax.jit
    def run(error: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        output, pull_back = jax.vjp(call, *arrays)
        return output, pull_back(error)

    return run


def difference(found: Any, exact: Any) -> float:
    """The largest of all gradients, each over the largest value of the exact one, which may be 0 everywhere."""
    pairs = [tuple(np.asarray(gradient, np.float64) for gradient in pair) for pair in zip(found, exact, strict=True)]
    return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1)) for a, b in pairs)


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors, times and their ratio, by place."""
    known = places()
    refuse_gaps(known)
    if options.quick:
        known = {label: known[label] for label in ("max_pool 2/2", "relu", "softmax_cross_entropy")}
    found: Tables = {ERROR: {}, TIME: {}, SPEED: {}}
    for label, place in known.items():
        random = np.random.default_rng(seed)
        arrays = [random.standard_normal(shape, np.float32) for shape in place.shapes]
        if label == "binary_cross_entropy":
            arrays[1] = np.abs(arrays[1]) / 8  # targets are probabilities
        error = random.standard_normal(jax.eval_shape(place.hand, *arrays).shape).astype(np.float32)
        inputs = jax.device_put((error, *arrays))
        by_hand, by_jax = (partial(compiled(label, rule), *inputs) for rule in ("hand", "autodiff"))
        with jax.enable_x64(True):
            wide = [array.astype(np.float64) for array in (error, *arrays)]
            exact, by_hand64 = (compiled(label, rule)(*wide)[1] for rule in ("autodiff", "hand"))
        narrow = by_jax()[1] if label == "dropout" else exact
        found[ERROR][label] = {
            HAND64: difference(by_hand64, exact),
            HAND32: difference(by_hand()[1], narrow),
            AUTO32: difference(by_jax()[1], narrow),
        }
        calls = {name: partial(done, call) for name, call in (("hand", by_hand), ("autodiff", by_jax))}
        times = alternate(calls, rounds=3 if options.quick else 11, budget=8)
        ratio = ratios(times["autodiff"], times["hand"])
        found[TIME][label] = {name: 1e3 * spread(values).median for name, values in times.items()}
        found[SPEED][label] = {"median": ratio.median, "low quartile": ratio.low, "high quartile": ratio.high}
        say(f"seed {seed}: {label}, {ratio.median:.2f} times as fast, {found[ERROR][label]}")
    return found


def done(call: Callable[[], Any]) -> None:
    """Calls, and waits for the end of the work."""
    jax.block_until_ready(call())


def claims(document: Document) -> list[Claim]:
    """Exactness first, then speed."""
    errors, speeds = document["tables"][ERROR], document["tables"][SPEED]

    def worst(column: str) -> tuple[float, str]:
        return max((max(cells[column]["values"]), label) for label, cells in errors.items())

    wide, narrow, plain = (worst(column) for column in (HAND64, HAND32, AUTO32))
    ratio = {label: mean(document, SPEED, label, "median") for label in speeds}
    slower = {label: value for label, value in ratio.items() if value < 0.9}
    faster = [label for label, value in ratio.items() if value > 1.1]
    told = ", ".join(f"{label} {number(value)}" for label, value in sorted(slower.items(), key=lambda pair: pair[1]))
    pools = {label: value for label, value in ratio.items() if label.startswith("max_pool ")}
    return [
        Claim(
            "in float64 every hand-written gradient equals that of autodiff, to a relative error of 1e-11",
            wide[0] <= 1e-11,
            f"{len(errors)} places, worst {wide[0]:.1e} in {wide[1]}",
        ),
        Claim(
            "in float32 each is within 1e-5 of autodiff in float64; the worst error is at most twice autodiff's worst",
            narrow[0] <= 1e-5 and narrow[0] <= 2 * plain[0],
            f"worst {narrow[0]:.1e} in {narrow[1]}; autodiff's worst {plain[0]:.1e} in {plain[1]}",
        ),
        Claim(
            "no hand-written rule takes more than a tenth longer than autodiff",
            not slower,
            f"{len(faster)} of {len(ratio)} faster by a tenth or more, {len(slower)} slower" + f": {told}" * bool(told),
        ),
        Claim(
            "the hand-written max-pool is at least five times as fast as what XLA derives",
            min(pools.values()) >= 5,
            ", ".join(f"{label} {number(value)} times" for label, value in pools.items()),
        ),
    ]


def figure(document: Document) -> Any:
    """The ratios in order with their quartiles, and the errors beside them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    errors, speeds = document["tables"][ERROR], document["tables"][SPEED]
    order = sorted(speeds, key=lambda label: speeds[label]["median"]["mean"])
    drawn = Figure(figsize=(11, 1.6 + 0.23 * len(order)), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    rows = range(len(order))
    middle, low, high = (
        np.array([speeds[label][column]["mean"] for label in order])
        for column in ("median", "low quartile", "high quartile")
    )
    bars = [middle - np.minimum(low, middle), np.maximum(high, middle) - middle]
    left.errorbar(middle, rows, xerr=bars, fmt="ko", capsize=2)
    left.axvline(1, color="0.5", linewidth=1)
    left.set(xscale="log", xlabel="time of autodiff divided by time by hand; quartiles")
    left.set_title("Right of the line the hand-written rule is faster")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter("{x:g}")
    left.set_yticks(rows, order)
    for column, marker in ((HAND64, "^"), (HAND32, "o"), (AUTO32, "x")):
        values = [max(errors[label][column]["mean"], 1e-17) for label in order]
        face = {"markerfacecolor": "white"} if marker == "o" else {}
        right.plot(values, rows, marker, color="black", label=column, markersize=5, **face)
    right.set(xscale="log", xlabel="largest error divided by largest gradient (0 drawn at 1e-17)")
    right.set_title("Both differ equally little from autodiff in float64")
    drawn.legend(*right.get_legend_handles_labels(), frameon=False, loc="outside lower right", ncols=3)
    for axes in (left, right):
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
        axes.set_ylim(-0.7, len(order) - 0.3)
    return drawn


EXPERIMENT = Experiment("experiments.hand_vs_autodiff", __doc__, one_seed, claims, figure, shown=(SPEED, ERROR))

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
