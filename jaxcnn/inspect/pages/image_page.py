"""One self-contained page about one image in one network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from flax import nnx

from jaxcnn import training
from jaxcnn.data import Dataset, Scaling
from jaxcnn.inspect.pages import attribution_sections, frame, network_sections, representation_sections
from jaxcnn.inspect.pages.subject import Subject

SECTIONS: tuple[Callable[[Subject], list[str]], ...] = (
    network_sections.prediction,
    network_sections.feature_maps,
    attribution_sections.attributions,
    attribution_sections.randomization_check,
    attribution_sections.shift_effects,
    representation_sections.nearest_examples,
    representation_sections.most_exciting,
    representation_sections.mistakes,
    network_sections.first_filters,
    network_sections.receptive_fields,
    network_sections.architecture,
    network_sections.costs,
    network_sections.convolution,
)


def write_image_page(
    path: str | Path,
    model: nnx.Module,
    picture: np.ndarray,
    scaling: Scaling,
    classes: tuple[str, ...],
    *,
    name: str = "",
    image: str = "an image",
    examples: Dataset | None = None,
    observer: Callable[[int, str], None] | None = None,
) -> Path:
    """Writes a page on what a network does with an image.

    The page shows the most probable classes, the maps of every stage, attributions, shifts, the nearest examples,
    exciting images, mistakes, filters, receptive fields, the architecture, its parameters and operations, and how a
    convolution works. The pictures are inside the file.

    Args:
      path: the file.
      model: the trained network; it stays unchanged.
      picture: `(H, W, C)` uint8, in the size of the network's input.
      scaling: that of the training.
      classes: names of the classes.
      name: name of the network; by default that of its class.
      image: name of the picture on the page.
      examples: examples of a data set, for the sections that compare with others.
      observer: a function that is called before each section, with its number, from 0, and its name.

    Returns:
      The path.

    Raises:
      ValueError: if the picture is not `(H, W, C)` uint8, or the examples have a class that is not in `classes`.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.dtype != np.uint8:
        raise ValueError(f"`picture` must be (H, W, C) uint8; got {picture.dtype} of shape {picture.shape}.")
    subject = Subject(name or type(model).__name__, model, picture, scaling, tuple(classes), examples)
    share = 100 * subject.probabilities[subject.predicted]
    parts = [
        f"<h1>{frame.text(image)} in {frame.text(subject.name)}</h1>",
        f'<p class="big">{frame.text(subject.classes[subject.predicted])}, {share:.1f} %</p>',
    ]
    for number, section in enumerate(SECTIONS):
        if observer is not None:
            observer(number, section.__name__.replace("_", " "))
        parts += section(subject)
    training.write_atomically(Path(path), frame.page(f"{image} in {subject.name}", parts))
    return Path(path)
