"""The memory of a step, kept for the next one."""

import ctypes
import sys

import jax

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt, as <malloc.h> numbers them
_KEPT_FREE, _LARGEST_BLOCK = 2**31 - 1, 2**30  # bytes


def keep_memory() -> bool:
    """Lets a process that computes on a CPU keep the memory of a step for the next one; to be called before any array.

    XLA asks malloc for all temporaries of a step as one block. Blocks above 32 MB glibc fetches from the system each
    time anew, page by page: a fifth of a step of ResNet-20 went there. This lets it keep blocks of up to 1 GiB, and
    2 GiB of what is free; and lets XLA compute in the thread that calls it, because the memory of another thread cannot
    hold blocks above 64 MB. A call then returns when its result is there: arrays are no longer computed in the
    background. Devices other than CPUs go on as before.

    Returns:
      Whether malloc is glibc's (Linux); elsewhere nothing is changed.

    Source: mallopt(3); Gloger's and Lea's malloc keeps a heap of 64 MB for each thread but the first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or not mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK):
        return False
    mallopt(_TRIM_THRESHOLD, _KEPT_FREE)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True
