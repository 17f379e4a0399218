"""Why it decides: what the score of a class owes to every pixel.

All of these take the images as the network is fed with them, scaled, and classes to explain, by default the predicted
ones; scores are logits. Maps are signed and as large as the images; `by_cell` makes one value of the channels.

The network is a Flax NNX module, in evaluation mode, or any function that takes images of any layout and gives logits,
`(N, classes)`: a Keras model, `jax.vmap` of an Equinox network, `lambda x: linen_network.apply(variables, x)`.
"""

from typing import Literal

import jax
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry
from jaxcnn.by_hand import by_hand
from jaxcnn.inspect.functions import Model, Program, name_of
from jaxcnn.inspect.rules import rectifiers_of, with_rules
from jaxcnn.inspect.scores import expect_channel_axis, expected, logits_of, score_gradient


def gradient(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """How the score of a class grows with every pixel.

    Args:
      model: a network, or any function of images that gives logits.
      images: `(N, *spatial, C)`, or as the function takes them, scaled as the network is fed.
      targets: a class, or `(N,)` classes; by default the predicted ones.

    Returns:
      As large as the images, the gradient of each one's target logit; by the network's own rules (`with_rules`).

    Raises:
      TypeError: if images are not real floating, or the network is no function.
      ValueError: if a target is no class, there are not as many as images, or a function does not give logits.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxcnn import inspect
      >>> inspect.gradient(lambda images: images.sum((1, 2)) * 2, jnp.ones((3, 8, 8, 5)), targets=4)[0, 0, 0].tolist()
      [0.0, 0.0, 0.0, 0.0, 2.0]
    """
    apart, x, classes = expected(model, images, targets)
    return np.asarray(score_gradient(*apart, x, classes))


def by_cell(maps: ArrayLike, channel_axis: int = -1) -> np.ndarray:
    """The largest magnitude among the channels of every cell, `(N, *spatial)`."""
    return np.abs(np.asarray(maps)).max(expect_channel_axis(channel_axis, np.ndim(maps)))


def saliency(
    model: Model, images: ArrayLike, targets: ArrayLike | None = None, *, channel_axis: int = -1
) -> np.ndarray:
    """How much the score depends on every cell.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as there.
      targets: as there.
      channel_axis: the images' axis of channels, 1 if channels are first.

    Returns:
      `(N, *spatial)`, the largest magnitude of the gradient among the channels.

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
    """The mean gradient over noisy copies of each image.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as there.
      targets: as in `gradient`; predicted classes are those of the images without noise.
      samples: copies of each image.
      noise: standard deviation of the normal noise, as a share of each image's range.
      seed: of the noise.

    Returns:
      As large as the images.

    Raises:
      ValueError: if there is no sample or the noise is negative, and as in `gradient`.

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
    """Shares of the pixels in the score's difference from a baseline.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as there.
      targets: as in `gradient`.
      baseline: what counts as absence, in the network's scale; it broadcasts against the images. 0 is the mean of the
        training pictures; black is `scaling(zeros)`.
      steps: points on the line from the baseline to the image.

    Returns:
      As large as the images; it sums to the difference of the scores, as `completeness` tells.

    Raises:
      ValueError: if `steps` is no positive integer, and as in `gradient`.

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
    """The baseline as large as the images, and what leads from it to them."""
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
    """The sum of each image's map, and the difference of scores.

    Args:
      model: a network, or any function of images, as in `gradient`.
      images: as there.
      maps: as large, of `integrated_gradients`.
      targets: as there.
      baseline: as there.

    Returns:
      Two arrays `(N,)`, nearly the same where the steps were many enough.
    """
    apart, x, classes = expected(model, images, targets)
    scores = [
        np.take_along_axis(np.asarray(logits_of(*apart, images)), classes[:, None], 1)[:, 0]
        for images in (x, _line(x, baseline)[0])
    ]
    return np.asarray(maps).sum(tuple(range(1, x.ndim))), scores[0] - scores[1]


def guided_backprop(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """The gradient under the guided rule; arguments as in `gradient`.

    It draws sharp edges and largely ignores the weights (`randomization_check`): a picture of the image more than of
    the decision.

    Raises:
      ValueError: if the network has no ReLU; and as in `gradient`.

    Source: Springenberg, Dosovitskiy, Brox & Riedmiller 2015.
    """
    return _sent_back(model, images, targets, "guided")


def deconvnet(model: Model, images: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """The class's score sent back through a deconvnet; arguments as in `gradient`.

    Kernels are transposed, maxima go back to where their switches point, and what comes back is rectified; errors pass
    whatever the ReLU's input was.

    Raises:
      ValueError: if the network has no ReLU; and as in `gradient`.

    Source: Zeiler & Fergus 2014.
    """
    return _sent_back(model, images, targets, "deconvnet")


def _sent_back(
    model: Model, images: ArrayLike, targets: ArrayLike | None, relu: Literal["guided", "deconvnet"]
) -> np.ndarray:
    """The gradient under a rule; a module that rectifies by functions of its own is a function like any other."""
    foreign = isinstance(model, nnx.Module) and not rectifiers_of(model)
    twin = with_rules(by_hand(model, rule="autodiff") if foreign else model, relu=relu)
    apart, x, classes = expected(twin, images, targets)
    if isinstance(apart[0], Program) and "relu" not in apart[0].replaced:
        raise ValueError(f"`model` must have a ReLU, whose rule is another here; got {name_of(model)} without one.")
    return np.asarray(score_gradient(*apart, x, classes))
