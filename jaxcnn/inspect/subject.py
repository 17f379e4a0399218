"""One image and one network: what the sections of a page are about."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxcnn import models
from jaxcnn.data import Dataset, Scaling
from jaxcnn.inspect import stages
from jaxcnn.models import Summary


class Subject:
    """A network, an image, and what is computed of them once for all sections.

    Args:
      name: of the network.
      model: the network; left as it was.
      picture: `(H, W, C)` uint8, in the size that the network is fed.
      scaling: that of the training.
      classes: names of the classes.
      examples: a data set's examples in that size, where there are any.
    """

    def __init__(
        self,
        name: str,
        model: nnx.Module,
        picture: np.ndarray,
        scaling: Scaling,
        classes: tuple[str, ...],
        examples: Dataset | None = None,
    ):
        self.name, self.scaling, self.classes, self.examples = name, scaling, classes, examples
        self.model: Any = stages.evaluating(model)
        self.picture = picture
        self.inputs = scaling(picture[None])  # `(1, H, W, C)`

    @functools.cached_property
    def summary(self) -> Summary:
        """The network's layers."""
        return models.summary(self.model, self.inputs.shape)

    @functools.cached_property
    def _found(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if stages.names_stages(self.model):
            found = stages.activations(self.model, self.inputs)
            return found["head"][0], found
        return np.asarray(self.model(self.inputs), np.float32)[0], {}

    @property
    def logits(self) -> np.ndarray:
        """The network's answer, `(classes,)`."""
        return self._found[0]

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """What each stage computes, `(1, ...)`; none for a network that does not name them."""
        return self._found[1]

    @property
    def probabilities(self) -> np.ndarray:
        """The softmax of the answer."""
        return np.asarray(jax.nn.softmax(self.logits))

    @property
    def predicted(self) -> int:
        """The likeliest class."""
        return int(self.logits.argmax())
