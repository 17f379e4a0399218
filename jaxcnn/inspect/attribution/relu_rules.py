"""The same network with other backward rules."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from flax import nnx

from jaxcnn import layers
from jaxcnn.by_hand import by_hand
from jaxcnn.by_hand.transform import ByHand, known_of
from jaxcnn.ops.arrays import choice
from jaxcnn.ops.rectifiers import ReluRule

Model = TypeVar("Model", bound=nnx.Module | Callable[..., Any])


def with_rules(model: Model, *, relu: ReluRule) -> Model:
    """Makes a copy of a network with another ReLU rule.

    The rule is for backward passes; the copy shares all parameters. The copy computes the same outputs. It contains the
    same variables as the network, so it follows further training. The rule is a static part of the copy, so no function
    that was compiled for another rule is reused. With `"guided"` and `"deconvnet"`, max-pools send errors to the cells
    of their maxima.

    Args:
      model: a network that rectifies by `layers.Activation`, or any function of arrays; it stays unchanged.
      relu: `"standard"` (or `"hand"`), `"guided"`, `"deconvnet"` or `"autodiff"`, as in `ops.relu`.

    Returns:
      A network of the same class; for a function, `by_hand` of it with these rules.

    Raises:
      TypeError: if the network is neither a module nor a function.
      ValueError: if the rule is unknown, or a module has no ReLU.

    Source: deconvnet, Zeiler & Fergus 2014; guided backpropagation, Springenberg et al. 2015.
    """
    choice("relu", relu, get_args(ReluRule))
    if not isinstance(model, nnx.Module):
        return _by_hand(model, relu)
    twin: Any = nnx.clone(model, variables=False)
    modules = [module for _, module in nnx.iter_modules(twin)]
    rectifiers = rectifiers_of(twin)
    if not rectifiers:
        raise ValueError(
            f"`model` must rectify by `layers.Activation('relu')`; got {type(model).__name__} without one."
        )
    for module in rectifiers:
        module.rule = relu
    for module in modules if relu in ("guided", "deconvnet") else ():
        if isinstance(module, layers.MaxPool):
            module.rule = "hand"
    return twin


def rectifiers_of(model: nnx.Module) -> list[layers.Activation]:
    """The layers of a module that rectify."""
    modules = [module for _, module in nnx.iter_modules(model)]
    return [module for module in modules if isinstance(module, layers.Activation) and module.name == "relu"]


def _by_hand(function: Any, relu: ReluRule) -> Any:
    """A function whose ReLUs have the rule.

    What else it has by `by_hand` already stays.
    """
    if not callable(function):
        raise TypeError(f"`model` must be a network, or a function of images; got {function!r}.")
    known: ByHand | None = known_of(function)
    rules = {"conv": "autodiff", "max_pool": "autodiff", "sum_pool": "autodiff"} if known is None else known.rules
    switches = {"max_pool": "hand"} if relu in ("guided", "deconvnet") else {}
    return by_hand(function if known is None else known.fun, rules={**rules, **switches, "relu": relu})
