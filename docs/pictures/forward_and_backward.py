"""The README's picture: a digit on its way through LeNet-5, and below it the error on its way back.

`python docs/pictures/forward_and_backward.py` trains the network for three passes over the digits of scikit-learn, and
draws beside this file the values of every stage and the gradient of the loss by these values. Every gradient comes
from a hand-written rule.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.colors import LinearSegmentedColormap

from jaxcnn import data, models, ops, training
from jaxcnn.inspect.plots import saving, style

PATH = Path(__file__).with_suffix(".png")
ERROR = LinearSegmentedColormap.from_list("error", ["#07265c", "#ffffff", "#b3541e"])
STAGES = {  # what a stage is, and the rows and columns of its maps
    "image": ("image\n28 x 28", 1, 1),
    "conv1": ("convolution, ReLU\n6 maps of 28 x 28", 2, 3),
    "pool1": ("max-pool\n6 maps of 14 x 14", 2, 3),
    "conv2": ("convolution, ReLU\n16 maps of 10 x 10", 4, 4),
    "pool2": ("max-pool\n16 maps of 5 x 5", 4, 4),
}


def forward(model: models.LeNet5, image: jax.Array, added: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The values of every stage, each with what is added to it."""
    values = {"image": image + added["image"]}
    values["conv1"] = ops.relu(model.conv1(values["image"])) + added["conv1"]
    values["pool1"] = ops.max_pool(values["conv1"], (2, 2)) + added["pool1"]
    values["conv2"] = ops.relu(model.conv2(values["pool1"])) + added["conv2"]
    values["pool2"] = ops.max_pool(values["conv2"], (2, 2)) + added["pool2"]
    hidden = ops.relu(model.dense2(ops.relu(model.dense1(values["pool2"].reshape(1, -1)))))
    return values | {"head": model.head(hidden)}


def backward(model: models.LeNet5, image: jax.Array, label: jax.Array) -> tuple[dict, dict]:
    """Values and gradients: an error at a stage is the gradient by what is added there."""
    zeros = {name: jnp.zeros((1, *shape)) for name, shape in shapes(model, image).items()}

    def loss(added: Mapping[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        values = forward(model, image, added)
        return ops.softmax_cross_entropy(values["head"], label).mean(), values

    errors, values = jax.grad(loss, has_aux=True)(zeros)
    return values, errors


def shapes(model: models.LeNet5, image: jax.Array) -> dict[str, tuple[int, ...]]:
    """Of one example's values, by stage."""
    _, captured = model(image, capture=True)
    return {name: (captured | {"image": image})[name].shape[1:] for name in STAGES}


def mosaic(maps: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    """Maps `(H, W, C)` side by side, NaN between them."""
    height, width, _ = maps.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for place in range(maps.shape[-1]):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = maps[..., place]
    return sheet


def draw(values: Mapping[str, np.ndarray], errors: Mapping[str, np.ndarray]) -> style.Figure:
    """Two rows: values above, errors below."""
    widths = [columns / rows for _, rows, columns in STAGES.values()]
    figure = style.canvas(11, 4.1)
    grid = figure.subplots(2, len(STAGES), width_ratios=widths)
    for (name, (text, rows, columns)), above, below in zip(STAGES.items(), *grid, strict=True):
        gap = max(1, values[name].shape[1] // 12)
        for axes, arrays, cmap in ((above, values, "Greys_r"), (below, errors, ERROR)):
            sheet = mosaic(np.asarray(arrays[name][0]), rows, columns, gap)
            top = style.reach([sheet])
            style.show(axes, sheet, levels=(0 if axes is above else -top, top), cmap=cmap)
            axes.set_facecolor(style.PAPER if axes is above else "#e4e6ea")  # what lies between the maps
            for spine in axes.spines.values():
                spine.set_visible(name == "image")
        above.set_title(text, **style.TEXT | {"fontsize": 10})
    grid[0, 0].set_ylabel("values, forward →", **style.TEXT | {"fontsize": 11})
    grid[1, 0].set_ylabel("← errors, by hand", **style.TEXT | {"fontsize": 11, "color": style.ACCENT})
    return figure


def main() -> None:
    """Trains, chooses the test digit with the largest loss, draws it."""
    train, held_out, test = (data.load("digits", split) for split in ("train", "validation", "test"))
    model = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
    with tempfile.TemporaryDirectory() as folder:
        scaling = training.fit(model, train, held_out, training.TrainConfig(epochs=3), folder=folder).scaling
    images = jnp.asarray(scaling(np.asarray(test.images)))
    losses = ops.softmax_cross_entropy(model(images), jnp.asarray(test.labels))
    hardest = int(jnp.argmax(losses))
    label = jnp.asarray(test.labels[hardest : hardest + 1])
    values, errors = backward(model, images[hardest : hardest + 1], label)
    values["image"] = values["image"] - values["image"].min()  # the background is black
    saving.save(draw(values, errors), PATH)


if __name__ == "__main__":
    main()
