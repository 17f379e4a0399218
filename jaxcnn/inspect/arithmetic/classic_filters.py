"""The classic filters, applied to a picture."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.inspect.pixel_range import white_of
from jaxcnn.ops import filters


class Filtered(NamedTuple):
    """A filter and its result on a picture.

    Args:
      name: name of the filter.
      kernel: `(kh, kw)`.
      result: `(H, W)`.
    """

    name: str
    kernel: np.ndarray
    result: np.ndarray


def sample_picture(name: str = "camera") -> np.ndarray:
    """Loads a photograph in gray, to try filters on.

    Args:
      name: name of a picture of scikit-image (`"camera"`, `"coins"`, `"text"`, ...) or scikit-learn (`"china"`,
        `"flower"`); without scikit-image, `"china"` replaces its pictures.

    Returns:
      `(H, W)` float32, from 0 to 1.

    Raises:
      ValueError: if there is no such picture.
    """
    if name not in ("china", "flower"):
        try:
            from skimage import data as pictures
        except ImportError:
            name = "china"
        else:
            if name.startswith("_") or name not in pictures.__all__:
                raise ValueError(f"`name` must be that of a picture in skimage.data; got {name!r}.")
            return gray(getattr(pictures, name)())
    from sklearn.datasets import load_sample_image

    return gray(load_sample_image(f"{name}.jpg"))


def classic_filters() -> dict[str, np.ndarray]:
    """Returns the classic filters that lectures on convolution show.

    They are all of `ops.filters`, at usual sizes.

    Returns:
      Kernels `(h, w)`, by name: the identity, three blurs, the sharpening filter, six edge detectors, and the oriented
      filters of Sobel and Gabor.
    """
    return {
        "identity": filters.identity(),
        "box blur": filters.box(5),
        "Gaussian blur": filters.gaussian(7),
        "binomial blur": filters.binomial(3),
        "sharpen": filters.sharpen(),
        "horizontal edges": filters.edges("horizontal"),
        "vertical edges": filters.edges("vertical"),
        "diagonal edges": filters.edges("diagonal"),
        "cross": filters.edges("cross"),
        "Laplacian": filters.edges("laplacian"),
        "all edges": filters.edges("all"),
        "Sobel, down": filters.sobel(0),
        "Sobel, right": filters.sobel(1),
        "Gabor, 45 degrees": filters.gabor_bank(9, 4)[1],
    }


def apply_filters(
    picture: ArrayLike, kernels: dict[str, np.ndarray] | None = None, *, flip_kernel: bool = False
) -> list[Filtered]:
    """Applies filters to a picture, whose border cells are repeated.

    Args:
      picture: `(H, W)`.
      kernels: kernels `(kh, kw)`, by name; by default the classic filters.
      flip_kernel: whether to convolve, as in signal processing; by default correlate, as networks do.

    Returns:
      The results, in the order of the kernels.

    Raises:
      ValueError: if the picture or a kernel has another rank.
    """
    kernels = classic_filters() if kernels is None else kernels
    picture = np.asarray(picture, np.float32)
    if picture.ndim != 2 or any(np.ndim(kernel) != 2 for kernel in kernels.values()):
        shapes = [np.shape(kernel) for kernel in kernels.values()]
        raise ValueError(f"`picture` and kernels must be (H, W); got {picture.shape} and {shapes}.")
    size = [max(np.shape(kernel)[axis] for kernel in kernels.values()) for axis in (0, 1)]
    bank = np.zeros((*size, 1, len(kernels)), np.float32)  # one convolution for all, each in the middle of zeros
    for number, kernel in enumerate(kernels.values()):
        top, left = ((n - 1) // 2 - (k - 1) // 2 for n, k in zip(size, np.shape(kernel), strict=True))
        height, width = np.shape(kernel)
        bank[top : top + height, left : left + width, 0, number] = np.flip(kernel) if flip_kernel else kernel
    borders = [((n - 1) // 2, n // 2) for n in size]
    padded = jnp.asarray(np.pad(picture, borders, mode="edge"))[None, ..., None]
    results = np.asarray(ops.conv(padded, jnp.asarray(bank), padding="VALID"))[0]
    return [Filtered(name, np.asarray(kernels[name]), results[..., number]) for number, name in enumerate(kernels)]


def gray(picture: np.ndarray) -> np.ndarray:
    """Converts a picture to gray from 0 to 1.

    It is `(H, W)` or `(H, W, C)`, in bytes or floats from 0 to 1.
    """
    picture = np.asarray(picture, np.float32) / white_of(picture)
    if picture.ndim == 3:
        picture = picture @ np.array([0.299, 0.587, 0.114], np.float32) if picture.shape[-1] == 3 else picture[..., 0]
    return picture
