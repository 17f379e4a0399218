"""Reuses the memory of a step for the next one."""

import ctypes
import sys

import jax

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt, as <malloc.h> numbers them
_KEPT_FREE, _LARGEST_BLOCK = 2**31 - 1, 2**30  # bytes


def keep_memory() -> bool:
    """Lets a process on a CPU reuse a step's memory.

    The next step takes it. Call this before making any array. XLA allocates all temporaries of a step as one block by
    malloc. For every block above 32 MB, glibc requests new pages from the system each time, which took a fifth of a
    step of ResNet-20. This function lets glibc keep blocks of up to 1 GiB, and up to 2 GiB of free memory. It also lets
    XLA compute in the calling thread, because the heap of another thread cannot contain blocks above 64 MB. So a call
    returns only when its result is computed: on CPU there is no asynchronous dispatch any more. Other devices are not
    affected.

    Returns:
      Whether malloc is that of glibc (Linux); elsewhere nothing changes.

    Source: mallopt(3); glibc's malloc has a heap of 64 MB for each thread except the first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or not mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK):
        return False
    mallopt(_TRIM_THRESHOLD, _KEPT_FREE)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True
