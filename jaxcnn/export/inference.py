"""The function that is exported, from stored images to predictions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.export import symbolic_shape
from jax.typing import DTypeLike

from jaxcnn import layers, ops
from jaxcnn.data import Augmentation, Preprocessing, Scaling
from jaxcnn.export.fold import example_shape, fold_batch_norm
from jaxcnn.export.preprocessing import fit_pictures
from jaxcnn.export.quantize import is_kernel, quantize, quantized
from jaxcnn.ops.arrays import choice

Final = Literal["softmax", "logistic", "tanh", "none"]
Weights = Literal["float", "int8"]
PIXELS = "pixels"  # among the stages: the bytes that the network gets, before they are scaled
TOLERANCE = 1e-4  # of an exported function against its network, relative to the largest logit where that is above 1
_OUTPUTS = {"softmax": "probabilities", "logistic": "probabilities", "tanh": "scores", "none": "logits"}
_DECISIONS = {"logistic": "bits", "tanh": "signs"}  # what `classes_only` gives for each output; else the class


class Inference(NamedTuple):
    """A network as a function that can be exported."""

    call: Callable[[jax.Array], Any]  # the function, which contains the weights
    examples: np.ndarray  # random examples for the check
    logits: np.ndarray  # the logits of the original network for them
    shape: tuple[int | str, ...]  # of one example; names stand for any size
    dtype: DTypeLike
    final: Final
    classes_only: bool
    details: dict[str, Any]  # for the file's description

    def like(self) -> jax.ShapeDtypeStruct:
        """The type of the function's argument, with a symbolic batch."""
        return jax.ShapeDtypeStruct(symbolic_shape(", ".join(map(str, ("batch", *self.shape)))), self.dtype)

    def difference(self, run: Callable[[np.ndarray], np.ndarray]) -> float:
        """Computes the largest difference between exported function and network.

        It is measured on a few random examples.

        Raises:
          RuntimeError: if it is larger than `TOLERANCE`.
        """
        logits, exported = self.logits, np.asarray(run(self.examples))
        allowed = TOLERANCE * max(1.0, float(np.abs(logits).max(initial=0)))
        if not self.classes_only:
            distance = np.abs(exported - np.asarray(_answer(jnp.asarray(logits), self.final, False)))
        elif self.final in _DECISIONS:
            expected = np.asarray(_answer(jnp.asarray(logits), self.final, True))
            distance = np.where(exported == expected, 0, np.abs(logits))
        else:
            distance = logits.max(-1) - np.take_along_axis(logits, exported[..., None], -1)[..., 0]
        difference = float(distance.max(initial=0))
        if not difference <= allowed:
            raise RuntimeError(
                f"the exported function must be within {allowed:.1e} of its network; it differs by {difference:.1e}."
            )
        return difference


def inference(
    model: nnx.Module,
    *,
    scaling: Scaling | None,
    augmentation: Augmentation | None,
    input_shape: Sequence[int] | None,
    final: Final,
    classes_only: bool,
    fold: bool,
    weights: Weights,
    preprocessing: Preprocessing | None = None,
    units: Scaling | None = None,
    with_preprocessing: bool,
    stages: Mapping[str, int] | None = None,
) -> Inference:
    """Makes the function that `stablehlo` and `onnx` export.

    The arguments and errors are those of these functions. With `stages`, the function returns a tuple.
    """
    choice("final", final, tuple(_OUTPUTS))
    choice("weights", weights, ("float", "int8"))
    shape = example_shape(model, input_shape)
    inside = fold_batch_norm(model, _seen(shape, augmentation)) if fold else nnx.clone(model)
    reference = nnx.clone(quantize(inside) if weights == "int8" else model)
    for network in (inside, reference):
        network.eval()
    # the forms for a CPU and the rules for gradients are of no use elsewhere
    inside.set_attributes(rule="autodiff", raise_if_not_found=False)
    inside.set_attributes(layers.Conv, method="lax", raise_if_not_found=False)
    scaled = scaling is not None and bool(scaling.mean)
    is_bytes = scaled and scaling is not None and scaling.unit == 255
    dtype = jnp.dtype(jnp.uint8 if is_bytes else getattr(model, "input_dtype", jnp.float32))

    def seen(images: jax.Array) -> jax.Array:
        return images if augmentation is None else augmentation.center(images)

    def scale(images: jax.Array) -> jax.Array:
        return scaling(images) if scaled and scaling is not None else images

    def in_units(logits: jax.Array) -> jax.Array:
        values = logits.astype(jnp.float32)
        return values if units is None else values * jnp.array(units.std)[None] + jnp.array(units.mean)[None]

    def call(images: jax.Array) -> Any:
        pixels = seen(fit(images))
        logits, maps = _captured(rebuilt(), scale(pixels), pixels, stages or {})
        answers = _answer(in_units(logits), final, classes_only)
        return (answers, *maps) if stages else answers

    rebuilt = _rebuild(inside, weights)
    fit, given = _fitting(shape, dtype, preprocessing) if with_preprocessing else ((lambda images: images), shape)
    # of the network's size also where any is taken: else a value that rounds the other way would be a large difference
    examples = _examples((3, *shape), dtype)
    logits = np.asarray(jax.jit(lambda images: in_units(reference(scale(seen(fit(images))))))(examples))
    outputs = logits.shape[-1]
    if final == "softmax" and outputs < 2:
        raise ValueError(f"`final` 'softmax' needs two outputs or more; got {outputs}, use 'logistic'.")
    only = _DECISIONS.get(final, "classes")
    details = {
        "network": type(model).__name__,
        "input": {
            "shape": ["batch", *given],
            **({"resized_to": list(shape[:-1])} if with_preprocessing else {}),
            "dtype": dtype.name,
            "scaling": None if scaling is None or not scaled else scaling._asdict(),
            **({"preprocessing": dataclasses.asdict(preprocessing)} if preprocessing is not None else {}),
        },
        "output": {
            "kind": only if classes_only else _OUTPUTS[final] if units is None else "values",
            "count": outputs,
            **({"pixels": list(logits.shape[1:-1])} if logits.ndim > 2 else {}),
        },
        "batch_norm_folded": fold,
        "weights": weights,
        **({"stages": dict(stages)} if stages else {}),
    }
    return Inference(call, examples, logits, given, dtype, final, classes_only, details)


def _fitting(
    shape: tuple[int, ...], dtype: Any, preprocessing: Preprocessing | None
) -> tuple[Callable[[Any], jax.Array], tuple[int | str, ...]]:
    """Makes the function that brings pictures of any size to `shape`.

    The second value is the shape that the function takes.

    Raises:
      ValueError: if the inputs are no pictures in bytes.
    """
    if len(shape) != 3 or shape[-1] not in (1, 3) or dtype != jnp.uint8:
        raise ValueError(
            f"`with_preprocessing` needs a network that takes gray or color pictures in bytes; "
            f"this network takes {dtype} of shape {shape}."
        )
    height, width, channels = shape
    cut = channels == 3  # as `jaxcnn predict` reads photographs and drawings
    fit = partial(fit_pictures, height=height, width=width, cut=cut, preprocessing=preprocessing)
    return lambda images: fit(jnp.asarray(images)), ("height", "width", channels)


def _captured(
    network: Callable[..., Any], inputs: jax.Array, pixels: jax.Array, stages: Mapping[str, int]
) -> tuple[jax.Array, list[jax.Array]]:
    """Computes logits, and the first maps of the given stages.

    Raises:
      ValueError: if a stage is unknown.
    """
    if not set(stages) - {PIXELS}:
        return network(inputs), [pixels for _ in stages]
    logits, found = network(inputs, capture=True)
    found = {PIXELS: pixels, **found}
    for name in stages:
        if name not in found:
            raise ValueError(f"`stages` must name stages of the network, {', '.join(found)}; got {name!r}.")
    return logits, [_output(found[name][..., :count]) for name, count in stages.items()]


def _output(maps: jax.Array) -> jax.Array:
    """Gives an output a value of its own.

    jax2onnx loses outputs that the graph also reads further inside.
    """
    return maps if maps.dtype == jnp.uint8 else maps.astype(jnp.float32) * jnp.float32(1)


def _examples(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random examples.

    Words are only the first two, which every vocabulary has.
    """
    draw = np.random.default_rng(0)
    if jnp.issubdtype(dtype, jnp.floating):
        return draw.normal(size=shape).astype(dtype)
    return draw.integers(0, 256 if dtype == jnp.uint8 else 2, shape).astype(dtype)


def _seen(shape: tuple[int, ...], augmentation: Augmentation | None) -> tuple[int, ...]:
    """The shape of the network's input for examples of a shape."""
    return shape if augmentation is None else augmentation.resized(shape)


def _rebuild(model: nnx.Module, weights: Weights) -> Callable[[], Any]:
    """A function that rebuilds the network inside a trace.

    It does so from int8 kernels if requested.
    """
    graph, state = nnx.split(model)
    flat = dict(nnx.to_flat_state(state))
    as_bytes = {
        path: quantized(variable.get_value())
        for path, variable in flat.items()
        if weights == "int8" and is_kernel(path, variable)
    }

    def rebuilt() -> Any:
        whole = {path: flat[path].replace(q.whole(flat[path].get_value().dtype)) for path, q in as_bytes.items()}
        return nnx.merge(graph, nnx.from_flat_state(flat | whole), copy=True)

    return rebuilt


def _answer(logits: jax.Array, final: Final, classes_only: bool) -> jax.Array:
    """The final activation, or only the class, without the activation.

    All are monotonic: the largest probability is that of the largest logit, a logistic output is at least one half if
    and only if its logit is at least 0, and tanh has the sign of its logit.
    """
    if classes_only:
        if final == "logistic":
            return ops.unit_step(logits, rule="autodiff").astype(jnp.uint8)
        if final == "tanh":
            return ops.signum(logits, rule="autodiff").astype(jnp.int8)
        return jnp.argmax(logits, -1).astype(jnp.int32)
    if final == "softmax":
        return ops.softmax(logits, rule="autodiff")
    if final == "tanh":
        return ops.tanh(logits, rule="autodiff")
    return ops.sigmoid(logits, rule="autodiff") if final == "logistic" else logits
