"""Cases of the C++ backend, where it is built.

The backend computes only in float32. The inputs are whole numbers, which are exact there, so the proofs in float64
still hold.
"""

from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxcnn import ops
from jaxcnn.ops.cases.case import Case, case, random


def native_cases() -> Iterator[Case]:
    """Yields the cases of the C++ backend."""

    def single(x, w, **options):
        return ops.conv(x.astype(jnp.float32), w.astype(jnp.float32), **options).astype(x.dtype)

    for options in ({"strides": 2, "flip_kernel": True}, {"feature_group_count": 2, "padding": "LECTURE"}):
        groups = options.get("feature_group_count", 1)
        args = (random.integers(-4, 5, (4, 5, 4, 4)), random.integers(-4, 5, (3, 2, 4 // groups, 6)))
        yield case(
            "conv",
            {"method": "native", **options},
            tuple(a.astype(np.float32) for a in args),
            function=partial(single, method="native", **options),
            reference=partial(ops.conv, rule="autodiff", **options),
            kinds=("reference", "adjoint", "value", "dtypes", "transformations", "devices"),
            batched=(0,),
            multilinear=(0, 1),
        )
    options = {"window_shape": 3, "strides": 2, "padding": "SAME"}

    def pooled(x, **how):
        return ops.max_pool(x.astype(jnp.float32), **options, **how).astype(x.dtype)

    yield case(
        "max_pool",
        {"method": "native", **options},
        (random.permutation(4 * 5 * 4 * 3).reshape(4, 5, 4, 3).astype(np.float32),),
        function=partial(pooled, method="native"),
        reference=partial(ops.max_pool, rule="autodiff", **options),
        kinds=("reference", "value", "dtypes", "transformations", "devices"),
        batched=(0,),
    )
