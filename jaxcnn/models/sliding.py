"""The windows of a network that slides over a picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn import geometry


class Sliding(NamedTuple):
    """How a fully convolutional network slides over a picture.

    There is one entry per spatial axis.

    Args:
      window: size of the pictures that the original network classifies.
      strides: cells of the picture from one window to the next.
      exact: whether each value is the original's logit for its window. It is not if convolutions or pools inside the
        network are padded: the original then reads zeros where the window ends.
      field: the receptive field of one value.
    """

    window: geometry.Shape
    strides: geometry.Shape
    exact: bool
    field: geometry.ReceptiveField

    def boxes(self, shape: Sequence[int]) -> np.ndarray:
        """Computes the boxes of the windows in a picture.

        Args:
          shape: rows and columns of the map of logits.

        Returns:
          `(rows, columns, 4)`, `(x1, y1, x2, y2)` of each window, as in `ops.box_iou`.

        Raises:
          ValueError: if the network does not read pictures.

        Example:
          >>> from flax import nnx
          >>> from jaxcnn import models
          >>> lenet = models.create("lenet5", border=0, rngs=nnx.Rngs(0))
          >>> models.fully_convolutional(lenet).sliding.boxes((2, 2))[1, 0].tolist()
          [0, 4, 32, 36]
        """
        if len(self.window) != 2 or len(shape) != 2:
            raise ValueError(f"`shape` must be rows and columns of a map of pictures; got {tuple(shape)}.")
        rows, columns = (np.arange(count) * step for count, step in zip(shape, self.strides, strict=True))
        top, left = np.meshgrid(rows, columns, indexing="ij")
        return np.stack([left, top, left + self.window[1], top + self.window[0]], -1)

    def check(self, shape: Sequence[int], network: str) -> None:
        """Checks that the windows fit into images.

        Args:
          shape: shape of the images, `(N, *spatial, C)`.
          network: name of the network, for the message.

        Raises:
          ValueError: if they do not.
        """
        known = [(n, k) for n, k in zip(shape[1:], self.window, strict=False) if isinstance(n, int)]  # others: export
        if any(n < k for n, k in known):
            raise ValueError(f"the windows of {network}, {self.window}, must fit into the images; got {tuple(shape)}.")
