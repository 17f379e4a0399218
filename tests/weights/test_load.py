"""What `load` matches, reports and refuses; `save`, `open_model` and a run's folder."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, layers, models, training, weights
from jaxcnn.weights import files
from jaxcnn.weights.schemes import entries, leaves

THIN = {"widths": [2, 2, 4]}


@pytest.fixture
def thin(drawn):
    """`thin(num_classes=7)`: a ResNet-20 of few channels."""
    return lambda num_classes=7, seed=0, **options: drawn(
        "resnet20", seed, num_classes=num_classes, options=THIN | options
    )


def same(one, other):
    one, other = leaves(one), leaves(other)
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_network_is_built_again_from_its_file(suffix, thin, tmp_path):
    model = thin()
    config = {"name": "resnet20", "num_classes": 7, "options": THIN, "classes": list("abcdefg")}
    file = weights.save(model, tmp_path / f"w{suffix}", config=config)
    opened, told = weights.open_model(file)
    assert told == config and same(model, opened)
    assert opened.conv1.norm.use_running_average, "it is in evaluation mode"
    forward, _ = weights.open_model(file, rule="autodiff")
    assert same(model, forward)
    images = jnp.ones((1, 8, 8, 3))
    assert jax.jvp(forward, (images,), (images,))[1].shape == (1, 7)


@pytest.mark.parametrize("kind", [layers.Conv, nnx.Conv])
def test_a_masked_convolution_is_saved_and_loaded(kind, tmp_path, random):
    mask = np.arange(3 * 2 * 4).reshape(3, 2, 4) % 2 == 0
    saved, loaded = (kind(2, 4, 3, mask=mask, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    weights.load(loaded, weights.save(saved, tmp_path / "w.safetensors"))
    x = jnp.asarray(random.normal(size=(2, 5, 2)), jnp.float32)
    with jax.numpy_dtype_promotion("standard"):  # Flax multiplies by booleans
        np.testing.assert_array_equal(loaded(x), saved(x))


def test_the_metadata_is_json_that_any_reader_sees(thin, tmp_path):
    from safetensors import safe_open

    config = {"name": "resnet20", "num_classes": 7, "options": THIN}
    with safe_open(weights.save(thin(), tmp_path / "w.safetensors", config=config), "np") as file:
        metadata = file.metadata()
        assert "conv1/conv/kernel" in set(file.keys())
    assert json.loads(metadata["jaxcnn"]) == config and metadata["format"] == "flax"


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "c3d",
        "lecun1989",
        "lenet5",
        "lenet5_1998",
        "mlp",
        "plain20",
        "prelu_net",
        "resnet18",
        "tdnn",
        "vgg11_bn",
    ],
)
def test_every_scheme_that_knows_a_network_names_each_weight_once(name):
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0)))
    known = [scheme for scheme in weights.SCHEMES if entries(model, scheme) is not None]
    assert "jaxcnn" in known and ("pytorch" in known) == (name != "prelu_net")
    for scheme in known:
        found = entries(model, scheme)
        assert {entry.path for entry in found} == set(leaves(model))
        names = [entry.name for entry in found] + [entry.less for entry in found if entry.less]
        assert len(names) == len(set(names))


def test_layouts_are_undone_by_their_reverse(random):
    from jaxcnn.weights import layouts

    for layout, shape in [
        (layouts.CONV, (3, 2, 4, 5)),
        (layouts.CONV, (3, 4, 5)),
        (layouts.CONV, (2, 3, 4, 5, 6)),
        (layouts.DENSE, (4, 5)),
        (layouts.flattened((2, 3)), (24, 5)),
        (layouts.flattened((2, 3, 4)), (48, 5)),
    ]:
        ours = random.normal(size=shape)
        theirs = layout.write(ours)
        assert theirs.shape == layout.shape(shape)
        np.testing.assert_array_equal(layout.read(theirs), ours)


def test_another_head_is_refused_unless_asked_for(thin, tmp_path):
    file = weights.save(thin(10), tmp_path / "ten.safetensors")
    model, untouched = thin(7, seed=1), thin(7, seed=1)
    with pytest.raises(ValueError) as caught:
        weights.load(model, file)
    assert str(caught.value) == (
        f"{file} must match the CifarResNet in every weight, unless strict=False; "
        "of wrong shape: head/bias (10,) for (7,), head/kernel (4, 10) for (4, 7)."
    )
    assert same(model, untouched)
    report = weights.load(model, file, strict=False)
    assert [name for name, *_ in report.wrong_shape] == ["head/bias", "head/kernel"] and not report.complete
    assert len(report.matched) == len(leaves(model)) - 2
    np.testing.assert_array_equal(model.conv1.conv.kernel[...], thin(10).conv1.conv.kernel[...])
    np.testing.assert_array_equal(model.head.kernel[...], untouched.head.kernel[...])


@pytest.mark.parametrize("name", ["neck.weight", "head.scale", "conv1.conv.running_mean", "tracked"])
def test_a_weight_that_the_network_does_not_know_is_never_dropped_in_silence(thin, tmp_path, name):
    model = thin()
    np.savez(tmp_path / "w.npz", **weights.to_torch(model, "pytorch"), **{name: np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=f"must match the CifarResNet in every .*; unexpected: {name}\\.$"):
        weights.load(model, tmp_path / "w.npz")
    report = weights.load(model, tmp_path / "w.npz", strict=False)
    assert report.unexpected == (name,) and not report.missing


def test_the_report_is_a_table_of_every_weight(thin, tmp_path):
    arrays = weights.to_torch(thin(10), "torchvision")
    del arrays["bn1.bias"]
    np.savez(tmp_path / "w.npz", **arrays, extra=np.zeros(2))
    report = weights.load(thin(7), tmp_path / "w.npz", strict=False)
    assert (report.scheme, report.missing, report.unexpected) == ("torchvision", ("bn1.bias",), ("extra",))
    first, *lines = str(report).splitlines()
    count = len(report.matched)
    assert first.endswith(f": {count} matched, 1 missing, 1 unexpected, 2 of wrong shape")
    assert lines[0].split() == ["matched", report.matched[0][0], report.matched[0][1]]
    assert len(lines) == count + 4 and "wrong shape  fc.weight" in str(report)
    with pytest.raises(ValueError, match=r"missing: bn1.bias; unexpected: extra; of wrong shape: fc.bias \(10,\) for"):
        weights.load(thin(7), tmp_path / "w.npz")


def test_many_problems_are_named_by_the_first_few(thin, tmp_path):
    file = weights.save(thin(), tmp_path / "w.npz", scheme="torchvision")
    with pytest.raises(ValueError, match=r"unexpected: (\S+, ){2}\S+ and \d+ more\.$"):
        weights.load(_shallow(thin), file)


def _shallow(thin):
    """The same network with a block less in its last stage."""
    model = thin()
    model.blocks[2] = nnx.List(list(model.blocks[2])[:2])
    return model


def test_weights_of_another_network_share_no_name(thin, drawn, tmp_path):
    file = weights.save(drawn("lenet5"), tmp_path / "w.npz", scheme="pytorch")
    mlp = drawn("mlp", options={"hidden": [3]})
    arrays = {f"other_{name}": array for name, array in weights.to_torch(mlp, "jaxcnn").items()}
    np.savez(file, **arrays)
    for strict in (True, False):
        with pytest.raises(
            ValueError, match="w.npz must hold weights of a MLP; none of its 4 names is a name of that network"
        ):
            weights.load(mlp, file, strict=strict)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_real_dtypes_become_that_of_the_network(dtype, drawn, tmp_path):
    model = drawn("mlp", options={"hidden": [3]})
    from safetensors.numpy import save_file

    arrays = {name: array.astype(jnp.dtype(dtype)) for name, array in weights.to_torch(model, "jaxcnn").items()}
    save_file(arrays, tmp_path / "w.safetensors")
    weights.load(model, tmp_path / "w.safetensors")
    for path, leaf in leaves(model).items():
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf, arrays[path].astype(np.float32))


def test_arrays_come_as_they_are_and_in_one_order(tmp_path):
    """Their order decides which of several wrong arrays an error names."""
    from safetensors.numpy import save_file

    arrays = {
        name: np.full(2, 1 / 3, dtype) for name, dtype in zip("gbdhacfe", ["float64", "float16"] * 4, strict=True)
    }
    save_file(arrays | {"i": np.array([2**40])}, tmp_path / "w.safetensors")
    found = files.read(tmp_path / "w.safetensors").arrays
    assert list(found) == list("abcdefghi")
    assert found["g"].dtype == np.float64 and found["g"][0] == 1 / 3 and found["i"] == 2**40


def test_a_network_in_bfloat16_is_kept_in_every_format(drawn, tmp_path):
    options = {"hidden": [3], "param_dtype": "bfloat16"}
    model = drawn("mlp", options=options)
    for suffix in (".safetensors", ".npz"):
        file = weights.save(model, tmp_path / f"w{suffix}", config={"name": "mlp", "options": options})
        opened, _ = weights.open_model(file)
        assert opened.head.kernel.dtype == jnp.bfloat16 and same(model, opened)


def test_random_streams_are_those_asked_for(drawn, tmp_path):
    config = {"name": "alexnet", "options": {"image_size": [67, 67], "widths": [2] * 5, "hidden": [2, 2]}}
    file = weights.save(drawn(**config), tmp_path / "w.npz", config=config)
    keys = [weights.open_model(file, rngs=nnx.Rngs(dropout=seed))[0].dropout.rngs.key[...] for seed in (0, 0, 1)]
    one, again, other = (jax.random.key_data(key).tolist() for key in keys)
    assert one == again != other


def test_a_vgg_s_biases_before_normalization_go_into_its_means(drawn, tmp_path, random):
    config = {"num_classes": 3, "options": {"image_size": [32, 32], "widths": [2] * 5, "hidden": 2}}
    model = drawn("vgg11_bn", **config)
    arrays = weights.to_torch(model)
    bias, mean = random.normal(size=(2, 2)).astype(np.float32)
    assert not arrays["features.0.bias"].any()
    np.savez(tmp_path / "w.npz", **arrays | {"features.0.bias": bias, "features.1.running_mean": mean})
    weights.load(model, tmp_path / "w.npz")
    np.testing.assert_array_equal(model.blocks[0][0].norm.mean[...], mean - bias)


def test_save_refuses_a_configuration_of_another_network(thin, tmp_path):
    with pytest.raises(
        ValueError, match=r"`config` must build the network that is saved; head/bias is \(7,\) in the network"
    ):
        weights.save(thin(7), tmp_path / "w.npz", config={"name": "resnet20", "num_classes": 9, "options": THIN})
    with pytest.raises(ValueError, match="`scheme` 'flax' must have names for the network; it has none for a CifarRes"):
        weights.save(thin(7), tmp_path / "w.npz", scheme="flax")
    with pytest.raises(ValueError, match="`scheme` must be one of jaxcnn, .*; got 'keras'"):
        weights.save(thin(7), tmp_path / "w.npz", scheme="keras")
    with pytest.raises(ValueError, match="w.h5 must be a run folder or end in .safetensors, .npz"):
        weights.save(thin(7), tmp_path / "w.h5")
    assert not list(tmp_path.iterdir())


def test_a_run_s_folder_is_loaded_as_any_file(tmp_path, random):
    images = random.integers(0, 255, (16, 4, 4, 1)).astype(np.uint8)
    train = data.Dataset(images, np.arange(16, dtype=np.int32) % 3, ("a", "b", "c"), "noise", "train")
    options = {"image_size": (4, 4), "hidden": (5,)}
    model = models.create("mlp", num_classes=3, rngs=nnx.Rngs(0), **options)
    config = training.TrainConfig(epochs=1, batch_size=8)
    details = {"model": {"name": "mlp", "options": {"hidden": (5,)}}}
    training.fit(model, train, config=config, folder=tmp_path / "run", details=details, observer=None)

    opened, told = weights.open_model(tmp_path / "run")
    assert same(opened, model)
    assert (told["name"], told["classes"], told["image_shape"]) == ("mlp", ["a", "b", "c"], [4, 4, 1])
    other = models.create("mlp", num_classes=2, rngs=nnx.Rngs(1), **options)
    report = weights.load(other, tmp_path / "run", strict=False)
    assert [name for name, *_ in report.wrong_shape] == ["head/bias", "head/kernel"]
    np.testing.assert_array_equal(other.dense[0].kernel[...], model.dense[0].kernel[...])
    file = weights.save(opened, tmp_path / "w.npz", config=told)
    assert weights.open_model(file)[1]["scaling"] == told["scaling"]
