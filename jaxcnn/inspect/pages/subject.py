"""One image and one network, with the sections' common results."""

import functools
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxcnn import models
from jaxcnn.data import Dataset, Scaling
from jaxcnn.inspect import stages
from jaxcnn.inspect.pages.examples import Examples, some_examples
from jaxcnn.inspect.scores import in_batches, logits_of, probabilities_of, taken_apart
from jaxcnn.inspect.stage_gradients import features_at, map_stages
from jaxcnn.models import Summary

_COMPARED = 512


class Compared(NamedTuple):
    """Examples, and the network's results for them."""

    examples: Examples
    probabilities: np.ndarray  # (N, classes)
    stages: dict[str, np.ndarray]  # of `last_stage` and `last_maps`


class Subject:
    """A network and an image, and their results.

    They are computed once for all sections.

    Args:
      name: name of the network.
      model: the network; it stays unchanged.
      picture: `(H, W, C)` uint8, in the size of the network's input.
      scaling: that of the training.
      classes: names of the classes.
      examples: examples of a data set in that size, or None; their classes are matched by name.

    Raises:
      ValueError: if the examples have a class that is not in `classes`.
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
            activations = stages.activations(self.model, self.inputs)
            return activations["head"][0], activations
        return np.asarray(self.model(self.inputs), np.float32)[0], {}

    @property
    def logits(self) -> np.ndarray:
        """The logits, `(classes,)`."""
        return self._found[0]

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """The activations of each stage, `(1, ...)`.

        Empty for a network that does not name its stages.
        """
        return self._found[1]

    @property
    def last_stage(self) -> str | None:
        """The name of the stage before the logits.

        None for a network that does not name its stages.
        """
        below = [name for name in self.activations if name != "head"]
        return below[-1] if below else None

    @property
    def last_maps(self) -> str | None:
        """The last stage with spatial maps that is not a pool."""
        maps = map_stages({name: array.shape for name, array in self.activations.items()}, self.inputs.ndim)
        return maps[-1] if maps else None

    def some(self, count: int) -> Examples | None:
        """Selects up to `count` examples of the image's size.

        None if there are none.
        """
        return some_examples(self.examples, self.picture.shape, count)

    @functools.cached_property
    def compared(self) -> Compared | None:
        """Examples of the image's size, with the network's results.

        They are computed in one pass.
        """
        some = self.some(_COMPARED)
        if some is None:
            return None
        inputs = self.scaling(some.images)
        if not self.activations:
            answer = partial(logits_of, *taken_apart(self.model))
            return Compared(some, probabilities_of(in_batches(answer, inputs)), {})
        features = features_at(self.model, inputs, filter(None, ["head", self.last_stage, self.last_maps]))
        return Compared(some, probabilities_of(features["head"]), features)

    @property
    def probabilities(self) -> np.ndarray:
        """The softmax of the logits."""
        return np.asarray(jax.nn.softmax(self.logits))

    @property
    def predicted(self) -> int:
        """The likeliest class."""
        return int(self.logits.argmax())
