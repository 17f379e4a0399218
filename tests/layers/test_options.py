"""The same network with other options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models


@pytest.fixture
def model():
    return models.create("resnet20", widths=(4, 6, 8), num_classes=5, rngs=nnx.Rngs(0))


@pytest.fixture
def images(random):
    return jnp.asarray(random.normal(size=(2, 12, 12, 3)), jnp.float32)


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
