"""Convolution on CPU by oneDNN, where that is installed and built; max-pool and batch norm by C++ that comes with it.

`pip install 'jaxcnn[onednn]'` brings oneDNN; `jaxcnn doctor --build-onednn`, or the first `ops.conv(method="native")`,
compiles what binds it to XLA, with the compiler that is there. Arrays in every layout, as they are; float32 and 16-bit
floats; every transformation of JAX but forward mode. Batches and channels may be sharded; batch
normalization must then be inside `shard_map`.
"""

from jaxcnn.ops.native.backend import available, build, reason
from jaxcnn.ops.native.conv import DTYPES, compute, conv, product, suits
from jaxcnn.ops.native.spread import partly_mapped

__all__ = ["DTYPES", "available", "build", "compute", "conv", "partly_mapped", "product", "reason", "suits"]
