"""One image and one network: what the sections of a page are about."""

import functools
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxcnn import models
from jaxcnn.data import Dataset, Scaling
from jaxcnn.inspect import stages
from jaxcnn.inspect.examples import Examples, some_examples
from jaxcnn.inspect.inner import features_at, map_stages
from jaxcnn.inspect.scores import in_batches, logits_of, probabilities_of, taken_apart
from jaxcnn.models import Summary

_COMPARED = 512


class Compared(NamedTuple):
    """Examples, and what the network computes for them."""

    examples: Examples
    probabilities: np.ndarray  # (N, classes)
    stages: dict[str, np.ndarray]  # of `last_stage` and `last_maps`


class Subject:
    """A network, an image, and what is computed of them once for all sections.

    Args:
      name: of the network.
      model: the network; left as it was.
      picture: `(H, W, C)` uint8, in the size that the network is fed.
      scaling: that of the training.
      classes: names of the classes.
      examples: a data set's examples in that size, where there are any; their classes are found by name.

    Raises:
      ValueError: if the examples have a class that is none of these.
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
        self.name, self.scaling, self.classes = name, scaling, tuple(classes)
        self.examples = None if examples is None else examples.for_classes(classes)
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
    def last_stage(self) -> str | None:
        """The name of the stage below the answer; none for a network that does not name them."""
        below = [name for name in self.activations if name != "head"]
        return below[-1] if below else None

    @property
    def last_maps(self) -> str | None:
        """The name of the last stage with maps over space that is no pooling."""
        maps = map_stages({name: array.shape for name, array in self.activations.items()}, self.inputs.ndim)
        return maps[-1] if maps else None

    def some(self, count: int) -> Examples | None:
        """Up to `count` examples of the image's size, or None where there are none."""
        return some_examples(self.examples, self.picture.shape, count)

    @functools.cached_property
    def compared(self) -> Compared | None:
        """Examples of the image's size and what becomes of them, computed in one pass."""
        some = self.some(_COMPARED)
        if some is None:
            return None
        inputs = self.scaling(some.images)
        if not self.activations:
            answer = partial(logits_of, *taken_apart(self.model))
            return Compared(some, probabilities_of(in_batches(answer, inputs)), {})
        found = features_at(self.model, inputs, filter(None, ["head", self.last_stage, self.last_maps]))
        return Compared(some, probabilities_of(found["head"]), found)

    @property
    def probabilities(self) -> np.ndarray:
        """The softmax of the answer."""
        return np.asarray(jax.nn.softmax(self.logits))

    @property
    def predicted(self) -> int:
        """The likeliest class."""
        return int(self.logits.argmax())
