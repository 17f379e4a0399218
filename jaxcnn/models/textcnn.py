"""A sentence classifier: Kim 2014, "Convolutional neural networks for sentence classification"."""

from collections.abc import Iterator, Mapping
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry, layers, ops
from jaxcnn.layers import initializers
from jaxcnn.layers.options import OptionArguments
from jaxcnn.models.network import Network
from jaxcnn.ops.arrays import choice

VARIANTS = ("rand", "static", "nonstatic", "multichannel")


class FixedVectors(nnx.Variable):
    """Word vectors that are not trained."""


class TextCNN(Network):
    """Convolutions of several widths over words, then one dense layer.

    Between them is the maximum of each over time.

    Args:
      num_classes: number of classes.
      in_features: number V of words in the vocabulary; token 0 is padding, whose vector stays zero.
      variant: `"rand"` (random vectors, trained), `"static"` (given vectors, fixed), `"nonstatic"` (given vectors,
        trained), `"multichannel"` (a fixed and a trained copy of the given vectors; the outputs of a filter on both are
        added).
      vectors: word vectors `(V, embedding)`, for all variants except `"rand"`.
      embedding: length of a word vector.
      windows: number of words that a filter reads, for each group of filters.
      features: number of filters in each group.
      dropout: share of features dropped before the output.
      max_norm: bound on the L2 norm of the weights of each class, enforced after every training step.
      rngs: random streams, `params` and `dropout`. Vectors start uniform in +-0.25, filters uniform in +-0.01 and
        the dense layer and biases at 0, as in the author's program.
      **given: `rule`, `method`, `dtype`, `param_dtype`, `precision` as in `layers.Options`, or all as `options`.

    Raises:
      ValueError: if an option is unknown, or `vectors` is missing, not allowed or of another shape.

    Source: the paper, and for details that it omits https://github.com/yoonkim/CNN_sentence.
    """

    input_dtype = jnp.int32

    def __init__(
        self,
        num_classes: int = 2,
        in_features: int = 20_000,
        *,
        variant: Literal["rand", "static", "nonstatic", "multichannel"] = "rand",
        vectors: ArrayLike | None = None,
        embedding: int = 300,
        windows: tuple[int, ...] = (3, 4, 5),
        features: int = 100,
        dropout: float = 0.5,
        max_norm: float = 3.0,
        rngs: nnx.Rngs,
        **given: Unpack[OptionArguments],
    ):
        super().__init__(**given)
        choice("variant", variant, VARIANTS)
        windows = geometry.sizes(windows, "windows")
        if (vectors is None) != (variant == "rand"):
            got = "none" if vectors is None else f"an array of shape {np.shape(vectors)}"
            raise ValueError(f"`vectors` must be given unless `variant` is 'rand'; got {got} for {variant!r}.")
        if vectors is not None:
            if np.ndim(vectors) != 2 or np.shape(vectors)[0] != in_features:
                shape = np.shape(vectors)
                raise ValueError(f"`vectors` must be (V, embedding) with V = {in_features} words; got {shape}.")
            start = jnp.asarray(vectors, self.options.param_dtype)
        else:
            shape = (in_features, embedding)
            start = jax.random.uniform(rngs.params(), shape, self.options.param_dtype, -0.25, 0.25)
        self.trained = nnx.data(None if variant == "static" else nnx.Param(start))
        self.fixed = nnx.data(FixedVectors(start) if variant in ("static", "multichannel") else None)
        reach = nnx.initializers.uniform(0.02)

        def small(key, shape, dtype=jnp.float32, out_sharding=None):
            return reach(key, shape, dtype) - jnp.asarray(0.01, dtype)

        self.convs = nnx.List(
            layers.Conv(
                start.shape[1],
                features,
                window,
                padding=window - 1,
                kernel_init=small,
                rngs=rngs,
                options=self.options,
            )
            for window in windows
        )
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = layers.Linear(
            features * len(windows),
            num_classes,
            kernel_init=initializers.constant(0.0),
            rngs=rngs,
            options=self.options,
        )
        self.activation = layers.Activation("relu", rule=self.rule)
        self.max_norm = max_norm
        self.input_shape = (None,)

    @property
    def max_norms(self) -> Mapping[str, float]:
        """The bound on the norm of each class's weights."""
        return {"head/kernel": self.max_norm}

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields every stage's name and activations.

        Args:
          x: `(N, *input_shape)`.

        Yields:
          The name of a stage, and its activations.
        """
        real = (x != 0)[..., None]
        tables = [table for table in (self.trained, self.fixed) if table is not None]
        channels = [jnp.where(real, table[...].astype(self.options.dtype)[x], 0) for table in tables]
        yield "words", channels[0]
        pooled = []
        for conv in self.convs:
            answer = conv(channels[0])
            for channel in channels[1:]:
                answer = answer + conv(channel)
            pooled.append(ops.global_max_pool(self.activation(answer), rule=self.rule))
        yield "phrases", (x := jnp.concatenate(pooled, -1))
        yield "head", self.head(self.dropout(x))
