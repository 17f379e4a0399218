"""What `experiments/lenet5_mnist.py` compares; the rest is in `test_form.py`."""

import jax
import pytest
from flax import nnx

from experiments import lenet5_mnist
from jaxcnn import models


def count(name, arguments):
    model = models.create(name, rngs=nnx.Rngs(0), **arguments)
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_all_networks_have_about_as_many_parameters():
    counts = {row: count(*network) for row, network in lenet5_mnist.NETWORKS.items()}
    assert counts[lenet5_mnist.OLD] == counts[lenet5_mnist.NEW] == 61_706
    assert counts[lenet5_mnist.DENSE] == pytest.approx(61_706, rel=0.01)
