"""The same network with other options: rule, method, dtype, precision, fusion."""

import functools
from typing import Any, TypeVar, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn.layers.activation import Activation
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.layers.pool import MaxPool
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.conv import METHODS
from jaxcnn.ops.norm.batch import METHODS as NORM_METHODS
from jaxcnn.ops.pool.switches import METHODS as POOL_METHODS
from jaxcnn.ops.rule import Rule
from jaxcnn.ops.select import method_named

Model = TypeVar("Model", bound=nnx.Module)

_NAMES = ("rule", "method", "dtype", "precision", "fuse")
_METHODS = {Conv: METHODS, MaxPool: POOL_METHODS, BatchNorm: NORM_METHODS}  # others choose nothing


def with_options(model: Model, **options: Any) -> Model:
    """Makes a copy of a network with other options, which shares all parameters.

    The copy holds the same variables as the network, so it follows further training. An option is a static part of the
    copy, so a function that was compiled for the network is not reused for the copy.

    Args:
      model: a network, or any module of `jaxcnn.layers`; it stays unchanged.
      **options: what to change, in every layer that has the option: `rule` (`"hand"`, or `"autodiff"`, which also
        differentiates in forward mode), `method` (of convolution, max-pooling and batch normalization, each where it
        has such a method), `dtype` (of the computation), `precision` (of matrix products and convolutions), `fuse`
        (whether an activation may be one operation with its neighbor; if False, every module is called).

    Returns:
      A network of the same class.

    Raises:
      TypeError: if `model` is not a module.
      ValueError: if an option or its value is unknown, or no layer has the option.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import models
      >>> model = models.create("lenet5", rngs=nnx.Rngs(0))
      >>> forward = models.with_options(model, rule="autodiff")
      >>> images = jnp.ones((2, 28, 28, 1))
      >>> logits, tangents = jax.jvp(forward, (images,), (images,))
      >>> tangents.shape
      (2, 10)
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"`model` must be a module; got {type(model).__name__}. Functions take rules by `by_hand`.")
    twin = nnx.clone(model, variables=False)
    modules = [module for _, module in nnx.iter_modules(twin)]
    for name, value in options.items():
        value = _checked(name, value)
        having = [module for module in modules if _has(module, name, value)]
        if not having:
            kind = type(model).__name__
            raise ValueError(f"`model` must have a layer that takes `{name}` {value!r}; got {kind} without one.")
        for module in having:
            setattr(module, name, value)
    return twin


def unfused(model: Model) -> Model:
    """Returns a module in which every layer is an operation of its own: itself if it is one, else a copy."""
    fuses = any(module.fuse for _, module in nnx.iter_modules(model) if isinstance(module, Activation))
    return with_options(model, fuse=False) if fuses else model


def _checked(name: str, value: Any) -> Any:
    choice("option", name, _NAMES)
    if name == "rule":
        return choice("rule", value, get_args(Rule))
    if name == "method":
        return method_named(value, tuple(dict.fromkeys(method for methods in _METHODS.values() for method in methods)))
    if name == "dtype":
        if value is not None and not jnp.issubdtype(value, jnp.floating):
            raise ValueError(f"`dtype` must be real floating, or None; got {value!r}.")
        return None if value is None else jnp.dtype(value)
    if name == "precision":
        one = jax.ShapeDtypeStruct((1, 1), jnp.float32)
        jax.eval_shape(functools.partial(jax.lax.dot, precision=value), one, one)  # refuses what lax refuses
    if name == "fuse" and not isinstance(value, bool):
        raise ValueError(f"`fuse` must be True or False; got {value!r}.")
    return value


def _has(module: nnx.Module, name: str, value: Any) -> bool:
    if name == "method":
        return any(isinstance(module, kind) and value in methods for kind, methods in _METHODS.items())
    if name == "fuse":
        return isinstance(module, Activation)
    own = vars(module)  # a property cannot be set
    return name in own and (name != "rule" or isinstance(own[name], str))
