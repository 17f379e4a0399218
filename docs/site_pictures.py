"""The pictures of "How it works", drawn when the site is built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sphinx.application import Sphinx

from jaxcnn import inspect, models, ops
from jaxcnn.inspect import plots

PICTURES = Path(__file__).parent / "how" / "pictures"
_SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def convolution() -> Any:
    """Three steps of a window."""
    cells = np.arange(25).reshape(5, 5) % 7
    return plots.sliding_steps(inspect.slide(cells, _SOBEL), [0, 1, 8])


def convolution_matrix() -> Any:
    """A convolution of 4x4 cells as a matrix."""
    cells = np.arange(16).reshape(4, 4) % 5
    return plots.convolution_as_matrix(cells, _SOBEL, [[1, 0], [0, 2]], padding="VALID")


def max_pool() -> Any:
    """The routes of a max-pool."""
    cells = np.array([[3, 1, 0, 2], [4, 1, 5, 2], [0, 2, 7, 6], [1, 1, 3, 0]])
    return plots.pool_as_matrix(cells, 2, [[1, 2], [3, 4]])


def activations() -> Any:
    """Four functions, and their derivatives by our rules."""
    x = jnp.linspace(-3.0, 3.0, 241)
    functions = {"relu": ops.relu, "tanh": ops.tanh, "sigmoid": ops.sigmoid, "scaled_tanh": ops.scaled_tanh}
    figure = plots.style.canvas(9, 2.6)
    for axes, (name, function) in zip(figure.subplots(1, 4), functions.items(), strict=True):
        axes.plot(x, function(x), label="y")
        axes.plot(x, jax.vmap(jax.grad(function))(x), "--", label="dy/dx")
        axes.set(title=name, xlabel="x")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def imagenet_winners() -> Any:
    """The winners of ImageNet's challenge: a bar for the error of each year, a line for the number of layers."""
    years = [f"{winner.year}\n{winner.entry}" for winner in models.ILSVRC]
    errors = [winner.top5 for winner in models.ILSVRC]
    deep = [(place, winner.layers) for place, winner in enumerate(models.ILSVRC) if winner.layers]
    figure = plots.style.canvas(9, 3.8)
    axes = figure.subplots()
    bars = axes.bar(range(len(years)), errors, 0.6, color=plots.style.SERIES[2])
    axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
    axes.set_xticks(range(len(years)), years, fontsize=8)
    axes.set(ylabel="top-5 error, %", ylim=(0, 33))
    right = axes.twinx()
    right.plot(*zip(*deep, strict=True), "o-", color=plots.style.ACCENT)
    for place, layers in deep:
        right.annotate(f"{layers} layers", (place, layers), (-5, 5), textcoords="offset points", ha="right", fontsize=8)
    right.set_ylabel("layers", color=plots.style.ACCENT)
    right.set_ylim(0, 175)
    return figure


DRAWN: tuple[Callable[[], Any], ...] = (convolution, convolution_matrix, max_pool, activations, imagenet_winners)


def draw(app: Sphinx, config: Any) -> None:
    """Draws what is not there, or is older than this file."""
    PICTURES.mkdir(exist_ok=True)
    for function in DRAWN:
        path = PICTURES / f"{function.__name__}.png"
        if not path.exists() or path.stat().st_mtime < Path(__file__).stat().st_mtime:
            plots.save(function(), path)


def setup(app: Sphinx) -> dict[str, Any]:
    """Draws before pages are read."""
    app.connect("config-inited", draw)
    return {"parallel_read_safe": True}
