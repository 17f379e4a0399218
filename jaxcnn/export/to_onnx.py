"""Exports to ONNX, which runs without JAX."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from jaxcnn.data import Augmentation, Preprocessing, Scaling
from jaxcnn.export.inference import Final, Inference, Weights, inference
from jaxcnn.export.report import Exported, describe
from jaxcnn.training import write_atomically

INPUT, OUTPUT = "images", "answers"
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
OPSET = 21  # the newest is known to fewer programs, and gives nothing here


def onnx(
    model: nnx.Module,
    path: str | Path,
    *,
    scaling: Scaling | None = None,
    preprocessing: Preprocessing | None = None,
    augmentation: Augmentation | None = None,
    input_shape: Sequence[int] | None = None,
    classes: Sequence[str] = (),
    final: Final = "softmax",
    classes_only: bool = False,
    fold_batch_norm: bool = False,
    weights: Weights = "float",
    units: Scaling | None = None,
    with_preprocessing: bool = False,
    stages: Mapping[str, int] | None = None,
) -> Exported:
    """Writes a network as an ONNX graph, and checks its outputs.

    They are compared with those of the network.

    To run the file::

        import onnxruntime
        network = onnxruntime.InferenceSession("lenet5.onnx")
        (answers,) = network.run(None, {"images": images})

    Args:
      model: a trained network; it is used in evaluation mode and stays unchanged.
      path: the file; the description is in its metadata, each value as JSON.
      scaling: that of the training, as in `stablehlo`.
      preprocessing: how pictures are resized and cut before the graph, for the description.
      augmentation: that of the training, as in `stablehlo`.
      input_shape: shape of one example; by default that of the network.
      classes: names of the classes, for the description.
      final: function applied to the logits: `"softmax"`, `"logistic"`, `"tanh"` or `"none"`.
      classes_only: return classes, bits or signs instead of these values, as in `stablehlo`.
      fold_batch_norm: fold batch normalization into the convolutions.
      weights: `"float"`, or `"int8"` to store kernels in bytes.
      units: scaling of the targets, as in `stablehlo`.
      with_preprocessing: take pictures in bytes of any size, `(N, H, W, C)`, and resize them inside the function as in
        `stablehlo`.
      stages: more outputs: stages of the network, each with a number of maps. The graph then also gives the first
        maps of each, `(N, ..., maps)` float32, under its name; `"pixels"` are the bytes that the network gets.

    Returns:
      The path, its size, the difference from the network on random examples, and the description.

    Raises:
      ValueError: if an option or a stage is unknown, or the shape of an example is not known.
      RuntimeError: if the graph does not compute what the network computes, or jax2onnx or onnxruntime is not
        installed.
    """
    try:
        import jax2onnx  # noqa: F401
        import onnx as format
        import onnxruntime
    except ImportError as error:
        raise RuntimeError(f"`export.onnx` needs {error.name}: pip install 'jaxcnn[onnx]'.") from None
    path = Path(path)
    exported = inference(
        model,
        scaling=scaling,
        preprocessing=preprocessing,
        augmentation=augmentation,
        input_shape=input_shape,
        final=final,
        classes_only=classes_only,
        fold=fold_batch_norm,
        weights=weights,
        units=units,
        with_preprocessing=with_preprocessing,
        stages=stages,
    )
    description = describe("onnx", ("jax2onnx",), classes, exported.details)
    graph = _graph(exported, list(stages or ()))
    for key, value in description.items():
        graph.metadata_props.add(key=key, value=json.dumps(value))
    format.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = exported.difference(lambda images: np.asarray(session.run(None, {INPUT: images})[0]))
    write_atomically(path, content)
    return Exported(path, len(content), difference, description)


def _graph(exported: Inference, stages: list[str]) -> Any:
    """The function as an ONNX model.

    It is traced here and not by jax2onnx, which replaces functions of NumPy by its own while it traces.
    """
    import jax2onnx

    from jaxcnn.export.onnx_windows import own_windows

    like = exported.like()
    traced = jax.make_jaxpr(exported.call)(like)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # warns of types that jax2onnx leaves out, which ONNX infers
    with own_windows():
        return jax2onnx.to_onnx(
            lambda images: tuple(_evaluate(traced, images)) if stages else _evaluate(traced, images)[0],
            [like],
            model_name="jaxcnn",
            opset=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT, *stages],
        )


def _evaluate(traced: Any, *inputs: Any) -> list[Any]:
    """Evaluates the trace with calls inlined.

    Values that depend on no image are computed now, but bytes stay bytes.
    """
    jaxpr = traced.jaxpr
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*traced.consts, *inputs], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if hasattr(variable, "val") else values[variable]

    for equation in jaxpr.eqns:
        primitive, options = equation.primitive, equation.params
        given = [read(variable) for variable in equation.invars]
        # what is as large as the batch waits too
        sizes = [size for variable in equation.outvars for size in variable.aval.shape]
        known = all(isinstance(size, int) for size in sizes) and not any(
            isinstance(x, Tracer) or jnp.result_type(x) == jnp.int8 for x in given
        )
        with jax.ensure_compile_time_eval() if known else contextlib.nullcontext():
            if primitive.name in _CALLS:
                results = _evaluate(next(options[name] for name in ("jaxpr", "call_jaxpr") if name in options), *given)
            else:
                results = primitive.bind(*given, **primitive.get_bind_params(options))
                results = results if primitive.multiple_results else [results]
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]
