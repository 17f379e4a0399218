"""What the ops should compute, in NumPy loops that follow the definitions; nothing here knows of jaxcnn or JAX."""

import itertools

import numpy as np


def _cells(position, taps, strides, dilation, padding):
    """The input cell, per axis, that output `position` sees through `taps`; it may lie outside the input."""
    return [
        j * s + t * d - low for j, t, s, d, (low, _) in zip(position, taps, strides, dilation, padding, strict=True)
    ]


def output_shape(sizes, window, strides, padding, dilation, input_dilation=None):
    input_dilation = input_dilation or (1,) * len(sizes)
    return tuple(
        max(0, ((n - 1) * b + 1 + low + high - (k - 1) * d - 1) // s + 1)
        for n, k, s, (low, high), d, b in zip(sizes, window, strides, padding, dilation, input_dilation, strict=True)
    )


def conv_contacts(x_shape, w_shape, strides, padding, input_dilation, kernel_dilation, flip):
    """Every (output position, input cell, tap) that meet in a convolution."""
    sizes, window = x_shape[1:-1], w_shape[:-2]
    output = output_shape(sizes, window, strides, padding, kernel_dilation, input_dilation)
    for position in np.ndindex(*output):
        for tap in np.ndindex(*window):
            dilated = _cells(position, tap, strides, kernel_dilation, padding)
            if any(cell % b for cell, b in zip(dilated, input_dilation, strict=True)):
                continue  # a gap between the cells
            cell = tuple(c // b for c, b in zip(dilated, input_dilation, strict=True))
            if all(0 <= c < n for c, n in zip(cell, sizes, strict=True)):
                used = tuple(k - 1 - t for k, t in zip(window, tap, strict=True)) if flip else tap
                yield position, cell, used


def conv(x, w, error, strides, padding, input_dilation, kernel_dilation, groups, flip):
    """Output, input gradient and kernel gradient, by running over every contact of cell and tap."""
    output = output_shape(x.shape[1:-1], w.shape[:-2], strides, padding, kernel_dilation, input_dilation)
    y = np.zeros((x.shape[0], *output, w.shape[-1]))
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    ins, outs = w.shape[-2], w.shape[-1] // groups
    contacts = conv_contacts(x.shape, w.shape, strides, padding, input_dilation, kernel_dilation, flip)
    for position, cell, tap in contacts:
        for g in range(groups):
            i, o = slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)
            here, there = (slice(None), *cell, i), (slice(None), *position, o)
            matrix = w[(*tap, slice(None), o)]
            y[there] += x[here] @ matrix
            dx[here] += error[there] @ matrix.T
            dw[(*tap, slice(None), o)] += x[here].T @ error[there]
    return y, dx, dw


def _windows(x, window, strides, padding, dilation):
    """For every image, position and channel, the real cells of its window in row-major order."""
    output = output_shape(x.shape[1:-1], window, strides, padding, dilation)
    for image, channel in itertools.product(range(x.shape[0]), range(x.shape[-1])):
        for position in np.ndindex(*output):
            cells = [_cells(position, tap, strides, dilation, padding) for tap in np.ndindex(*window)]
            real = [c for c in cells if all(0 <= i < n for i, n in zip(c, x.shape[1:-1], strict=True))]
            yield (image, *position, channel), [(image, *cell, channel) for cell in real]


def max_pool(x, error, window, strides, padding, dilation):
    """Output and input gradient: the first maximum takes all; the first NaN wins over every number."""
    y, dx = np.full(error.shape, -np.inf), np.zeros(x.shape)
    for place, cells in _windows(x, window, strides, padding, dilation):
        if not cells:
            continue
        winner = cells[0]
        for cell in cells:
            if np.isnan(x[cell]) and not np.isnan(x[winner]) or x[cell] > x[winner]:
                winner = cell
        y[place] = x[winner]
        dx[winner] += error[place]
    return y, dx


def avg_pool(x, error, window, strides, padding, dilation, count_include_pad):
    """Output and input gradient; a window of padding alone gives 0."""
    y, dx = np.zeros(error.shape), np.zeros(x.shape)
    for place, cells in _windows(x, window, strides, padding, dilation):
        count = np.prod(window) if count_include_pad else max(1, len(cells))
        for cell in cells:
            y[place] += x[cell] / count
            dx[cell] += error[place] / count
    return y, dx


def softmax_cross_entropy(logits, targets, error):
    """Loss and both gradients, for probabilities as targets."""
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    loss = -(targets * np.log(p)).sum(-1)
    return loss, error[..., None] * (p * targets.sum(-1, keepdims=True) - targets), -error[..., None] * np.log(p)


def jacobian(function, x, step=1e-6):
    """The full Jacobian by central differences, one column for every element of `x`."""
    columns = []
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        columns.append((np.asarray(function(up)) - np.asarray(function(down))).ravel() / (2 * step))
    return np.stack(columns, -1)
