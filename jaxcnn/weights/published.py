"""The table of published weights.

It tells which weights there are for our networks, and how well they do.
"""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from jaxcnn.data import Preprocessing, imagenet_classes


class Published(NamedTuple):
    """Published weights of one of our networks.

    Args:
      network: its name in `models.MODELS`.
      data: the data set of the training: `"imagenet2012"`, `"cifar10"` or `"cifar100"`.
      license: license of the weights, as the hub writes it.
      preprocessing: how pictures become inputs.
      url: address of the file; empty for a repository of the hub.
      top1: published accuracy in percent, if it is known.
      top5: the same for the five likeliest classes.
      measured: `size` and `resize` of the preprocessing with which these were measured, where it differs.
    """

    network: str
    data: str
    license: str
    preprocessing: Preprocessing
    url: str = ""
    top1: float | None = None
    top5: float | None = None
    measured: Mapping[str, Any] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; those of ImageNet are WordNet ids."""
        return imagenet_classes().ids if self.data == "imagenet2012" else tuple(_TABLE["classes"][self.data])


_TABLE = json.loads(resources.files("jaxcnn.weights").joinpath("published.json").read_text("utf-8"))
PRETRAINED: dict[str, Published] = {
    row["name"]: Published(**{k: v for k, v in row.items() if k != "name"})._replace(
        preprocessing=Preprocessing.of(row["preprocessing"])
    )
    for row in _TABLE["weights"]
}


def default_of(network: str) -> str | None:
    """Returns the name of a network's default weights.

    They are the first in the table; without any, it returns None.
    """
    return next((name for name, weights in PRETRAINED.items() if weights.network == network), None)
