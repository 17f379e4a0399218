"""The networks by name."""

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx

from jaxcnn.models.lenet import LeNet5
from jaxcnn.models.mlp import MLP

MODELS: dict[str, Callable[..., nnx.Module]] = {
    "lenet5": LeNet5,
    "mlp": MLP,
}


def create(name: str, *, num_classes: int = 10, in_features: int = 1, rngs: nnx.Rngs, **options: Any) -> nnx.Module:
    """Builds a network by its name.

    Args:
      name: a key of `MODELS`.
      num_classes: number of classes.
      in_features: channels of the input.
      rngs: random streams; `params` initialises the parameters.
      **options: further arguments of the constructor.

    Returns:
      The network, in training mode.

    Raises:
      ValueError: if the name or an option is unknown.
    """
    if name not in MODELS:
        raise ValueError(f"`name` must be one of {', '.join(map(repr, sorted(MODELS)))}; got {name!r}.")
    known = sorted(
        set(inspect.signature(MODELS[name].__init__).parameters) - {"self", "num_classes", "in_features", "rngs"}
    )
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"`options` of {name} are {', '.join(known)}; got {', '.join(unknown)}.")
    return MODELS[name](num_classes=num_classes, in_features=in_features, rngs=rngs, **options)
