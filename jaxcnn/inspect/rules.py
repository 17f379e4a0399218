"""The same network with other backward rules."""

from typing import TypeVar, get_args

from flax import nnx

from jaxcnn import layers
from jaxcnn.ops.activations import ReluRule
from jaxcnn.ops.arrays import choice

Model = TypeVar("Model", bound=nnx.Module)


def with_rules(model: Model, *, relu: ReluRule) -> Model:
    """A twin that shares every parameter, its ReLUs with another rule.

    The forward is the same, and so is each parameter: the twin holds the very variables of the network. The rule is
    static in the twin's graph, which every compiled function is looked up by, so none that was compiled for another
    rule is used again. Max-pools of a twin for `"guided"` or `"deconvnet"` send errors where their switches point.

    Args:
      model: a network that rectifies by `layers.Activation`; it is left as it is.
      relu: `"standard"` (or `"hand"`), `"guided"`, `"deconvnet"`, `"autodiff"`, as in `ops.relu`.

    Returns:
      The twin, a network of the same class.

    Raises:
      ValueError: if the rule is unknown, or the network has no ReLU.

    Source: deconvnet, Zeiler & Fergus 2014; guided backpropagation, Springenberg et al. 2015.
    """
    choice("relu", relu, get_args(ReluRule))
    twin = nnx.clone(model, variables=False)
    modules = [module for _, module in nnx.iter_modules(twin)]
    rectifiers = [module for module in modules if isinstance(module, layers.Activation) and module.name == "relu"]
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
