"""Convolution on CPU by oneDNN, where that is installed and built; and max-pooling by loops in C++ that come with it.

`pip install 'jaxcnn[onednn]'` brings oneDNN; `jaxcnn doctor --build-onednn`, or the first `ops.conv(method="onednn")`,
compiles what binds it to XLA, with the compiler that is there. float32, convolution bfloat16 too; every transformation
of JAX but forward mode; batches and channels may be sharded.
"""

from jaxcnn.ops.onednn.backend import available, build, reason
from jaxcnn.ops.onednn.conv import conv, product
from jaxcnn.ops.onednn.spread import partly_mapped

__all__ = ["available", "build", "conv", "partly_mapped", "product", "reason"]
