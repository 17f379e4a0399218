"""The classic filters of image processing, as kernels for `conv`.

Each function returns a NumPy array `(h, w)`; `as_kernel` converts it to a kernel of `conv`. The filters are for
cross-correlation, which `conv` computes by default.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxcnn import geometry


def as_kernel(filters: ArrayLike, channels: int = 1, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Converts filters to a kernel that applies them to every channel.

    Args:
      filters: `(h, w)`, or a bank `(F, h, w)`.
      channels: channels C of the picture.
      dtype: dtype of the kernel.

    Returns:
      `(h, w, 1, C F)`, for `conv(..., feature_group_count=C)`; output `c F + f` is filter `f` on channel `c`.

    Raises:
      ValueError: if the rank is neither 2 nor 3, or `channels` is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import ops
      >>> picture = jnp.array([[0.0, 0.0, 5.0, 5.0]] * 3).reshape(1, 3, 4, 1)
      >>> kernel = ops.filters.as_kernel([ops.filters.sobel(1), ops.filters.identity()])
      >>> kernel.shape, ops.conv(picture, kernel, padding="VALID").tolist()
      ((3, 3, 1, 2), [[[[20.0, 0.0], [20.0, 5.0]]]])
    """
    bank = np.asarray(filters)
    if bank.ndim not in (2, 3) or channels < 1:
        raise ValueError(
            f"`filters` must be (h, w) or (F, h, w) and `channels` positive; got {bank.shape} and {channels}."
        )
    bank = bank if bank.ndim == 3 else bank[None]
    return jnp.asarray(np.tile(np.moveaxis(bank, 0, -1), channels)[:, :, None], dtype)


def identity(size: int = 3) -> np.ndarray:
    """The filter that changes nothing: 1 in the middle of zeros.

    Args:
      size: taps along each axis, odd.

    Returns:
      `(size, size)`.

    Raises:
      ValueError: if `size` is not positive and odd.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.identity().tolist()
      [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    _check_odd(size)
    kernel = np.zeros((size, size))
    kernel[size // 2, size // 2] = 1
    return kernel


def edges(kind: str = "all") -> np.ndarray:
    """One of six edge detectors.

    Their output on a constant image is 0.

    Args:
      kind: `"horizontal"` (detects horizontal edges), `"vertical"`, `"diagonal"` (detects diagonal edges and corners,
        and no horizontal or vertical edge), `"cross"` (the middle minus its four neighbors), `"laplacian"` (the four
        neighbors minus the middle: the sum of both second differences) or `"all"` (the middle minus its eight
        neighbors).

    Returns:
      `(3, 3)`.

    Raises:
      ValueError: if `kind` is unknown.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.edges("cross").tolist()
      [[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]]
    """
    kernels = {
        "horizontal": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
        "vertical": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
        "diagonal": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
        "cross": [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
        "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
        "all": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    }
    if kind not in kernels:
        raise ValueError(f"`kind` must be one of {', '.join(map(repr, kernels))}; got {kind!r}.")
    return np.array(kernels[kind], float)


def sharpen() -> np.ndarray:
    """The filter that sharpens an image: it adds the Laplacian edges.

    Returns:
      `(3, 3)`.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.sharpen().tolist()
      [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]
    """
    return identity() + edges("cross")


def box(size: int = 3) -> np.ndarray:
    """The filter that computes the mean of `size` by `size` cells.

    Args:
      size: taps along each axis.

    Returns:
      `(size, size)`.

    Raises:
      ValueError: if `size` is not positive.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.box(2).tolist()
      [[0.25, 0.25], [0.25, 0.25]]
    """
    size = geometry.integer(size, "size")
    return np.full((size, size), 1 / size**2)


def gaussian(size: int = 5, sigma: float | None = None) -> np.ndarray:
    """A Gaussian blur, whose weights sum to 1.

    Args:
      size: taps along each axis.
      sigma: standard deviation in cells; by default `size / 6`, so that three standard deviations fit on each side.

    Returns:
      `(size, size)`.

    Raises:
      ValueError: if `size` or `sigma` is not positive.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.gaussian(3).round(2).tolist()
      [[0.01, 0.08, 0.01], [0.08, 0.62, 0.08], [0.01, 0.08, 0.01]]
    """
    size = geometry.integer(size, "size")
    sigma = size / 6 if sigma is None else sigma
    if sigma <= 0:
        raise ValueError(f"`sigma` must be positive; got {sigma}.")
    offsets = np.arange(size) - (size - 1) / 2
    row = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.outer(row, row) / row.sum() ** 2


def binomial(size: int = 3) -> np.ndarray:
    """A blur that approximates a Gaussian by binomial coefficients.

    They are divided by a power of two.

    Args:
      size: taps along each axis.

    Returns:
      `(size, size)`, with standard deviation `sqrt(size - 1) / 2` in cells.

    Raises:
      ValueError: if `size` is not positive.

    Example:
      >>> from jaxcnn.ops import filters
      >>> (16 * filters.binomial(3)).tolist()
      [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    size = geometry.integer(size, "size")
    row = np.array([math.comb(size - 1, place) for place in range(size)]) / 2.0 ** (size - 1)
    return np.outer(row, row)


def sobel(axis: int) -> np.ndarray:
    """The derivative along an axis, smoothed across it.

    Args:
      axis: 0 for the derivative downwards, 1 for the derivative to the right.

    Returns:
      `(3, 3)`.

    Raises:
      ValueError: if `axis` is neither.

    Example:
      >>> from jaxcnn.ops import filters
      >>> filters.sobel(1).tolist()
      [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]

    Source: Sobel & Feldman 1968.
    """
    if axis not in (0, 1):
        raise ValueError(f"`axis` must be 0 or 1; got {axis}.")
    kernel = np.outer([1, 2, 1], [-1, 0, 1]).astype(float)
    return kernel if axis == 1 else kernel.T


def gabor_bank(
    size: int = 11,
    orientations: int = 8,
    wavelength: float = 5.0,
    *,
    sigma: float | None = None,
    aspect: float = 0.5,
    phase: float = 0.0,
) -> np.ndarray:
    """Gabor filters: plane waves in a Gaussian window.

    Each has mean 0 and norm 1.

    Args:
      size: taps along each axis, odd.
      orientations: number F of filters, evenly over half a circle; filter f detects waves in the direction `pi f / F`,
        where 0 is to the right.
      wavelength: length of the wave, in cells.
      sigma: standard deviation of the window along the wave, in cells; by default `0.56 wavelength`, for a bandwidth
        of one octave.
      aspect: width of the window along the wave, divided by its width across.
      phase: phase of the wave in the middle, in radians.

    Returns:
      `(F, size, size)`.

    Raises:
      ValueError: if `size` is not odd, or a length is not positive.

    Example:
      >>> from jaxcnn.ops import filters
      >>> across, down = filters.gabor_bank(3, orientations=2).round(1).tolist()
      >>> across
      [[-0.2, 0.5, -0.2], [-0.2, 0.5, -0.2], [-0.2, 0.5, -0.2]]
      >>> down
      [[-0.2, -0.2, -0.2], [0.5, 0.5, 0.5], [-0.2, -0.2, -0.2]]

    Source: Daugman 1985; parameters as in Petkov & Kruizinga 1997.
    """
    _check_odd(size)
    geometry.integer(orientations, "orientations")
    sigma = 0.56 * wavelength if sigma is None else sigma
    for name, value in {
        "wavelength": wavelength,
        "sigma": sigma,
        "aspect": aspect,
    }.items():
        if value <= 0:
            raise ValueError(f"`{name}` must be positive; got {value}.")
    down, right = np.mgrid[:size, :size] - size // 2
    angles = math.pi * np.arange(orientations)[:, None, None] / orientations
    along, across = right * np.cos(angles) + down * np.sin(angles), down * np.cos(angles) - right * np.sin(angles)
    window = np.exp(-(along**2 + (aspect * across) ** 2) / (2 * sigma**2))
    bank = window * np.cos(2 * math.pi * along / wavelength + phase)
    bank -= window * (bank.sum((1, 2), keepdims=True) / window.sum((1, 2), keepdims=True))
    return bank / np.sqrt(np.square(bank).sum((1, 2), keepdims=True))


def _check_odd(size: int) -> None:
    if geometry.integer(size, "size") % 2 == 0:
        raise ValueError(f"`size` must be positive and odd; got {size}.")
