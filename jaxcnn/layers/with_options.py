"""The same network with other options."""

import dataclasses
from typing import Any, TypeVar, cast

from flax import nnx

from jaxcnn.layers.activation import Activation
from jaxcnn.layers.options import NAMES, Option, Options, checked_option
from jaxcnn.ops.arrays import choice

Model = TypeVar("Model", bound=nnx.Module)

_NAMES = ("rule", "method", "dtype", "precision", "fuse")


def with_options(model: Model, **options: Any) -> Model:
    """Makes a copy of a network with other options.

    The copy shares all parameters: it holds the same variables as the network, so it follows further training. An
    option is a static part of the copy, so a function that was compiled for the network is not reused for the copy.

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
        choice("option", name, _NAMES)
        if name == "fuse" and not isinstance(value, bool):
            raise ValueError(f"`fuse` must be True or False; got {value!r}.")
        value = value if name == "fuse" else checked_option(name, value)
        if not any([_set(module, name, value) for module in modules]):
            kind = type(model).__name__
            raise ValueError(f"`model` must have a layer that takes `{name}` {value!r}; got {kind} without one.")
    return twin


def unfused(model: Model) -> Model:
    """Returns a module in which every layer is its own operation.

    It is the module itself if it is one, else a copy.
    """
    fuses = any(module.fuse for _, module in nnx.iter_modules(model) if isinstance(module, Activation))
    return with_options(model, fuse=False) if fuses else model


def _set(module: nnx.Module, name: str, value: Any) -> bool:
    """Sets an option of a module, if it has the option.

    Returns:
      Whether it has.
    """
    declared = {key: kind for key in NAMES if isinstance(kind := getattr(type(module), key, None), Option)}
    own = vars(module)  # a property cannot be set
    if name in declared:
        has = declared[name].takes(value)
    elif name == "fuse":
        has = isinstance(module, Activation)
    else:
        has = name in own and name != "method" and (name != "rule" or isinstance(own[name], str))
    if has:
        setattr(module, name, value)
    elif name in NAMES and name not in declared and isinstance(own.get("options"), Options):
        cast(Any, module).options = dataclasses.replace(own["options"], **{name: value})
        has = not declared  # who declares none reads all
    return has
