"""The lecture's arithmetic, by hand, against `experiments/parameter_counts.py`."""

import pytest
from flax import nnx

from experiments import parameter_counts
from jaxcnn import inspect, layers, models


def test_the_lecture_s_layer_has_nine_billion_weights():
    counted = parameter_counts.lecture_layer()
    assert (counted["inputs"], counted["units"]) == (2000 * 3000 * 3, 500)
    assert counted["weights"] == 9_000_000_000


@pytest.mark.parametrize(
    ("name", "dense", "local", "shared"),
    [
        (parameter_counts.NINE, 30_000 * 300_000 + 300_000, 300_000 * (27 + 1), 30 * (27 + 1)),
        (parameter_counts.EDGE, 320 * 280 * 319 * 280, 319 * 280 * 2, 2),
    ],
)
def test_counts_of_one_layer(name, dense, local, shared):
    shape, maps, window, padding, bias = parameter_counts.ONE_LAYER[name]
    layer = layers.Conv(shape[-1], maps, window, padding=padding, use_bias=bias, rngs=nnx.Rngs(0))
    (counts,) = inspect.shared_counts(models.summary(layer, (1, *shape)))
    assert (counts.dense, counts.local, counts.convolution) == (dense, local, shared)
