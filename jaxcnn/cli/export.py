"""`jaxcnn export`."""

import dataclasses
import shlex
from pathlib import Path

import tyro

from jaxcnn import export, training
from jaxcnn.cli.runs import Run, known_examples, open_run
from jaxcnn.export.recipe import check_recipe_path, recipe_path, takes_pictures
from jaxcnn.weights.files import SUFFIXES

_STABLEHLO = """  import pathlib, numpy, jax.export
  network = jax.export.deserialize(bytearray(pathlib.Path({path!r}).read_bytes()))
  print(network.call(numpy.zeros({shape}, {dtype!r})))"""
_ONNX = """  import numpy, onnxruntime
  network = onnxruntime.InferenceSession({path!r})
  print(network.run(None, {{"images": numpy.zeros({shape}, {dtype!r})}})[0])"""
_KINDS = {".stablehlo": (export.stablehlo, _STABLEHLO), ".onnx": (export.onnx, _ONNX)}


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained network as StableHLO or ONNX, independent of jaxcnn."""

    run: tyro.conf.Positional[Path]
    """Run folder, file of weights, or name of published weights: resnet50, timm/resnet50.a1_in1k."""
    out: tyro.conf.Positional[Path]
    """File to write; its ending decides the format: .stablehlo or .onnx."""
    classes_only: bool = False
    """Give the number of the likeliest class (argmax), not the probabilities (softmax); for segmentation that of each
    pixel."""
    fold_batch_norm: bool = False
    """Fold batch normalization into the convolutions."""
    weights: export.Weights = "float"
    """float keeps the kernels as they are; int8 stores them in 8 bits, and prints the accuracy before and after."""
    with_preprocessing: bool = False
    """Write a file that takes uint8 pictures of any size, and resizes them as `jaxcnn predict` does."""
    no_recipe: bool = False
    """Do not write the recipe, a Python program that runs the file on picture files without jaxcnn."""
    data_dir: Path | None = None
    """Folder of the data set's files, for that accuracy; None means $JAXCNN_DATA_DIR."""

    def __call__(self) -> None:
        """Prints size and difference, and how to run the file."""
        if self.out.suffix not in _KINDS:
            instead = "; for files of weights use `jaxcnn convert`" if self.out.suffix in SUFFIXES else ""
            raise ValueError(f"`out` must end in {' or '.join(_KINDS)}; got {self.out}{instead}.")
        write, lines = _KINDS[self.out.suffix]
        if not self.no_recipe:
            check_recipe_path(recipe_path(self.out))  # before anything is computed
        run = open_run(self.run)
        if self.classes_only and not run.task.of_classes and run.task.final == "none":
            raise ValueError(f"`classes_only` needs classes or labels; the task of {self.run} is {run.task.name}.")
        done = write(
            run.model,
            self.out,
            scaling=run.scaling,
            preprocessing=run.preprocessing,
            augmentation=run.augmentation,
            input_shape=run.image_shape,
            classes=run.task.output_names(run.classes),
            final=run.task.final,
            units=training.units_of(run.task),
            classes_only=self.classes_only,
            fold_batch_norm=self.fold_batch_norm,
            weights=self.weights,
            with_preprocessing=self.with_preprocessing,
        )
        told = f"{done.size:,} bytes, gives {done.description['output']['kind']}"
        print(f"{done.path}: {told}, differs from the network by at most {done.difference:.1e}")
        if self.weights == "int8":
            print(self._accuracy_lost(run))
        if not self.no_recipe and takes_pictures(done):
            recipe = export.recipe(done, classes=run.words if run.task.of_classes or run.task.of_pixels else None)
            print(f"{recipe}: runs the network on picture files, without jaxcnn:")
            print(f"  python {shlex.quote(str(recipe))} PICTURE")
        elif not self.no_recipe:
            print("no recipe: it would read picture files, and this network takes no pictures of bytes")
        given = done.description["input"]
        shape = (1, *(side if isinstance(side, int) else 480 for side in given["shape"][1:]))
        print("run it, with pictures of any size:" if self.with_preprocessing else "run it:")
        print(lines.format(path=str(done.path), shape=shape, dtype=given["dtype"]))

    def _accuracy_lost(self, run: Run) -> str:
        """Measures how much accuracy int8 weights lose.

        Returns a line with the task's first metric, on the test or validation split of the run's data.
        """
        try:
            dataset = known_examples(run, self.data_dir)
        except (OSError, ValueError, ImportError) as error:
            return f"the accuracy with int8 weights was not measured: {error}"
        name = run.task.METRICS[0]
        values = [
            training.evaluate(network, dataset, run.scaling, task=run.task, augmentation=run.augmentation)[name]
            for network in (run.model, export.quantize(run.model))
        ]
        title = training.METRICS[name].title
        if not training.METRICS[name].share:
            return "{} on {} {}: {:.4g} with float weights, {:.4g} with int8".format(
                title, dataset.name, dataset.split, *values
            )
        before, after = (100 * value for value in values)
        change = f"{after:.2f} % with int8 ({after - before:+.2f})"
        return f"{title} on {dataset.name} {dataset.split}: {before:.2f} % with float weights, {change}"
