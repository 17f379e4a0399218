"""Convolution and pooling as matrices, forward and backward."""

from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxcnn.inspect.arithmetic import matrices
from jaxcnn.inspect.plots import cells

_WIDEST = 4.6  # inches, of one matrix


def convolution_as_matrix(
    inputs: ArrayLike, kernel: ArrayLike, errors: ArrayLike | None = None, **options: Any
) -> Figure:
    """Draws a convolution's sparse matrix, its transpose, and im2col.

    The transpose gives the gradient.

    Args:
      inputs: `(H, W)` or `(L,)`, one map; up to about 36 cells are readable.
      kernel: `(kh, kw)` or `(k,)`.
      errors: the gradient of the outputs, in their shape; by default ones.
      **options: as in `inspect.convolution_matrix`; `padding` is `"SAME"` by default.

    Returns:
      The figure.

    Raises:
      ValueError: if shapes disagree.
    """
    inputs, kernel = np.asarray(inputs, float)[..., None], np.asarray(kernel, float)[..., None, None]
    weights = matrices.convolution_matrix(kernel, inputs.shape, **options)
    shared = {key: value for key, value in options.items() if key != "flip_kernel"}
    windows = matrices.im2col(inputs, kernel.shape[:-2], **shared)
    taps = (np.flip(kernel) if options.get("flip_kernel") else kernel).reshape(-1, 1)
    x, y = inputs.reshape(-1, 1), (weights @ inputs.ravel()).reshape(-1, 1)
    g = np.ones_like(y) if errors is None else np.asarray(errors, float)
    if g.size != y.size:
        raise ValueError(f"`errors` must have one for each of the {y.size} outputs; got shape {g.shape}.")
    g = g.reshape(y.shape)
    dense, back = _filled(weights), _filled(weights.T)
    rows = [(dense, x, y), (back, g, weights.T @ g), (windows, taps, windows @ taps)]
    names = [("W", "x", "y"), ("Wᵀ", "g", "dx"), ("windows as rows", "kernel", "y")]
    heads = [
        "forward: y = W x; blank cells are never anything but zero",
        "input gradient: Wᵀ g",
        "im2col: the same y, from copies of the input",
    ]
    cell = min(0.27, _WIDEST / max(matrix.shape[1] for matrix, _, _ in rows))
    shapes = [[cells.shape_of(a), "·", cells.shape_of(b), "=", cells.shape_of(c)] for a, b, c in rows]
    title = f"a convolution as a matrix: {weights.nnz} of {dense.size} entries, {kernel.size} different weights"
    figure, panels = cells.arrange(shapes, title=title, cell=cell, headed=heads)
    for placed, arrays, titles in zip(panels, rows, names, strict=True):
        for axes, array, name in zip(placed, arrays, titles, strict=True):
            cells.draw(axes, array, name)
    return figure


def pool_as_matrix(
    inputs: ArrayLike,
    window_shape: int | tuple[int, ...],
    errors: ArrayLike | None = None,
    *,
    kind: Literal["max", "average"] = "max",
    **options: Any,
) -> Figure:
    """Draws what a pool takes, and where it sends errors.

    It shows the matrix G of both.

    Args:
      inputs: `(H, W)`, one map.
      window_shape: size of the window.
      errors: the gradient of the outputs, in their shape; by default 1, 2, 3 ...
      kind: `"max"` or `"average"`.
      **options: as in `inspect.pool_matrix`.

    Returns:
      The figure.
    """
    inputs = np.asarray(inputs, np.float32)
    matrix = matrices.pool_matrix(inputs[..., None], window_shape, kind=kind, **options)
    shape = matrices.pooled_shape(inputs.shape, window_shape, **options)
    pooled = (matrix @ inputs.ravel()).reshape(shape)
    g = np.arange(1.0, pooled.size + 1).reshape(shape) if errors is None else np.asarray(errors, float)
    back = (matrix.T @ g.ravel()).reshape(inputs.shape)
    winners = [np.unravel_index(cell, inputs.shape) for cell in np.unique(matrix.indices)] if kind == "max" else []
    rows = [
        [cells.shape_of(inputs), "→", cells.shape_of(pooled)],
        [cells.shape_of(back), "←", cells.shape_of(g)],
        [cells.shape_of(matrix)],
    ]
    told = "the winner of each window" if kind == "max" else "the mean of each window"
    heads = [f"forward: y = G x, {told}", "backward: Gᵀ g, the errors go where the values came from", "G"]
    cell = min(0.36, _WIDEST / inputs.size)
    title = f"{kind}-pooling of {cells.size(inputs.shape)} to {cells.size(shape)}, as routing and as a matrix"
    figure, (forward, backward, (last,)) = cells.arrange(rows, title=title, cell=cell, headed=heads)
    cells.draw(forward[0], inputs, "x", marked=winners)
    cells.draw(forward[1], pooled, "y")
    cells.draw(backward[0], back, "gradient of x", marked=winners)
    cells.draw(backward[1], g, "g")
    cells.draw(last, _filled(matrix), "a row for each y, a column for each x")
    return figure


def _filled(matrix: Any) -> np.ndarray:
    """A sparse matrix with NaN where it has no entry."""
    dense = np.full(matrix.shape, np.nan)
    entries = matrix.tocoo()
    dense[entries.row, entries.col] = entries.data
    return dense
