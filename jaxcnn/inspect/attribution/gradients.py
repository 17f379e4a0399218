"""Attributions by gradients: how a score depends on every pixel.

All functions take scaled inputs of the network, and the classes to explain, by default the predicted ones. Scores are
logits. Maps are signed and have the shape of the images; `by_cell` reduces the channels to one value.

The network is a Flax NNX module, used in evaluation mode; or any function from images in any layout to logits
`(N, classes)`: a Keras model, `jax.vmap` of an Equinox network, `lambda x: linen_network.apply(variables, x)`.
"""

from typing import Literal

import jax
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.by_hand import by_hand
from jaxcnn.inspect.attribution.relu_rules import rectifiers_of, with_rules
from jaxcnn.inspect.functions import Model, Program, name_of
from jaxcnn.inspect.scores import expect_channel_axis, expected, logits_of, score_gradient


def gradient(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Computes the gradient of a class's score by every pixel.

    Args:
      model: a network, or any function from images to logits.
      images: scaled inputs of the network, `(N, *spatial, C)` or in the layout of the function.
      targets: a class, or `(N,)` classes; by default the predicted ones.

    Returns:
      The gradient of each image's target logit, in the shape of the images. It follows the rules of the network, which
      `with_rules` changes.

    Raises:
      TypeError: if the images are not real floating, or `model` is neither a network nor a function.
      ValueError: if a target is not a class, the number of targets is not that of the images, or a function does not
        return logits.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import inspect
      >>> inspect.gradient(lambda images: images.sum((1, 2)) * 2, jnp.ones((3, 8, 8, 5)), targets=4)[0, 0, 0].tolist()
      [0.0, 0.0, 0.0, 0.0, 2.0]
    """
    apart, x, classes = expected(model, images, targets)
    return np.asarray(score_gradient(*apart, x, classes))


def by_cell(maps: ArrayLike, channel_axis: int = -1) -> np.ndarray:
    """Reduces the channels of maps to their largest magnitude.

    Args:
      maps: `(N, *spatial, C)`.
      channel_axis: the channel axis, 1 if channels are first.

    Returns:
      `(N, *spatial)`.
    """
    return np.abs(np.asarray(maps)).max(expect_channel_axis(channel_axis, np.ndim(maps)))


def saliency(
    model: Model, images: ArrayLike, targets: ArrayLike | None = None, *, channel_axis: int = -1
) -> np.ndarray:
    """Computes how strongly a class's score depends on every cell.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as in `gradient`.
      targets: as in `gradient`.
      channel_axis: the channel axis of the images, 1 if channels are first.

    Returns:
      `(N, *spatial)`, the largest magnitude of the gradient among the channels.

    Raises:
      TypeError: as in `gradient`.
      ValueError: as in `gradient`, or if there is no such axis.

    Source: Simonyan, Vedaldi & Zisserman 2014, section 3.1.
    """
    return by_cell(gradient(model, images, targets), channel_axis)


def smooth_grad(
    model: Model,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """Computes the mean gradient over noisy copies of each image.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as in `gradient`.
      targets: as in `gradient`; the predicted classes are those of the images without noise.
      samples: number of copies of each image.
      noise: standard deviation of the normal noise, as a share of the range of each image.
      seed: seed of the noise.

    Returns:
      An array in the shape of the images.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if `samples` is not positive or the noise is negative, and as in `gradient`.

    Source: Smilkov et al. 2017.
    """
    geometry.integer(samples, "samples")
    geometry.integer(seed, "seed", minimum=0)
    if noise < 0:
        raise ValueError(f"`noise` must not be negative; got {noise}.")
    apart, x, classes = expected(model, images, targets)
    clean, random = np.asarray(x), np.random.default_rng(seed)
    spread = noise * np.ptp(clean, tuple(range(1, x.ndim)), keepdims=True)
    total = np.zeros_like(clean)
    for _ in range(samples):
        noisy = clean + (spread * random.standard_normal(x.shape)).astype(x.dtype)
        total += np.asarray(score_gradient(*apart, noisy, classes))
    return total / samples


# The score along the straight line from a baseline b to the image x changes, by the fundamental theorem, by
#
#     S(x) - S(b) = int_0^1 d/dt S(b + t (x - b)) dt = sum_i (x_i - b_i) int_0^1 dS/dx_i (b + t (x - b)) dt;
#
# each term of the sum is one pixel's share. The integral is a mean over midpoints t = (k + 1/2) / steps.


def integrated_gradients(
    model: Model,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    baseline: ArrayLike = 0.0,
    steps: int = 50,
) -> np.ndarray:
    """Distributes the difference of two scores over the pixels.

    They are the scores of image and baseline.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as in `gradient`.
      targets: as in `gradient`.
      baseline: an image without information, in the scale of the network's inputs; it broadcasts to the images. 0 is
        the mean of the training pictures; black is `scaling(zeros)`.
      steps: number of points on the line from the baseline to the image.

    Returns:
      An array in the shape of the images; it sums to the difference of the scores, which `completeness` checks.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if `steps` is not a positive integer, and as in `gradient`.

    Source: Sundararajan, Taly & Yan 2017.
    """
    geometry.integer(steps, "steps")
    apart, x, classes = expected(model, images, targets)
    start, way = _line(x, baseline)
    total = np.zeros_like(way)
    for step in range(steps):
        total += np.asarray(score_gradient(*apart, start + (step + 0.5) / steps * way, classes))
    return way * total / steps


def _line(images: jax.Array, baseline: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The baseline as large as the images, and their distance.

    The distance goes from the baseline to the images.
    """
    end = np.asarray(images)
    start = np.broadcast_to(np.asarray(baseline, end.dtype), end.shape)
    return start, end - start


def completeness(
    model: Model,
    images: ArrayLike,
    maps: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    baseline: ArrayLike = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes each map's sum, and the difference of the scores.

    They are the scores of image and baseline.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as in `gradient`.
      maps: the result of `integrated_gradients`.
      targets: as in `integrated_gradients`.
      baseline: as in `integrated_gradients`.

    Returns:
      Two arrays `(N,)`, which are nearly equal if there were enough steps.
    """
    apart, x, classes = expected(model, images, targets)
    scores = [
        np.take_along_axis(np.asarray(logits_of(*apart, images)), classes[:, None], 1)[:, 0]
        for images in (x, _line(x, baseline)[0])
    ]
    return np.asarray(maps).sum(tuple(range(1, x.ndim))), scores[0] - scores[1]


def guided_backprop(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Computes the gradient with the guided rule of the ReLU.

    The maps show sharp edges and largely ignore the weights (see `randomization_check`): they explain the image more
    than the decision.

    Args:
      model: as in `gradient`.
      images: as in `gradient`.
      targets: as in `gradient`.

    Returns:
      An array in the shape of the images.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if the network has no ReLU; and as in `gradient`.

    Source: Springenberg, Dosovitskiy, Brox & Riedmiller 2015.
    """
    return _sent_back(model, images, targets, "guided")


def deconvnet(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Sends the score of a class back through a deconvnet.

    Kernels are transposed, pooled values go back to the cells of their maxima, and a ReLU rectifies the error that
    comes back, whatever its input was.

    Args:
      model: as in `gradient`.
      images: as in `gradient`.
      targets: as in `gradient`.

    Returns:
      An array in the shape of the images.

    Raises:
      TypeError: as in `gradient`.
      ValueError: if the network has no ReLU; and as in `gradient`.

    Source: Zeiler & Fergus 2014.
    """
    return _sent_back(model, images, targets, "deconvnet")


def _sent_back(
    model: Model, images: ArrayLike, targets: ArrayLike | None, relu: Literal["guided", "deconvnet"]
) -> np.ndarray:
    """The gradient with a rule.

    A module that rectifies without `layers.Activation` is treated as a function.
    """
    foreign = isinstance(model, nnx.Module) and not rectifiers_of(model)
    twin = with_rules(by_hand(model, rule="autodiff") if foreign else model, relu=relu)
    apart, x, classes = expected(twin, images, targets)
    if isinstance(apart[0], Program) and "relu" not in apart[0].replaced:
        raise ValueError(f"`model` must have a ReLU, whose rule this replaces; got {name_of(model)} without one.")
    return np.asarray(score_gradient(*apart, x, classes))
