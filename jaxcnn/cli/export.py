"""`jaxcnn export`."""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn import export, training
from jaxcnn.cli.runs import Run, known_examples, open_run

_STABLEHLO = """  import pathlib, numpy, jax.export
  network = jax.export.deserialize(bytearray(pathlib.Path({path!r}).read_bytes()))
  print(network.call(numpy.zeros({shape}, {dtype!r})))"""
_ONNX = """  import numpy, onnxruntime
  network = onnxruntime.InferenceSession({path!r})
  print(network.run(None, {{"images": numpy.zeros({shape}, {dtype!r})}})[0])"""
_KINDS = {".stablehlo": (export.stablehlo, _STABLEHLO), ".onnx": (export.onnx, _ONNX)}


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a run's network for programs without jaxcnn: StableHLO for JAX, or ONNX."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    out: tyro.conf.Positional[Path]
    """File to write; it ends in .stablehlo or .onnx."""
    classes_only: bool = False
    """Give the class alone: argmax in the place of softmax."""
    fold_batch_norm: bool = False
    """Move batch normalization into the convolutions."""
    weights: export.Weights = "float"
    """Keep kernels as they are, or in 8 bits; the accuracy lost on the test split is told."""
    data_dir: Path | None = None
    """Folder of the data set's files, for that accuracy; default $JAXCNN_DATA_DIR."""

    def __call__(self) -> None:
        """Prints size and difference, and how to run the file."""
        if self.out.suffix not in _KINDS:
            raise ValueError(f"`out` must end in {' or '.join(_KINDS)}; got {self.out}.")
        write, lines = _KINDS[self.out.suffix]
        run = open_run(self.run)
        done = write(
            run.model,
            self.out,
            scaling=run.scaling,
            augmentation=run.augmentation,
            input_shape=run.image_shape,
            classes=run.classes,
            final="softmax" if run.loss == "cross_entropy" else "none",
            classes_only=self.classes_only,
            fold_batch_norm=self.fold_batch_norm,
            weights=self.weights,
        )
        told = f"{done.size:,} bytes, gives {done.description['output']['kind']}"
        print(f"{done.path}: {told}, differs from the network by at most {done.difference:.1e}")
        if self.weights == "int8":
            print(self._accuracy_lost(run))
        given = done.description["input"]
        print("run it:")
        print(lines.format(path=str(done.path), shape=(1, *given["shape"][1:]), dtype=given["dtype"]))

    def _accuracy_lost(self, run: Run) -> str:
        """What rounding costs on the run's test or validation split, in a line."""
        try:
            dataset = known_examples(run, self.data_dir)
        except (OSError, ValueError, ImportError) as error:
            return f"what rounding costs in accuracy was not measured: {error}"
        shares = [
            training.evaluate(network, dataset, run.scaling, loss=run.loss, augmentation=run.augmentation).accuracy
            for network in (run.model, export.quantize(run.model))
        ]
        before, after = (100 * share for share in shares)
        change = f"{after:.2f} % with int8 ({after - before:+.2f})"
        return f"accuracy on {dataset.name} {dataset.split}: {before:.2f} % with float weights, {change}"
