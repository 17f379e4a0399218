"""How `experiments/lecun1989.py` trains; the rest is in `test_form.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import lecun1989


@pytest.mark.parametrize("way", lecun1989.WAYS, ids=lambda way: way.name)
def test_every_way_trains_the_same_parameters(way):
    params = nnx.state(lecun1989.network(way, 0), nnx.Param)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 9_760


def test_the_rate_falls_to_a_third_over_the_passes():
    optimizer = lecun1989.optimizer_of(lecun1989.WAYS[2], passes=3, count=2)
    params = jnp.zeros(1)
    state, rates = optimizer.init(params), []
    for _ in range(6):  # of a constant gradient every step of Adam is the rate
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(jnp.ones(1), state, params)
        rates.append(-float(updates[0]))
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 2e-4, 2e-4, 1e-4, 1e-4], rtol=1e-4)
