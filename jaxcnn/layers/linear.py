"""The fully connected layer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from flax.typing import PrecisionLike
from jax import lax
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxcnn import ops
from jaxcnn.layers.conv import BIAS_INIT, KERNEL_INIT
from jaxcnn.layers.options import Option, Options, chosen
from jaxcnn.ops.rule import Rule

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Linear(nnx.Linear):
    """A fully connected layer, `flax.nnx.Linear` with the hand-written gradient.

    It is built without a compilation for every shape.

    Args:
      in_features: input units I.
      out_features: output units O.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; by default that of inputs and parameters together.
      param_dtype: dtype of the parameters.
      precision: as in `jax.lax.dot_general`.
      kernel_init: initializer of the kernel, `(I, O)`; by default LeCun's normal (variance 1 / fan-in).
      bias_init: initializer of the bias; by default zeros.
      dot_general: as in `flax.nnx.Linear`; another than `jax.lax.dot_general` brings its own gradient.
      promote_dtype: as in `flax.nnx.Linear`.
      preferred_element_type: as in `jax.lax.dot_general`.
      rule: as in `ops.linear`.
      options: `rule`, `precision` and dtypes at once, instead of single ones.
      rngs: random streams; `params` is used.
      kernel_metadata: further arguments of the kernel's `nnx.Param`.
      bias_metadata: further arguments of the bias's `nnx.Param`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import layers
      >>> layers.Linear(400, 120, rngs=nnx.Rngs(0))(jnp.ones((8, 400))).shape
      (8, 120)
    """

    rule, dtype, param_dtype, precision = Option(), Option(), Option(), Option()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: nnx.Initializer = KERNEL_INIT,
        bias_init: nnx.Initializer = BIAS_INIT,
        dot_general: Callable[..., jax.Array] = lax.dot_general,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        preferred_element_type: DTypeLike | None = None,
        rule: Rule = "hand",
        options: Options | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = _NOTHING,
        bias_metadata: Mapping[str, Any] = _NOTHING,
    ):
        self.options = chosen(options, rule=rule, dtype=dtype, param_dtype=param_dtype, precision=precision)
        super().__init__(
            in_features,
            out_features,
            use_bias=use_bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dot_general=dot_general,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )

    def __call__(self, inputs: jax.Array, out_sharding: NamedSharding | None = None) -> jax.Array:
        """Multiplies by the kernel and adds the bias.

        Args:
          inputs: `(..., I)`.
          out_sharding: as in `flax.nnx.Linear`.

        Returns:
          `(..., O)`.
        """
        if self.dot_general is not lax.dot_general:
            return super().__call__(inputs, out_sharding)
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        return ops.linear(
            inputs,
            kernel,
            bias,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            out_sharding=out_sharding,
            rule=self.rule,
        )
