"""`strict=True` refuses strides that leave trailing cells unread, in every op and layer that slides a window."""

import jax.numpy as jnp
import pytest
from flax import nnx

from jaxcnn import layers, ops

X = jnp.ones((1, 6, 2))  # "2.33, not possible": (6 - 3) / 2 + 1 = 2.5
W = jnp.ones((3, 2, 2))
STRIDED = {"strides": 2, "padding": "VALID"}
CALLS = {
    "conv": lambda x, strict: ops.conv(x, W, **STRIDED, strict=strict),
    "depthwise_conv": lambda x, strict: ops.depthwise_conv(x, W[:, :1], **STRIDED, strict=strict),
    "locally_connected": lambda x, strict: ops.locally_connected(
        x, jnp.ones(((x.shape[1] - 1) // 2, 3, 2, 2)), **STRIDED, strict=strict
    ),
    "max_pool": lambda x, strict: ops.max_pool(x, 3, **STRIDED, strict=strict),
    "relu_max_pool": lambda x, strict: ops.relu_max_pool(x, 3, **STRIDED, strict=strict),
    "max_pool_with_switches": lambda x, strict: ops.max_pool_with_switches(x, 3, **STRIDED, strict=strict)[0],
    "avg_pool": lambda x, strict: ops.avg_pool(x, 3, **STRIDED, strict=strict),
    "lp_pool": lambda x, strict: ops.lp_pool(x, 3, **STRIDED, strict=strict),
    "conv_relu_pool": lambda x, strict: ops.conv_relu_pool(
        x, W, W[0, 0], pool=3, pool_strides=2, pool_strict=strict, padding="SAME"
    ),
    "Conv": lambda x, strict: layers.Conv(2, 2, 3, 2, padding="VALID", strict=strict, rngs=nnx.Rngs(0))(x),
    "MaxPool": lambda x, strict: layers.MaxPool(3, 2, strict=strict)(x),
    "AvgPool": lambda x, strict: layers.AvgPool(3, 2, strict=strict)(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_divide_is_refused_where_it_is_asked_for(name):
    call = CALLS[name]
    assert call(X, False).shape[1] == 2
    assert call(jnp.ones((1, 7, 2)), True).shape[1] == 3
    with pytest.raises(
        ValueError, match=r"`strides` must divide padded input minus window, \(6,\) - \(3,\); got \(2,\)"
    ):
        call(X, True)
