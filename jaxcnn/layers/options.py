"""What a network's layers have in common: rule, method, dtypes, precision."""

import dataclasses
import functools
from typing import Any, TypedDict, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jaxcnn.layers.static import frozen
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.choices import method_named
from jaxcnn.ops.conv import METHODS, Method
from jaxcnn.ops.rule import Rule


@dataclasses.dataclass(frozen=True)
class Options:
    """How layers compute.

    A network passes one such object to all its layers. Every layer reads what it needs, and takes the same as single
    arguments: `layers.Conv(..., dtype=jnp.bfloat16)` is `layers.Conv(..., options=Options(dtype=jnp.bfloat16))`.

    Args:
      rule: `"hand"` for the hand-written gradients, `"autodiff"` for JAX's own, which also differentiates in forward
        mode.
      method: as in `ops.conv`; max-pooling and batch normalization take it where they have it, else `"auto"`.
      dtype: dtype of the computation; by default that of the input, or of input and parameters; in a network, that of
        the parameters.
      param_dtype: dtype of the parameters.
      precision: of convolutions and matrix products, as in `jax.lax.dot_general`.

    Raises:
      ValueError: if a value is unknown, or a dtype is not real floating.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import layers
      >>> options, rngs = layers.Options(dtype=jnp.bfloat16), nnx.Rngs(0)
      >>> conv = layers.Conv(3, 16, (3, 3), rngs=rngs, options=options)
      >>> head = layers.Linear(16, 10, rngs=rngs, options=options)
      >>> head(conv(jnp.ones((1, 8, 8, 3))).mean((1, 2))).dtype
      dtype(bfloat16)
    """

    rule: Rule = "hand"
    method: Method = "auto"
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    precision: lax.PrecisionLike = None

    def __post_init__(self) -> None:
        for name in NAMES:
            object.__setattr__(self, name, checked_option(name, getattr(self, name)))  # as the class is frozen


NAMES = tuple(field.name for field in dataclasses.fields(Options))


class OptionArguments(TypedDict, total=False):
    """The options as arguments, one by one or all as `options`.

    It is the type of `**given`; the values are those of `Options`.
    """

    options: Options | None
    rule: Rule
    method: Method
    dtype: DTypeLike | None
    param_dtype: DTypeLike
    precision: lax.PrecisionLike


class Option:
    """An attribute of a layer that is one of its `options`.

    Args:
      methods: for `method`, those of the layer's operation; for another, the layer chooses by itself.
    """

    def __init__(self, methods: tuple[str, ...] = ()):
        self._methods = methods

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        if layer is None:
            return self
        value = getattr(layer.options, self._name)
        return value if self.takes(value) else "auto"

    def __set__(self, layer: Any, value: Any) -> None:
        layer.options = dataclasses.replace(layer.options, **{self._name: value})

    def takes(self, value: Any) -> bool:
        """Whether the layer has this value."""
        return not self._methods or value in self._methods


def chosen(options: Options | None = None, **single: Any) -> Options:
    """Returns `options`, or those of single arguments.

    Raises:
      TypeError: if an argument is no option.
      ValueError: if both are given, or `options` is no `Options`.
    """
    strange = next((name for name in single if name not in NAMES), None)
    if strange is not None:
        raise TypeError(f"An argument must be one of the layer's own or of {', '.join(NAMES)}; got `{strange}`.")
    made = Options(**single)
    if options is None:
        return made
    if not isinstance(options, Options):
        raise ValueError(f"`options` must be a `layers.Options`; got {options!r}.")
    if made != Options():
        raise ValueError(f"`options` must be given without {' and '.join(single)}; got both.")
    return options


def checked_option(name: str, value: Any) -> Any:
    """Returns an option's value in the form that is compared.

    Raises:
      ValueError: if the option does not have this value.
    """
    if name == "rule":
        return choice("rule", value, get_args(Rule))
    if name == "method":
        return method_named(value, METHODS)
    if name == "precision":
        if value is not None:
            one = jax.ShapeDtypeStruct((1, 1), jnp.float32)
            jax.eval_shape(functools.partial(lax.dot, precision=value), one, one)  # refuses what lax refuses
        return frozen(value)
    if name == "dtype" and value is None:
        return None
    try:
        dtype = None if value is None else jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`{name}` must be real floating{', or None' if name == 'dtype' else ''}; got {value!r}.")
    return dtype
