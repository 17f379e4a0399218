"""Rates are counts over time, and time is what the clock says."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcnn.training import speed
from jaxcnn.training.speed import Speedometer, peak_flops, step_flops


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(speed.time, "perf_counter", clock)
    return clock


def device(kind="cpu", memory=None):
    return types.SimpleNamespace(device_kind=kind, process_index=0, memory_stats=lambda: memory)


def run(clock, meter, steps=4, wait=0.25, work=0.75, images=32):
    for _ in range(steps):
        with meter.waiting():
            clock.now += wait
        clock.now += work
        meter.step(images)


def test_rates_are_counts_over_time(clock):
    meter = Speedometer(devices=[device()])
    run(clock, meter)
    row = meter.row()
    assert (row["steps_per_second"], row["images_per_second"], row["input_wait"]) == (1.0, 32.0, 0.25)
    assert meter.row() == pytest.approx(row), "asking changes nothing"


def test_a_pause_is_left_out(clock):
    meter = Speedometer(devices=[device()])
    run(clock, meter)
    before = meter.row()["images_per_second"]
    meter.pause()
    clock.now += 1000
    assert meter.row()["images_per_second"] == before
    meter.resume()
    run(clock, meter)
    meter.resume()
    row = meter.row()
    assert (row["steps_per_second"], row["images_per_second"], row["input_wait"]) == (1.0, 32.0, 0.25)


@pytest.mark.parametrize("paused", [False, True])
def test_a_restart_forgets_what_was(clock, paused):
    meter = Speedometer(devices=[device()])
    run(clock, meter)
    if paused:
        meter.pause()
    clock.now += 1000
    meter.restart()
    row = meter.row()
    assert (row["steps_per_second"], row["images_per_second"], row["input_wait"]) == (0, 0, 0)
    run(clock, meter, wait=0.0, work=0.5)
    row = meter.row()
    assert (row["steps_per_second"], row["images_per_second"], row["input_wait"]) == (2.0, 64.0, 0.0)


def test_utilization_is_of_all_devices_together(clock):
    meter = Speedometer(100e12, [device("NVIDIA A100-SXM4-40GB")] * 2, jnp.bfloat16)
    run(clock, meter)
    assert meter.row()["flops_per_second"] == 100e12
    assert meter.row()["flops_utilization"] == pytest.approx(100 / (2 * 312))
    meter.flops = 200e12
    assert meter.row()["flops_per_second"] == 200e12


def test_what_is_not_known_is_left_out(clock):
    meter = Speedometer(devices=[device()])
    run(clock, meter)
    assert "flops_per_second" not in meter.row()
    meter.flops = 1e9
    assert meter.row()["flops_per_second"] == 1e9 and "flops_utilization" not in meter.row()
    mixed = Speedometer(1e9, [device(), device("NVIDIA H200")])
    assert "flops_utilization" not in mixed.row()


def test_memory_is_the_fullest_device_s():
    filled = [device(memory={"peak_bytes_in_use": size}) for size in (10, 30, 20)]
    row = Speedometer(devices=filled).row()
    assert row["device_memory"] == 30 and "host_memory" not in row
    row = Speedometer(devices=[device(memory={"bytes_limit": 1})]).row()
    assert "device_memory" not in row and row["host_memory"] > 0


def test_memory_of_the_process_grows_with_what_it_holds():
    before = Speedometer().row()["host_memory"]
    held = np.ones(64 * 2**20, np.uint8)
    assert Speedometer().row()["host_memory"] - before > 0.9 * held.nbytes


def test_memory_is_told_where_there_is_no_proc(monkeypatch):
    monkeypatch.setattr(speed, "Path", lambda _: types.SimpleNamespace(read_text=lambda: open("/nowhere/at all")))
    assert Speedometer().row()["host_memory"] > 2**20


@pytest.mark.parametrize(
    "kind, dtype, peak",
    [
        ("Tesla T4", jnp.float16, 65e12),
        ("Tesla T4", jnp.bfloat16, None),
        ("Tesla T4", jnp.float32, 8.1e12),
        ("NVIDIA H200", "bfloat16", 989.4e12),
        ("NVIDIA H100 80GB HBM3", np.float32, 494.7e12),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", jnp.bfloat16, None),
        ("TPU v3", jnp.bfloat16, 61.5e12),
        ("TPU v6 lite", jnp.float32, 918e12),
        ("TPU v6 lite", jnp.float64, None),
        ("cpu", jnp.float32, None),
    ],
)
def test_peaks_of_devices(kind, dtype, peak):
    assert peak_flops(kind, dtype) == peak


def test_no_float32_is_faster_than_half_of_it():
    for name, (bfloat16, float16, float32) in speed._PEAKS.items():
        assert float32 <= min(filter(None, (bfloat16, float16))), name


PRODUCT = 2 * 64 * 128 * 32  # a multiplication and an addition for each


def product(a, b):
    return a @ b


def matrices(devices=1):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    a = jax.device_put(jnp.ones((64, 128)), NamedSharding(mesh, PartitionSpec("data")))
    return mesh, a, jax.device_put(jnp.ones((128, 32)), NamedSharding(mesh, PartitionSpec()))


def test_flops_are_those_of_all_devices():
    for devices in (1, 4):
        lowered = jax.jit(product).lower(*matrices(devices)[1:])
        assert step_flops(lowered) == PRODUCT
        assert step_flops(lowered.compile(), copies=devices) == PRODUCT


def test_a_mapped_step_is_counted_by_device():
    mesh, a, b = matrices(4)
    specs = PartitionSpec("data"), PartitionSpec()
    mapped = jax.shard_map(product, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("data"))
    assert step_flops(jax.jit(mapped).lower(a, b), copies=4) == pytest.approx(PRODUCT, rel=1e-3)


@pytest.mark.parametrize("costs", [None, [], {}, {"flops": -1.0}, {"bytes accessed": 3.0}])
def test_flops_that_are_not_told_are_not_known(costs):
    assert step_flops(types.SimpleNamespace(cost_analysis=lambda: costs)) is None


def test_flops_may_be_told_in_a_list():
    assert step_flops(types.SimpleNamespace(cost_analysis=lambda: [{"flops": 2.0}]), copies=3) == 6.0
    assert step_flops(types.SimpleNamespace(cost_analysis=refuse)) is None


def refuse():
    raise NotImplementedError


def test_a_step_costs_microseconds():
    import time

    meter = Speedometer()
    began = time.process_time()
    for _ in range(10_000):
        with meter.waiting():
            pass
        meter.step(32)
    assert time.process_time() - began < 0.5, "50 microseconds a step, ten times what it takes"
