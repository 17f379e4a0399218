"""The speed of training, and the utilization of the device."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

# Dense peaks of matrix products with float32 sums, in TFLOP/s, by `jax.Device.device_kind`: bfloat16, float16, float32.
# float32 is what `Precision.DEFAULT` gives it: TF32 from Ampere on, one pass of bfloat16 on TPUs, else plain float32.
# NVIDIA's data sheets of T4, V100, A10, L4, A100, H100, H200 and HGX B200 (an eighth of it), halved where they count
# sparsity; the white papers of GA102 and Ada for RTX 3090 and 4090; Google's Cloud TPU pages of v2 to v6e, by the chip,
# which is two devices before v4.
_A100, _H100, _V100 = (312, 312, 156), (989.4, 989.4, 494.7), (None, 125, 15.7)
_PEAKS: dict[str, tuple[float | None, float | None, float]] = {
    "Tesla T4": (None, 65, 8.1),
    "Tesla V100-SXM2-16GB": _V100,
    "Tesla V100-SXM2-32GB": _V100,
    "Tesla V100-SXM3-32GB": _V100,
    "Tesla V100-PCIE-16GB": (None, 112, 14),
    "Tesla V100-PCIE-32GB": (None, 112, 14),
    "NVIDIA A10": (125, 125, 62.5),
    "NVIDIA L4": (121, 121, 60),
    "NVIDIA A100-SXM4-40GB": _A100,
    "NVIDIA A100-SXM4-80GB": _A100,
    "NVIDIA A100-PCIE-40GB": _A100,
    "NVIDIA A100 80GB PCIe": _A100,
    "NVIDIA H100 80GB HBM3": _H100,
    "NVIDIA H100 PCIe": (756.5, 756.5, 378),
    "NVIDIA H200": _H100,
    "NVIDIA B200": (2250, 2250, 1125),
    "NVIDIA GeForce RTX 3090": (71, 71, 35.6),
    "NVIDIA GeForce RTX 4090": (165.2, 165.2, 82.6),
    "TPU v2": (23, None, 23),
    "TPU v3": (61.5, None, 61.5),
    "TPU v4": (275, None, 275),
    "TPU v5 lite": (197, None, 197),
    "TPU v5e": (197, None, 197),
    "TPU v5": (459, None, 459),
    "TPU v5p": (459, None, 459),
    "TPU v6 lite": (918, None, 918),
    "TPU v6e": (918, None, 918),
}


def peak_flops(device_kind: str, dtype: jax.typing.DTypeLike) -> float | None:
    """Returns the peak FLOP/s of a device.

    Args:
      device_kind: as in `jax.Device.device_kind`.
      dtype: dtype of the computation.

    Returns:
      The peak in FLOP/s, or None if it is not known.
    """
    name, dtypes = jnp.dtype(dtype).name, ("bfloat16", "float16", "float32")
    if device_kind not in _PEAKS or name not in dtypes:
        return None
    peak = _PEAKS[device_kind][dtypes.index(name)]
    return None if peak is None else peak * 1e12


def step_flops(stage: jax.stages.Lowered | jax.stages.Compiled, copies: int = 1) -> float | None:
    """Returns the floating-point operations of one step, by XLA's count.

    They are summed over all devices. For a lowered step, XLA counts the operations as they were written, over all
    devices. For a compiled step it counts those of one device, without the operations of libraries (cuDNN, cuBLAS,
    oneDNN). So pass the lowered step if possible.

    Args:
      stage: `step.lower(...)`, or its compiled form.
      copies: number of devices that do the same work: 1 for a lowered step that `jit` partitions; the number of devices
        for a compiled step, and for one that `shard_map` or `pmap` maps.

    Returns:
      The number of operations, or None if XLA does not count them.
    """
    try:
        costs: Any = stage.cost_analysis()
    except NotImplementedError:
        return None
    if isinstance(costs, (list, tuple)):  # one entry a program, in older versions
        costs = costs[0] if costs else None
    flops = (costs or {}).get("flops", 0.0)
    return flops * copies if flops > 0 else None


def memory_in_use(devices: Sequence[Any]) -> dict[str, int]:
    """Returns the bytes in use.

    They are the largest peak of a device as `device_memory`, or else the process's `host_memory`.
    """
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices]
    known = [peak for peak in peaks if peak is not None]
    if known:
        return {"device_memory": max(known)}
    resident = _resident_memory()
    return {} if resident is None else {"host_memory": resident}


def _resident_memory() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        try:
            import resource
        except ModuleNotFoundError:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


class Speedometer:
    """Measures the throughput of the steps since `restart`.

    Steps are dispatched to the device asynchronously: call `pause`, `restart` and `row` when the device has finished
    the steps.

    Args:
      flops: floating-point operations of one step over all devices (`step_flops`); may be set later.
      devices: the devices of a step; by default all.
      dtype: dtype of the computation.
    """

    def __init__(
        self,
        flops: float | None = None,
        devices: Sequence[Any] | None = None,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ):
        self.flops = flops
        devices = list(jax.devices() if devices is None else devices)
        peaks = [peak_flops(device.device_kind, dtype) for device in devices]
        known = [peak for peak in peaks if peak is not None]
        self._peak = sum(known) if len(known) == len(peaks) else None
        self._own = [device for device in devices if device.process_index == jax.process_index()]
        self._wait = _Stopwatch()
        self.restart()

    def restart(self) -> None:
        """Begins a new interval."""
        self._steps = self._images = 0
        self._wait.seconds = self._before = 0.0
        self._began: float | None = time.perf_counter()

    def pause(self) -> None:
        """Stops the clock, for an evaluation for instance.

        `resume` or `restart` starts it.
        """
        self._before, self._began = self._seconds(), None

    def resume(self) -> None:
        """Continues the interval after a pause."""
        if self._began is None:
            self._began = time.perf_counter()

    def waiting(self) -> "_Stopwatch":
        """Returns a context manager for waiting for the next batch."""
        return self._wait

    def step(self, images: int) -> None:
        """Counts a step.

        Args:
          images: number of examples in its batch, over all devices.
        """
        self._steps += 1
        self._images += images

    def row(self) -> dict[str, float]:
        """Returns the results of the interval so far, for a row.

        Results that are not known are left out.

        `input_wait` is the share of the time in which the loop waited for a batch; `flops_utilization` is the share of
        the devices' peak that was reached (MFU).
        """
        seconds = max(self._seconds(), 1e-9)
        fields = {
            "steps_per_second": self._steps / seconds,
            "images_per_second": self._images / seconds,
            "input_wait": min(self._wait.seconds / seconds, 1.0),
        }
        if self.flops is not None:
            fields["flops_per_second"] = self.flops * self._steps / seconds
            if self._peak is not None:
                fields["flops_utilization"] = fields["flops_per_second"] / self._peak
        return fields | memory_in_use(self._own)

    def _seconds(self) -> float:
        return self._before + (0.0 if self._began is None else time.perf_counter() - self._began)


class _Stopwatch:
    """Sums the time spent inside its context."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
