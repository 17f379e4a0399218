"""The options of layers and networks, and the same network with other ones."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models, ops


@pytest.fixture
def model():
    return models.create("resnet20", widths=(4, 6, 8), num_classes=5, rngs=nnx.Rngs(0))


@pytest.fixture
def images(random):
    return jnp.asarray(random.normal(size=(2, 12, 12, 3)), jnp.float32)


OTHERS = {
    "rule": "autodiff",
    "method": "lax",
    "dtype": jnp.bfloat16,
    "param_dtype": jnp.bfloat16,
    "precision": "highest",
}
LAYERS = {
    "Conv": lambda **options: layers.Conv(1, 2, (3, 3), rngs=nnx.Rngs(0), **options),
    "TableConv": lambda **options: layers.TableConv(1, [[0], [0]], (3, 3), rngs=nnx.Rngs(0), **options),
    "Linear": lambda **options: layers.Linear(2, 3, rngs=nnx.Rngs(0), **options),
    "BatchNorm": lambda **options: layers.BatchNorm(2, rngs=nnx.Rngs(0), **options),
    "PReLU": lambda **options: layers.PReLU(2, **options),
    "MaxPool": lambda **options: layers.MaxPool(2, **options),
    "AvgPool": lambda **options: layers.AvgPool(2, **options),
    "LocalResponseNorm": lambda **options: layers.LocalResponseNorm(**options),
}
BLOCKS = {
    "ConvUnit": lambda **options: layers.ConvUnit(2, 3, 3, rngs=nnx.Rngs(0), **options),
    "Inception": lambda **options: layers.Inception(2, [[(1, 2)]], projection=1, rngs=nnx.Rngs(0), **options),
    "ResidualBlock": lambda **options: layers.ResidualBlock(2, 3, 2, rngs=nnx.Rngs(0), **options),
    "PreActivationBlock": lambda **options: layers.PreActivationBlock(2, 3, 2, rngs=nnx.Rngs(0), **options),
    "ResNet": lambda **options: models.create("resnet20", widths=(2, 2, 2), rngs=nnx.Rngs(0), **options),
    "LeNet5Of1998": lambda **options: models.create("lenet5_1998", rngs=nnx.Rngs(0), **options),
    "GoogLeNet": lambda **options: models.create("googlenet", rngs=nnx.Rngs(0), **options),
}


def modules(model, kind):
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, kind)]


def test_the_copy_shares_the_variables(model):
    twin = models.with_options(model, rule="autodiff")
    assert type(twin) is type(model)
    model.head.kernel[...] += 1
    np.testing.assert_array_equal(twin.head.kernel[...], model.head.kernel[...])
    assert twin.head.kernel is model.head.kernel and twin.head is not model.head


def test_every_layer_gets_the_rule_and_the_model_stays(model):
    twin = models.with_options(model, rule="autodiff")
    kinds = (layers.Conv, layers.BatchNorm, layers.Activation)
    assert {module.rule for module in modules(twin, kinds)} == {"autodiff"} and twin.rule == "autodiff"
    assert {module.rule for module in modules(model, kinds)} == {"hand"}


def test_it_computes_the_same_and_is_compiled_anew(model, images):
    run = nnx.jit(lambda model, images: model(images))
    model.eval()
    expected = run(model, images)
    for options in ({"rule": "autodiff"}, {"method": "lax"}, {"precision": "highest"}, {"fuse": False}):
        twin = models.with_options(model, **options)
        np.testing.assert_allclose(run(twin, images), expected, rtol=1e-4, atol=1e-5)
        assert nnx.graphdef(twin) != nnx.graphdef(model)


def test_statistics_of_training_arrive_in_both(model, images):
    before = np.array(model.conv1.norm.mean[...])
    models.with_options(model, fuse=False)(images)
    assert not np.array_equal(before, model.conv1.norm.mean[...])


def test_a_method_goes_to_the_layers_that_have_it(model):
    twin = models.with_options(model, method="im2col")
    assert {module.method for module in modules(twin, layers.Conv)} == {"im2col"}
    assert {module.method for module in modules(twin, layers.BatchNorm)} == {"auto"}


def test_the_dtype_of_the_computation(model, images):
    twin = models.with_options(model, dtype="bfloat16")
    assert twin(images).dtype == jnp.bfloat16
    assert twin.head.kernel.dtype == jnp.float32


def test_fusion_is_part_of_the_key_of_jit(model, images):
    """A global switch would leave the second call with the program of the first."""

    @nnx.jit
    def run(model, images):
        programs.append(str(jax.make_jaxpr(lambda images: nnx.merge(*nnx.split(model), copy=True)(images))(images)))
        return model(images)

    programs: list[str] = []
    for network in (model, models.with_options(model, fuse=False), model):
        run(network, images)
    assert len(programs) == 2 and programs[0] != programs[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "guided"}, "`rule` must be one of 'hand', 'autodiff'; got 'guided'."),
        ({"method": "fast"}, "`method` must be one of .*; got 'fast'."),
        ({"fuse": 1}, "`fuse` must be True or False; got 1."),
        ({"dtype": "int32"}, "`dtype` must be real floating, or None; got 'int32'."),
        ({"precision": "foo"}, "foo"),
        ({"padding": 1}, "`option` must be one of 'rule', 'method', 'dtype', 'precision', 'fuse'; got 'padding'."),
    ],
)
def test_what_does_not_exist_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        models.with_options(model, **options)


def test_a_module_without_the_option_is_refused():
    with pytest.raises(ValueError, match="`model` must have a layer that takes `rule` 'autodiff'; got Linear"):
        models.with_options(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), rule="autodiff")
    with pytest.raises(TypeError, match="`model` must be a module; got function."):
        models.with_options(lambda x: x, rule="autodiff")


def test_what_only_has_the_name_of_an_option_stays():
    class Own(nnx.Module):
        def __init__(self):
            self.fuse, self.conv = nnx.Param(jnp.ones(())), layers.Conv(1, 2, (3, 3), rngs=nnx.Rngs(0))
            self.activation = layers.Activation()

        dtype = property(lambda self: jnp.float32)

    model = Own()
    twin = models.with_options(models.with_options(model, fuse=False), dtype=jnp.bfloat16)
    assert twin.fuse is model.fuse and not twin.activation.fuse and twin.conv.dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_takes_single_options_or_all(kind):
    make = LAYERS[kind]
    single = {name: value for name, value in OTHERS.items() if hasattr(make(), name)}
    single |= {"method": "jax"} if kind in ("BatchNorm", "MaxPool") else {}
    layer = make(**single)
    assert nnx.graphdef(layer) == nnx.graphdef(make(options=layers.Options(**single))) != nnx.graphdef(make())
    assert {name: getattr(layer, name) for name in single} == single
    for name in single.keys() - {"param_dtype"}:
        value = single[name]
        assert getattr(models.with_options(make(), **{name: value}), name) == value
    for name in OTHERS.keys() - single.keys():
        with pytest.raises(TypeError, match=name):
            make(**{name: OTHERS[name]})
        with pytest.raises(ValueError, match="must have a layer|must be one of"):
            models.with_options(make(), **{name: OTHERS[name]})


@pytest.mark.parametrize("kind", BLOCKS)
def test_all_layers_of_a_block_hold_the_same_options(kind):
    options = layers.Options(**OTHERS)
    for block in (BLOCKS[kind](options=options), BLOCKS[kind](**OTHERS)):
        held = [module.options for _, module in nnx.iter_modules(block) if hasattr(module, "options")]
        assert len(held) > 1 and set(held) == {options}
        assert {module.rule for module in modules(block, layers.Activation)} <= {"autodiff"}
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(nnx.state(block, nnx.Param))}
        assert dtypes == {jnp.dtype(jnp.bfloat16)}


def test_options_that_are_equal_are_one_key():
    one, other = layers.Options(dtype="float32", precision=["high", "high"]), layers.Options(dtype=jnp.float32)
    assert hash(one) and one != other and layers.Options(dtype="float32") == other
    assert hash(layers.Options(dtype="float32")) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_network_computes_in_the_dtype_of_its_parameters(model):
    assert model.options == layers.Options(dtype=jnp.float32)
    twin = models.with_options(model, dtype=jnp.bfloat16, method="im2col")
    assert twin.options == layers.Options(dtype=jnp.bfloat16, method="im2col")
    assert model.options == layers.Options(dtype=jnp.float32)


def test_a_layer_of_ones_own_gets_the_options_that_it_holds(images):
    class Own(nnx.Module):
        def __init__(self, options):
            self.options = options

        def __call__(self, x):
            return ops.relu(x, rule=self.options.rule)

    twin = models.with_options(Own(layers.Options()), rule="autodiff")
    assert jnp.any(jax.jvp(twin, (images,), (images,))[1])


def test_an_attribute_changes_the_options(model):
    model.set_attributes(layers.Conv, method="loops")
    model.set_attributes(rule="autodiff")
    assert {module.options.method for module in modules(model, layers.Conv)} == {"loops"}
    assert {module.options.rule for module in modules(model, layers.Conv | models.Network)} == {"autodiff"}
    with pytest.raises(ValueError, match="`rule` must be one of 'hand', 'autodiff'; got 'guided'."):
        model.conv1.conv.rule = "guided"


@pytest.mark.parametrize("make", [BLOCKS["ConvUnit"], BLOCKS["ResNet"], layers.Options], ids=["unit", "model", "bare"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "guided"}, "`rule` must be one of 'hand', 'autodiff'; got 'guided'."),
        ({"method": "fast"}, "`method` must be one of .*; got 'fast'."),
        ({"dtype": jnp.int32}, "`dtype` must be real floating, or None; got"),
        ({"dtype": "float33"}, "`dtype` must be real floating, or None; got 'float33'."),
        ({"param_dtype": None}, "`param_dtype` must be real floating; got None."),
        ({"precision": "foo"}, "foo"),
    ],
)
def test_an_unknown_value_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_a_wrong_argument_is_refused():
    unit = BLOCKS["ConvUnit"]
    with pytest.raises(ValueError, match="`options` must be given without rule and dtype; got both."):
        unit(options=layers.Options(), rule="autodiff", dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="`options` must be a `layers.Options`; got 1."):
        unit(options=1)
    with pytest.raises(TypeError, match="must be one of the layer's own or of rule, .*; got `kernal_init`."):
        unit(kernal_init=None)
    for kind in ("MaxPool", "BatchNorm"):
        with pytest.raises(ValueError, match="`method` must be one of 'auto', 'jax', 'native'; got 'im2col'."):
            LAYERS[kind](method="im2col")
