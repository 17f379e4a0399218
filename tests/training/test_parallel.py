"""However a step is spread over devices, it is the step of one device."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models, training
from jaxcnn.data import Dataset
from jaxcnn.training import Layout, TrainConfig

CONFIG = TrainConfig(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.05, log_every=1)
LAYOUTS = {
    "jit": {"kind": "jit"},
    "fsdp": {"kind": "fsdp"},
    "pmap": {"kind": "pmap"},
    "model axis": {"kind": "jit", "model_devices": 2},
    "fsdp and model axis": {"kind": "fsdp", "model_devices": 2},
}


def pictures(count: int, size: int, channels: int, classes: int = 10) -> Dataset:
    random = np.random.default_rng(size)
    images = random.integers(0, 256, (count, size, size, channels)).astype(np.uint8)
    labels = random.integers(0, classes, count).astype(np.int32)
    return Dataset(images, labels, tuple(map(str, range(classes))), "noise", "train")


class Normed(nnx.Module):
    """Two convolutions with batch statistics, of this library and of Flax."""

    def __init__(self, *, num_classes: int, in_features: int, param_dtype, rngs: nnx.Rngs):
        self.first = layers.Conv(in_features, 8, (3, 3), strides=2, use_bias=False, param_dtype=param_dtype, rngs=rngs)
        self.norm1 = layers.BatchNorm(8, param_dtype=param_dtype, rngs=rngs)
        self.second = layers.Conv(8, 8, (3, 3), use_bias=False, param_dtype=param_dtype, rngs=rngs)
        other = layers if param_dtype == jnp.float64 else nnx  # Flax's own cannot promote strictly
        self.norm2 = other.BatchNorm(8, param_dtype=param_dtype, rngs=rngs)
        self.head = nnx.Linear(8, num_classes, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.norm1(self.first(images.astype(self.head.kernel.dtype))))
        x = nnx.relu(x + self.norm2(self.second(x)))
        return self.head(x.mean((1, 2)))


def trained(name: str, train: Dataset, config: TrainConfig, layout: Layout, dtype=jnp.float32, **options):
    create = Normed if name == "normed" else functools.partial(models.create, name)
    model = create(num_classes=10, in_features=train.features, param_dtype=dtype, rngs=nnx.Rngs(0), **options)
    rows = []
    training.fit(model, train, train.take(10), config, layout=layout, observer=rows.append)
    return model, rows


def assert_near(small, found, expected, tolerance: float, *, as_one: bool = False) -> None:
    """Every array, or all `as_one`, within a share of its own size; every number of the log too."""
    arrays, wanted = small.everything(found[0]), small.everything(expected[0])
    assert arrays.keys() == wanted.keys()
    if as_one:
        arrays, wanted = ({"all": np.concatenate([a.ravel() for a in tree.values()])} for tree in (arrays, wanted))
    for path, array in wanted.items():
        scale = np.abs(array).max() or 1
        np.testing.assert_allclose(arrays[path] / scale, array / scale, rtol=0, atol=tolerance, err_msg=str(path))
    assert len(found[1]) == len(expected[1])
    for row, want in zip(found[1], expected[1], strict=True):
        for key in ("loss", "accuracy", "gradient_norm", "eval_loss", "eval_accuracy", "ema_loss"):
            loose = 100 if as_one and key == "gradient_norm" else 10  # gradients jump where a ReLU's input changes sign
            np.testing.assert_allclose(row.get(key, 0), want.get(key, 0), rtol=loose * tolerance, err_msg=key)


@pytest.fixture(scope="module")
def one_device_run():
    found = {}

    def run(name, train, config, dtype):
        key = name, config, dtype
        if key not in found:
            found[key] = trained(name, train, config, Layout(devices=jax.devices()[:1]), dtype)
        return found[key]

    return run


@pytest.mark.parametrize("kind", LAYOUTS)
def test_lenet_on_four_devices_is_lenet_on_one(small, one_device_run, kind):
    train, layout = pictures(160, 28, 1), Layout(devices=jax.devices()[:4], **LAYOUTS[kind])
    found = trained("lenet5", train, CONFIG, layout)
    assert len(found[1]) == 20
    assert_near(small, found, one_device_run("lenet5", train, CONFIG, jnp.float32), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_resnet20_on_four_devices_is_resnet20_on_one(small, one_device_run, kind, dtype):
    """Batch statistics are those of the whole batch.

    Twenty steps through twenty layers of ReLUs and norms magnify rounding some thousandfold. float64 proves each array
    to 1e-10 all the same. In float32 the biases, which begin at 0 and have hardly moved, are mostly rounding at a rate
    at which nothing else is: there all arrays count as one.
    """
    double = dtype == jnp.float64
    with jax.enable_x64(double):
        train, layout = pictures(160, 32, 3), Layout(devices=jax.devices()[:4], **LAYOUTS[kind])
        config = dataclasses.replace(CONFIG, learning_rate=1e-3 if double else 1e-4)
        found = trained("resnet20", train, config, layout, dtype)
        expected = one_device_run("resnet20", train, config, dtype)
        assert_near(small, found, expected, 1e-10 if double else 1e-5, as_one=not double)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)])
@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_batch_statistics_are_those_of_the_whole_batch(small, float64, kind, dtype, tolerance):
    train, config = pictures(24, 8, 3), dataclasses.replace(CONFIG, ema_decay=0.9, augment=("flip", "mixup"))
    layouts = Layout(devices=jax.devices()[:1]), Layout(kind, devices=jax.devices()[:4])
    expected, found = (trained("normed", train, config, layout, dtype) for layout in layouts)
    assert_near(small, found, expected, tolerance)


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_parts_of_a_batch_add_up(small, kind):
    train, layout = pictures(32, 28, 1), Layout(kind, devices=jax.devices()[:2])
    whole, parts = (
        trained("lenet5", train, dataclasses.replace(CONFIG, batch_size=16, accumulate=k), layout) for k in (1, 4)
    )
    assert_near(small, parts, whole, 1e-5)


def test_the_two_towers_of_alexnet_on_two_devices(small):
    """A `model` axis holds a tower on each device, as in 2012."""
    train = pictures(4, 64, 3)
    config = dataclasses.replace(CONFIG, batch_size=2, learning_rate=1e-3)
    options = {"image_size": (64, 64), "widths": (8, 16, 24, 24, 16), "hidden": (32, 32)}
    devices = jax.devices()[:2]
    layout = Layout(model_devices=2, devices=devices)
    expected = trained("alexnet", train, config, Layout(devices=devices[:1]), **options)
    assert_near(small, trained("alexnet", train, config, layout, **options), expected, 1e-5)
    kernel = jnp.zeros((5, 5, 4, 16))
    halves = layout.place(kernel).addressable_shards
    assert [half.data.shape for half in halves] == [(5, 5, 4, 8)] * 2, "each device holds the outputs of one tower"


def test_fsdp_holds_each_large_array_once():
    layout = Layout("fsdp", devices=jax.devices()[:4])
    large, small_one = layout.place((jnp.zeros((64, 128)), jnp.zeros((16,))))
    assert [shard.data.shape for shard in large.addressable_shards] == [(64, 32)] * 4
    assert [shard.data.shape for shard in small_one.addressable_shards] == [(16,)] * 4


@pytest.mark.parametrize("kind", ["jit", "fsdp"])
def test_a_run_goes_on_with_another_number_of_devices(small, one_device_run, tmp_path, kind):
    """Begun on four, gone on with on two: the run of one, to rounding."""
    train, asked = pictures(160, 28, 1), iter(range(1, 100))
    options = {"num_classes": 10, "in_features": 1}
    for devices, steps in ((jax.devices()[:4], 7), (jax.devices()[1:3], 100)):
        model, rows = models.create("lenet5", rngs=nnx.Rngs(0), **options), []
        training.fit(
            model,
            train,
            train.take(10),
            CONFIG,
            layout=Layout(kind, devices=devices),
            folder=tmp_path,
            resume=True,
            observer=rows.append,
            should_stop=lambda steps=steps: next(asked) == steps,
        )
    expected, log = one_device_run("lenet5", train, CONFIG, jnp.float32)
    assert_near(small, (model, rows), (expected, log[7:]), 1e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "pmapp"}, "`kind` must be jit, fsdp or pmap; got 'pmapp'."),
        ({"model_devices": 3}, "`model_devices` must divide the 4 devices; got 3."),
        (
            {"kind": "pmap", "model_devices": 2},
            "`model_devices` must be 1 under pmap, which splits batches only; got 2.",
        ),
    ],
)
def test_what_cannot_be_laid_out_is_refused(options, told):
    with pytest.raises(ValueError) as caught:
        Layout(**options, devices=jax.devices()[:4])
    assert str(caught.value) == told


def test_a_batch_that_devices_cannot_share_is_refused(small):
    config = dataclasses.replace(CONFIG, batch_size=6)
    with pytest.raises(ValueError) as caught:
        training.fit(small.Linear(nnx.Rngs(0)), small.noise(20), None, config, layout=Layout(devices=jax.devices()[:4]))
    assert str(caught.value) == "`batch_size` must be a multiple of the 4 devices; got 6."


def test_the_default_device_is_used_alone():
    with jax.default_device(jax.devices()[2]):
        assert Layout().devices == [jax.devices()[2]]


def test_addresses_need_numbers():
    with pytest.raises(ValueError, match="`coordinator` must be given with"):
        training.initialize(None, 2, 0)
    with pytest.raises(ValueError, match="`processes` and `process` must be given"):
        training.initialize("localhost:1234")
    with pytest.raises(ValueError, match="`process` must be from 0 to 1; got 2."):
        training.initialize("localhost:1234", 2, 2)
