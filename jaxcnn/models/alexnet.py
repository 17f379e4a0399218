"""AlexNet (Krizhevsky, Sutskever & Hinton 2012).

The paper is "ImageNet classification with deep convolutional neural networks".
"""

import functools
from collections.abc import Iterator
from typing import Unpack

import jax
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.layers import initializers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network

_NORMAL = initializers.normal(0.01)
_POOLED = (1, 2, 5)  # convolutions after which there is a pool


class AlexNet(Network):
    """AlexNet: five convolutions, overlapping pools, three dense layers.

    It has local response normalization, and dropout between the dense layers.

    ::

        224x224x3 -> conv1 55x55x96 -> 27x27 -> conv2 27x27x256 -> 13x13 -> conv3 384 -> conv4 384 -> conv5 256
                  -> 6x6x256 -> 4096 -> 4096 -> classes

    With `groups=2` the network has the two towers of the paper, which computed each on its own GPU: conv2, conv4 and
    conv5 read only the maps of their own tower (60,965,224 parameters). With `groups=1` they read all maps
    (62,378,344 parameters). The image gets a border of 1 cell before and 2 cells after, because the arithmetic of the
    paper needs 227 cells, not 224.

    The maps hold 290,400, 186,624, 64,896, 64,896 and 43,264 values. The paper, section 3.5, says the same but for the
    first, 253,440; its own figure 2 draws 55x55x48 for each tower, which is 290,400 for both. (253,440 is 55x48x96, so
    one side may have been confused with the 48 maps.)

    `alexnet_torchvision` is the network of Krizhevsky 2014, "One weird trick for parallelizing convolutional neural
    networks", as in torchvision (61,100,840 parameters): one tower, other widths, a border of 2 cells on each side, no
    normalization.

    Args:
      num_classes: number of classes.
      in_features: channels of the images.
      image_size: height and width of the images, at least 64.
      groups: number of towers, 2 or 1.
      widths: maps of the five convolutions.
      hidden: widths of the two dense layers.
      local_response: whether local response normalization follows conv1 and conv2.
      border: cells added around the image, before and after.
      grid: size to which the last maps are averaged, so that images may have any size; None keeps their size.
      dropout: share of units dropped before each hidden dense layer.
      rngs: random streams, `params` and `dropout`. Kernels start normal with standard deviation 0.01; biases of conv2,
        conv4, conv5 and of the hidden dense layers start at 1, others at 0, as in section 5 of the paper.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if `groups` does not divide the maps, or the image is too small for a window.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_features: int = 3,
        *,
        image_size: tuple[int, int] = (224, 224),
        groups: int = 2,
        widths: tuple[int, ...] = (96, 256, 384, 384, 256),
        hidden: tuple[int, int] = (4096, 4096),
        local_response: bool = True,
        border: tuple[int, int] = (1, 2),
        grid: tuple[int, int] | None = None,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        size = geometry.per_axis(image_size, 2, "image_size", minimum=64)
        self.grid = None if grid is None else geometry.per_axis(grid, 2, "grid")
        self.input_shape = (*(size if self.grid is None else (None, None)), in_features)
        low, high = geometry.per_axis(border, 2, "border", minimum=0)
        conv = functools.partial(layers.Conv, kernel_init=_NORMAL, rngs=rngs, options=self.options)
        linear = functools.partial(layers.Linear, kernel_init=_NORMAL, rngs=rngs, options=self.options)
        widths = geometry.per_axis(widths, 5, "widths")
        #         kernel, stride, padding, groups, bias
        plan = (
            (11, 4, ((low, high), (low, high)), 1, 0.0),
            (5, 1, 2, groups, 1.0),
            (3, 1, 1, 1, 0.0),
            (3, 1, 1, groups, 1.0),
            (3, 1, 1, groups, 1.0),
        )
        self.convs = nnx.List(
            conv(i, o, (k, k), s, padding=p, feature_group_count=g, bias_init=initializers.constant(b))
            for i, o, (k, s, p, g, b) in zip((in_features, *widths[:-1]), widths, plan, strict=True)
        )
        self.norm = nnx.data(layers.LocalResponseNorm(options=self.options) if local_response else None)
        self.pool = layers.MaxPool(3, 2, options=self.options)
        for number, (k, s, p, *_) in enumerate(plan, start=1):
            size = geometry.output_shape(size, (k, k), strides=s, padding=p)
            if number in _POOLED:
                size = geometry.output_shape(size, (3, 3), strides=2)
        self.last_shape = size = self.grid or size
        ones = initializers.constant(1.0)
        self.dense1 = linear(size[0] * size[1] * widths[-1], hidden[0], bias_init=ones)
        self.dense2 = linear(hidden[0], hidden[1], bias_init=ones)
        self.head = linear(hidden[1], num_classes)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.activation = layers.Activation("relu", rule=self.rule)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        for number, conv in enumerate(self.convs, start=1):
            norm = self.norm if number <= 2 else None
            if number in _POOLED and norm is None:
                maps, x = layers.activate_and_pool(conv(x), self.activation, self.pool)
            else:
                maps = self.activation(conv(x))
                maps = maps if norm is None else norm(maps)
                x = self.pool(maps) if number in _POOLED else maps
            yield f"conv{number}", maps
            if number in _POOLED:
                yield f"pool{number}", x
        if self.grid is not None:
            yield "grid", (x := self.average_to_grid(x, self.grid))
        x = self.flatten_maps(x)
        yield "dense1", (x := self.activation(self.dense1(self.dropout(x))))
        yield "dense2", (x := self.activation(self.dense2(self.dropout(x))))
        yield "head", self.head(x)
