"""One self-contained page about one image in one network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from flax import nnx

from jaxcnn import training
from jaxcnn.data import Dataset, Scaling
from jaxcnn.inspect import page, sections, sections_seen, sections_why
from jaxcnn.inspect.subject import Subject

SECTIONS: tuple[Callable[[Subject], list[str]], ...] = (
    sections.prediction,
    sections.feature_maps,
    sections_why.why,
    sections_why.sanity,
    sections_why.shifts,
    sections_seen.alike,
    sections_seen.excites,
    sections_seen.trust,
    sections.first_filters,
    sections.receptive_fields,
    sections.architecture,
    sections.costs,
    sections.convolution,
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
) -> Path:
    """Writes a page that shows what a network does with one image.

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
        f"<h1>{page.text(image)} in {page.text(subject.name)}</h1>",
        f'<p class="big">{page.text(subject.classes[subject.predicted])}, {share:.1f} %</p>',
    ]
    for section in SECTIONS:
        parts += section(subject)
    training.write_atomically(Path(path), page.page(f"{image} in {subject.name}", parts))
    return Path(path)
