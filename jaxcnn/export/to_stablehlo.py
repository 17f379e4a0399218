"""To StableHLO, which JAX alone runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax import export

from jaxcnn.data import Augmentation, Scaling
from jaxcnn.export.inference import Final, Weights, inference
from jaxcnn.export.report import Exported, describe
from jaxcnn.training import write_atomically

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(
    model: nnx.Module,
    path: str | Path,
    *,
    scaling: Scaling | None = None,
    augmentation: Augmentation | None = None,
    input_shape: Sequence[int] | None = None,
    classes: Sequence[str] = (),
    final: Final = "softmax",
    classes_only: bool = False,
    fold_batch_norm: bool = False,
    weights: Weights = "float",
    platforms: Sequence[str] = PLATFORMS,
) -> Exported:
    """Writes a network as a compiled function that a process with JAX alone can run, with its weights inside.

        import pathlib, jax.export
        network = jax.export.deserialize(bytearray(pathlib.Path("lenet5.stablehlo").read_bytes()))
        answers = network.call(images)

    Args:
      model: a trained network; it is used in evaluation mode and left as it was.
      path: the file; beside it, with `.json` after its name, comes a description.
      scaling: that of the training, applied inside; the function then takes bytes, if the scaling does. By default it
        takes what the network takes.
      augmentation: that of the training, for the size that it brings pictures to.
      input_shape: of one example as it is given; by default the network's own, if that is fixed.
      classes: their names, for the description.
      final: what the logits go through, `"softmax"`, `"logistic"` (every output by itself) or `"none"`.
      classes_only: give classes instead of probabilities, without computing these: softmax becomes argmax, the index
        of a class; the logistic function becomes the unit step, a bit for each output.
      fold_batch_norm: move batch normalization into the convolutions, as `export.fold_batch_norm`.
      weights: `"int8"` keeps kernels in bytes, as `export.quantize` rounds them; they are spread out when the function
        runs.
      platforms: the function's, of `"cpu"`, `"cuda"`, `"rocm"`, `"tpu"`; that of this process is always among them.

    Returns:
      The path, its size, how far the function was from the network on random examples, and the description.

    Raises:
      ValueError: if an option is unknown, or the shape of an example is not known.
      RuntimeError: if the function is not what the network computes, or flatbuffers is not installed.
    """
    path = Path(path)
    leaving = inference(
        model,
        scaling=scaling,
        augmentation=augmentation,
        input_shape=input_shape,
        final=final,
        classes_only=classes_only,
        fold=fold_batch_norm,
        weights=weights,
    )
    every = tuple(dict.fromkeys((*platforms, export.default_export_platform())))
    description = describe("stablehlo", ("jax",), classes, {**leaving.details, "platforms": list(every)})
    (batch,) = export.symbolic_shape("batch")
    like = jax.ShapeDtypeStruct((batch, *leaving.shape), leaving.dtype)
    content = bytes(export.export(jax.jit(leaving.call), platforms=every)(like).serialize())
    difference = leaving.difference(lambda images: np.asarray(export.deserialize(bytearray(content)).call(images)))
    write_atomically(path, content)
    write_atomically(path.with_name(f"{path.name}.json"), json.dumps(description, indent=2) + "\n")
    return Exported(path, len(content), difference, description)
