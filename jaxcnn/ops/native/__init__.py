"""The C++ backend for CPUs.

It has convolution by oneDNN and by loops of ours; max-pooling and batch normalization by loops. It is built while
jaxcnn is installed, or comes built in the wheel; `jaxcnn doctor` tells whether it is active. It takes arrays in every
layout, as they are, of float32 and 16-bit floats, and every transformation of JAX but forward mode. Batches and
channels may be sharded; batch normalization must then be inside `shard_map`.
"""

from jaxcnn.ops.native.backend import active, available, missing, reason
from jaxcnn.ops.native.conv import DTYPES, compute, conv, product, suits
from jaxcnn.ops.native.spread import partly_mapped

__all__ = ["DTYPES", "active", "available", "compute", "conv", "missing", "partly_mapped", "product", "reason", "suits"]
