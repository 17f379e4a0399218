"""Exports to StableHLO, which runs with only JAX."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax import export

from jaxcnn.data import Augmentation, Preprocessing, Scaling
from jaxcnn.export.inference import Final, Weights, inference
from jaxcnn.export.report import Exported, describe
from jaxcnn.training import write_atomically

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(
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
    platforms: Sequence[str] = PLATFORMS,
) -> Exported:
    """Writes a network as a function that runs with JAX alone.

    The file contains its weights; the process needs only JAX.

    To run the file::

        import pathlib, jax.export
        network = jax.export.deserialize(bytearray(pathlib.Path("lenet5.stablehlo").read_bytes()))
        answers = network.call(images)

    Args:
      model: a trained network; it is used in evaluation mode and stays unchanged.
      path: the file; a description is written beside it, with `.json` appended to its name.
      scaling: that of the training, applied inside the function, which then takes bytes if the scaling does. By default
        the function takes inputs of the network, already scaled.
      preprocessing: how pictures are resized and cut before the function, for the description.
      augmentation: that of the training, which determines the size of the pictures.
      input_shape: shape of one example before the augmentation; by default that of the network, if it is fixed.
      classes: names of the classes, for the description.
      final: function applied to the logits: `"softmax"`; `"logistic"` or `"tanh"`, for each output separately; or
        `"none"`.
      classes_only: return decisions instead of these values, without computing them: softmax becomes argmax, the index
        of a class; the logistic function becomes the unit step, one bit per output; tanh becomes signum, -1, 0 or 1.
      fold_batch_norm: fold batch normalization into the convolutions, as `export.fold_batch_norm`.
      weights: `"float"`; or `"int8"` to store kernels in bytes, rounded as by `export.quantize`. They are converted to
        floats when the function runs.
      units: scaling of the targets, for a network whose outputs are standardized values: the function then returns
        values in their own units.
      with_preprocessing: take pictures in bytes of any size, `(N, H, W, C)`, and resize them inside the function as
        `jaxcnn predict` does: photographs are cut to the middle; of gray pictures nothing is lost.
      platforms: platforms of the function, from `"cpu"`, `"cuda"`, `"rocm"` and `"tpu"`; that of this process is always
        added.

    Returns:
      The path, its size, the difference from the network on random examples, and the description.

    Raises:
      ValueError: if an option is unknown, or the shape of an example is not known.
      RuntimeError: if the function does not compute what the network computes, or flatbuffers is not installed.
    """
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
    )
    every = tuple(dict.fromkeys((*platforms, export.default_export_platform())))
    description = describe("stablehlo", ("jax",), classes, {**exported.details, "platforms": list(every)})
    content = bytes(export.export(jax.jit(exported.call), platforms=every)(exported.like()).serialize())
    difference = exported.difference(lambda images: np.asarray(export.deserialize(bytearray(content)).call(images)))
    write_atomically(path, content)
    write_atomically(path.with_name(f"{path.name}.json"), json.dumps(description, indent=2) + "\n")
    return Exported(path, len(content), difference, description)
