"""Distributes a step over devices and processes.

A function of a batch, which is split over the devices, and of whole arrays is written once, and runs in three ways:

- `jit`: XLA's partitioner splits the batch along the `data` axis of the mesh; every device has all parameters;
- `fsdp`: the same, and every large array of the state is also split along `data`, over its largest axis
  (Rajbhandari et al. 2020, ZeRO-3; Xu et al. 2020);
- `pmap`: each device runs the function on its part of the batch, and the function itself takes means over `axis_name`.

With `model_devices` above 1, the last axis of every array of the state, the outputs of a layer, is split along the
`model` axis, as AlexNet's towers were split over two GPUs in 2012.
"""

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

Kind = Literal["jit", "fsdp", "pmap"]

_SMALL = 2**12  # elements of an array that `fsdp` leaves whole: moving it costs more than keeping it


class Layout:
    """The devices of a run, and what each of them holds.

    Args:
      kind: `"jit"`, `"fsdp"` or `"pmap"`.
      model_devices: number of devices over which the outputs of every layer are split; must be 1 for `"pmap"`.
      devices: the devices; by default all devices of all processes, or the one that `jax.default_device` names.

    Raises:
      ValueError: if the kind is unknown, or `model_devices` does not divide the devices.
    """

    def __init__(self, kind: Kind = "jit", model_devices: int = 1, devices: Sequence[Any] | None = None):
        devices = _all_devices() if devices is None else devices
        if kind not in ("jit", "fsdp", "pmap"):
            raise ValueError(f"`kind` must be jit, fsdp or pmap; got {kind!r}.")
        if model_devices < 1 or len(devices) % model_devices:
            raise ValueError(f"`model_devices` must divide the {len(devices)} devices; got {model_devices}.")
        if kind == "pmap" and model_devices > 1:
            raise ValueError(f"`model_devices` must be 1 under pmap, which splits batches only; got {model_devices}.")
        self.kind: Kind = kind
        self.model_devices = model_devices
        self.data_devices = len(devices) // model_devices
        self.axis_name = "data" if kind == "pmap" else None
        self.devices = devices
        grid, names = np.array(devices).reshape(self.data_devices, model_devices), ("data", "model")
        if model_devices == 1:
            grid, names = grid[:, 0], ("data",)
        self._mesh = jax.sharding.Mesh(grid, names, axis_types=(AxisType.Auto,) * len(names))
        self._split = self._on("data")

    def _on(self, *axes: str | None) -> Sharding:
        # one device has one spelling, and a step that is given its own result finds its program again
        alone = len(self.devices) == 1
        return SingleDeviceSharding(self.devices[0]) if alone else NamedSharding(self._mesh, PartitionSpec(*axes))

    def __str__(self) -> str:
        devices = len(self.devices)
        kinds = ", ".join(sorted({device.device_kind for device in self.devices}))
        processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        return f"{devices} {kinds} device{'s' * (devices > 1)}{processes}" + (f", {self.kind}" if devices > 1 else "")

    def check_batch(self, size: int, accumulate: int = 1) -> None:
        """Refuses a batch that cannot be split evenly over the devices.

        Args:
          size: batch size.
          accumulate: number of parts into which the batch is split first.

        Raises:
          ValueError: if the size is not a multiple of the number of devices times parts.
        """
        if size // accumulate % self.data_devices:
            parts = f", in each of its {accumulate} parts" if accumulate > 1 else ""
            raise ValueError(f"`batch_size` must be a multiple of the {self.data_devices} devices{parts}; got {size}.")

    def rows(self, size: int, parts: int = 1) -> np.ndarray:
        """Computes the rows of a batch that this process holds.

        Args:
          size: batch size.
          parts: number of parts of the batch, each of which is split over all devices.

        Returns:
          The indices of the rows.
        """
        part = size // parts
        held = range(part)
        if jax.process_count() > 1:
            places = self._split.addressable_devices_indices_map((part,)).values()
            spans = [place[0].indices(part) for place in places if place is not None]
            held = range(min(start for start, *_ in spans), max(stop for _, stop, _ in spans))
        return np.concatenate([np.array(held, np.int64) + start for start in range(0, size, part)])

    def put(self, batch: Any) -> Any:
        """Starts to copy this process's rows of a batch to devices.

        Args:
          batch: a pytree of arrays with these rows.

        Returns:
          The batch on the devices.
        """
        if self.kind == "pmap":
            parts = self.data_devices // jax.process_count()
            return jax.tree.map(lambda a: a.reshape(parts, -1, *a.shape[1:]), batch)
        if jax.process_count() == 1:
            return jax.device_put(batch, self._split)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(self._split, a), batch)

    def place(self, tree: Any) -> Any:
        """Distributes arrays that are equal on every process.

        Args:
          tree: a pytree of arrays.

        Returns:
          The pytree of arrays on the devices.
        """
        if jax.process_count() > 1:  # what lies on a device already would be sent from host to host
            return jax.tree.map(self._place_from_host, tree)
        return jax.device_put(tree, jax.tree.map(self._sharding, tree))

    def _place_from_host(self, leaf: Any) -> Any:
        if is_key(leaf):  # a key itself is not placed over processes, but the integers behind it are
            data = jax.device_put(np.asarray(jax.random.key_data(leaf)), self._on())
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jax.device_put(np.asarray(leaf), self._sharding(leaf))

    def across(self, tree: Any) -> Any:
        """Converts arrays to arrays over all processes, for checkpoints.

        Those of pmap have only local devices.

        Args:
          tree: a pytree of arrays.

        Returns:
          The pytree of global arrays.
        """
        if self.kind != "pmap" or jax.process_count() == 1:
            return tree

        def lifted(leaf: jax.Array) -> jax.Array:
            if not leaf.is_fully_addressable:
                return leaf
            copies = [shard.data for shard in leaf.addressable_shards]
            return jax.make_array_from_single_device_arrays(leaf.shape, self._on(), copies)

        return jax.tree.map(lifted, tree)

    def gather(self, tree: Any) -> Any:
        """Collects whole arrays on the first device of this process.

        Args:
          tree: a pytree of arrays on any devices.

        Returns:
          The pytree of whole arrays.
        """
        if len(self.devices) == 1:
            return tree
        everywhere = jax.jit(lambda t: t, out_shardings=self._on())(self.across(tree))
        return jax.tree.map(lambda a: a.addressable_data(0), everywhere)

    def compile(
        self,
        function: Callable[..., Any],
        *,
        batch: int | None = None,
        donate: int | None = None,
        whole: bool = False,
    ) -> Any:
        """Compiles a function of pytrees; results are distributed as by `place`.

        Args:
          function: a function of pytrees of whole arrays, and of a batch, which is split over the devices.
          batch: position of the batch among the arguments; None if there is none.
          donate: position of the argument whose memory the result may take.
          whole: leave whole results on every device, which every process can then read.

        Returns:
          The compiled function.
        """
        donated = () if donate is None else donate
        if self.kind == "pmap" and batch is not None:
            axes = tuple(0 if place == batch else None for place in range(len(inspect.signature(function).parameters)))
            return jax.pmap(function, "data", in_axes=axes, out_axes=None, devices=self.devices, donate_argnums=donated)

        if len(self.devices) == 1:
            return jax.jit(function, donate_argnums=donated)

        def placed(*args: Any) -> Any:
            results = function(*args)
            wanted = jax.tree.map(lambda leaf: self._on() if whole else self._sharding(leaf), results)
            return jax.lax.with_sharding_constraint(results, wanted)

        return jax.jit(placed, donate_argnums=donated)

    def _sharding(self, leaf: Any) -> Sharding:
        """One sharding per shape, so that parameter and momentum agree."""
        shape, axes = leaf.shape, [None] * leaf.ndim
        if is_key(leaf):
            return self._on()
        if shape and self.model_devices > 1 and shape[-1] % self.model_devices == 0:
            axes[-1] = "model"
        if self.kind == "fsdp" and leaf.size >= _SMALL:
            free = [axis for axis in range(leaf.ndim) if axes[axis] is None and shape[axis] % self.data_devices == 0]
            if free:
                axes[max(free, key=lambda axis: shape[axis])] = "data"
        while axes and axes[-1] is None:  # the compiler writes it so, and compares by spelling
            axes.pop()
        return self._on(*axes)


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _all_devices() -> Sequence[Any]:
    """All devices by process, or the one that the user chose."""
    chosen = jax.config.values["jax_default_device"]
    if isinstance(chosen, jax.Device):
        return [chosen]
    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def local_devices() -> Sequence[Any]:
    """Returns this process's devices, or the one of `jax.default_device`."""
    return [device for device in _all_devices() if device.process_index == jax.process_index()]


def initialize(coordinator: str | None, processes: int | None = None, process: int | None = None) -> None:
    """Connects this process with the others of a run.

    Call it before anything else that uses JAX.

    Args:
      coordinator: `HOST:PORT` of process 0, the same for all; or `"auto"` if JAX can find it from the cluster (Slurm,
        Open MPI, Kubernetes, Cloud TPU).
      processes: number of processes; required with an address.
      process: number of this process, from 0; required with an address.

    Raises:
      ValueError: if only some of the arguments are given, or a number is out of range.
      RuntimeError: if the other processes cannot be reached.
    """
    if coordinator is None:
        if processes is not None or process is not None:
            raise ValueError("`coordinator` must be given with `processes` and `process`; got None.")
        return
    if coordinator != "auto":
        if processes is None or process is None:
            raise ValueError(f"`processes` and `process` must be given with `coordinator` {coordinator}; got None.")
        if not 0 <= process < processes:
            raise ValueError(f"`process` must be from 0 to {processes - 1}; got {process}.")
    address = None if coordinator == "auto" else coordinator
    if jax.config.values["jax_cpu_collectives_implementation"] is None:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            address, processes, process, heartbeat_timeout_seconds=30, shutdown_timeout_seconds=30
        )
    except (ValueError, RuntimeError) as error:
        raise RuntimeError(f"`coordinator` {coordinator} must lead to the other processes; {error}") from None


def leave() -> None:
    """Shuts down the distributed runtime, in all processes together.

    Each then continues on its first device. With several devices, CPUs would need the service that was shut down to
    find each other.
    """
    if jax.process_count() > 1:
        jax.config.update("jax_default_device", jax.local_devices()[0])
        jax.distributed.shutdown()


def is_first() -> bool:
    """Whether this is process 0, which writes logs."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether a flag is True anywhere; all processes must call this."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def process_barrier(name: str) -> None:
    """Waits until every process has called this."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def first_decides() -> Iterator[None]:
    """Ends all processes if process 0 fails inside this context.

    Otherwise the other processes would wait forever.

    Raises:
      RuntimeError: on the other processes, if process 0 failed.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = any_process(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise RuntimeError("process 0 must be able to start the run; it failed, and its own message says why.")


@contextlib.contextmanager
def watching_processes(last_good: Callable[[], str]) -> Iterator[None]:
    """Ends this process, with a sentence, if another has died.

    JAX's own shutdown waits for all other processes. So this exits immediately, with status 2.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not _of_a_peer(str(error)):
            raise
        print(f"jaxcnn: every process of the run must go on; another one has ended, {last_good()}.", flush=True)
        os._exit(2)


def _of_a_peer(text: str) -> bool:
    return any(word in text.lower() for word in ("gloo", "connection", "peer", "nccl", "heartbeat", "unavailable"))
