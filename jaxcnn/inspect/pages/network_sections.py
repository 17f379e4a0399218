"""The sections of a page about the network and convolution.

The page is about one image, and shows how a convolution works. Each function takes a `Subject` and returns markup,
which is empty if the section does not apply.
"""

import numpy as np

from jaxcnn.inspect import stages
from jaxcnn.inspect.arithmetic import classic_filters, counts
from jaxcnn.inspect.arithmetic.sliding_window import slide
from jaxcnn.inspect.pages.frame import section
from jaxcnn.inspect.pages.subject import Subject
from jaxcnn.ops import filters

_STAGES = 5  # whose effective fields are measured


def prediction(subject: Subject) -> list[str]:
    """The image and the likeliest classes."""
    from jaxcnn.inspect import plots

    figure = plots.prediction(subject.picture, subject.probabilities, subject.classes)
    return section("The image", "As the network gets it, and the likeliest classes.", (figure, "Image and classes"))


def architecture(subject: Subject) -> list[str]:
    """The network drawn, and its layers as a table."""
    from jaxcnn.inspect import plots

    parts = section("The network", "", (plots.architecture(subject.summary), "The network's layers as blocks"))
    return [*parts, "<details><summary>All layers</summary>", subject.summary._repr_html_(), "</details>"]


def costs(subject: Subject) -> list[str]:
    """Parameters and multiply-adds, and what sharing saves."""
    from jaxcnn.inspect import plots

    bars = plots.costs(counts.costs(subject.summary))
    parts = section("Parameters and work", "", (bars, "Parameters and multiply-adds by layer"))
    shared = counts.shared_counts(subject.summary)
    if shared:
        figure = plots.shared_counts(shared)
        parts += section("What sharing weights saves", "", (figure, "Convolutions against fully connected layers"))
    return parts


def first_filters(subject: Subject) -> list[str]:
    """The kernels of the first layer."""
    from jaxcnn.inspect import plots

    kernel = stages.first_kernel(subject.model, subject.picture.shape)
    if kernel is None:
        return []
    note = "Weights as colors, zero gray." if kernel.shape[2] == 3 else f"Weights {plots.style.SIGNED_SAYS}."
    return section("First-layer filters", note, (plots.filters(kernel), "First-layer filters"))


def feature_maps(subject: Subject) -> list[str]:
    """The maps of every stage."""
    from jaxcnn.inspect import plots

    maps = {name: array[0] for name, array in subject.activations.items() if array.ndim == 4}
    figures = [(plots.feature_maps(name, array), f"Feature maps of {name}") for name, array in maps.items()]
    return section("Feature maps", "What each stage makes of the image.", *figures) if figures else []


def receptive_fields(subject: Subject) -> list[str]:
    """The receptive fields of each stage, by arithmetic and measured."""
    from jaxcnn.inspect import plots

    shape = subject.picture.shape
    fields = stages.receptive_fields(subject.model, shape)
    if not fields:
        return []
    figure = plots.receptive_fields(subject.picture, fields)
    parts = section("Receptive fields", "", (figure, "Receptive fields by stage"))
    names = list(fields)
    chosen = [names[i] for i in sorted({round(i) for i in np.linspace(0, len(names) - 1, min(_STAGES, len(names)))})]
    effective = stages.effective_fields(subject.model, shape, chosen, trials=8)
    note = "In units of input cells; a unit's gradient is strongest in the middle of its field (Luo et al. 2016)."
    return [*parts, *section("Effective receptive fields", note, (plots.effective_fields(effective), "Gradients"))]


def convolution(subject: Subject) -> list[str]:
    """How a convolution works, shown on this image."""
    from jaxcnn.inspect import plots

    gray = classic_filters.gray(subject.picture)
    small = np.rint(9 * _shrunk(gray, 5))
    kernel = filters.sobel(1)
    steps = plots.sliding_animation(slide(small, kernel, strides=1, padding="VALID"))
    tiny, edge = np.rint(9 * _shrunk(gray, 4)), np.array([[-1, 1], [-1, 1]])
    return [
        *section(
            "The sliding window",
            "The image in 5x5 cells, from 0 to 9, and a kernel that answers to edges; an output is a sum of products.",
            (steps, "A window that slides over numbers"),
        ),
        *section(
            "Convolution as a matrix",
            "The same operation as one sparse matrix, here on 4x4 cells: its transpose carries the errors back.",
            (plots.convolution_as_matrix(tiny, edge, padding="VALID"), "Sparse matrix, its transpose, im2col"),
        ),
        *section(
            "Max-pooling as routing",
            "Each error goes to the one cell that won; G changes with the image.",
            (plots.pool_as_matrix(tiny, 2), "Winners of pooling and their matrix"),
        ),
        *section(
            "Classic filters",
            "The image under filters of image processing, such as a first layer often learns.",
            (plots.filtered_pictures(classic_filters.apply_filters(gray)), "The image under ten filters"),
            (plots.correlation_and_convolution(gray, kernel), "Correlation beside convolution"),
        ),
    ]


def _shrunk(gray: np.ndarray, side: int) -> np.ndarray:
    """The means of square blocks, stretched from 0 to 1.

    A block has `side` by `side` cells.
    """
    rows = np.array_split(gray, min(side, len(gray)))
    small = np.array([[block.mean() for block in np.array_split(row, min(side, row.shape[1]), 1)] for row in rows])
    return (small - small.min()) / (np.ptp(small) or 1.0)
