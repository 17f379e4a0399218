"""`layers.Conv` against `flax.nnx.Conv`: parameters, outputs and gradients, exactly.

Inputs, parameters and errors are small integers, so that every sum is exact whatever its order, also in bfloat16.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, ops

SIZES = {1: (9,), 2: (7, 6), 3: (5, 6, 4)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 1)}


def small_integers(random, shape, dtype=np.float32):
    return jnp.asarray(random.integers(-1, 2, shape), dtype)


def integer_parameters(random, *models):
    """Gives all models the same parameters, small integers."""
    shapes = nnx.state(models[0], nnx.Param)
    values = jax.tree.map(lambda leaf: small_integers(random, leaf.shape, leaf.dtype), shapes)
    for model in models:
        nnx.update(model, values)


def values_and_gradients(random, models, inputs):
    """For each model: its output, and the gradients of parameters and inputs under one random error."""
    error = small_integers(random, jax.eval_shape(models[0], inputs).shape)

    @jax.jit
    def run(states, inputs):
        results = []
        for graph, state in zip(graphs, states, strict=True):
            output, back = jax.vjp(lambda s, x, graph=graph: nnx.merge(graph, s)(x), state, inputs)
            results.append((output, *back(error.astype(output.dtype))))
        return results

    graphs, states = zip(*map(nnx.split, models), strict=True)
    return run(states, inputs)


def assert_equal_everywhere(results):
    first, *others = results
    for other in others:
        assert jax.tree.structure(first) == jax.tree.structure(other)
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    assert all(np.abs(leaf).sum() > 0 for leaf in jax.tree.leaves(first)), "a comparison of zeros proves nothing"


def compare(random, *, inputs_shape, kernel, channels=4, outputs=6, input_dtype=np.float32, **options):
    ours = layers.Conv(channels, outputs, kernel, rngs=nnx.Rngs(0), **options)
    flax = nnx.Conv(channels, outputs, kernel, rngs=nnx.Rngs(0), **options)
    integer_parameters(random, ours, flax)
    results = values_and_gradients(random, (ours, flax), small_integers(random, inputs_shape, input_dtype))
    assert_equal_everywhere(results)
    return results[0]


@pytest.mark.parametrize(("strides", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), ((2, 3), (2, 1), 2)], ids=str)
@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, (2, 0), ((1, 0), (0, 2)), "CIRCULAR", "REFLECT"], ids=str)
def test_two_axes_equal_flax(random, padding, strides, dilation, groups):
    compare(
        random,
        inputs_shape=(2, *SIZES[2], 4),
        kernel=KERNELS[2],
        padding=padding,
        strides=strides,
        kernel_dilation=dilation,
        feature_group_count=groups,
    )


@pytest.mark.parametrize(("strides", "dilation", "groups"), [(1, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", 2, ((1, 0),), "CIRCULAR", "REFLECT", "CAUSAL"], ids=str)
def test_one_axis_equals_flax(random, padding, strides, dilation, groups):
    compare(
        random,
        inputs_shape=(2, *SIZES[1], 4),
        kernel=KERNELS[1],
        padding=padding,
        strides=strides,
        kernel_dilation=dilation,
        feature_group_count=groups,
    )


@pytest.mark.parametrize(("strides", "dilation", "groups"), [((2, 1, 3), (1, 2, 1), 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (0, 1), (2, 2)), "CIRCULAR", "REFLECT"], ids=str)
def test_three_axes_equal_flax(random, padding, strides, dilation, groups):
    compare(
        random,
        inputs_shape=(2, *SIZES[3], 4),
        kernel=KERNELS[3],
        padding=padding,
        strides=strides,
        kernel_dilation=dilation,
        feature_group_count=groups,
    )


def test_a_dilated_input_equals_flax(random):
    compare(random, inputs_shape=(2, 5, 4, 4), kernel=(3, 2), padding=((2, 1), (1, 1)), input_dilation=(2, 3))


@pytest.mark.parametrize(
    ("rank", "padding", "batch"),
    [
        (1, "SAME", ()),
        (1, "CIRCULAR", (2, 3)),
        (2, "SAME", (2, 1, 3)),
        (2, "REFLECT", ()),
        (2, "VALID", (1,)),
        (3, "SAME", (2, 2)),
    ],
    ids=str,
)
def test_any_batch_axes_equal_flax(random, rank, padding, batch):
    output, *_ = compare(random, inputs_shape=(*batch, *SIZES[rank], 4), kernel=KERNELS[rank], padding=padding)
    assert output.shape[: len(batch)] == batch and output.ndim == len(batch) + rank + 1


@pytest.mark.parametrize(("padding", "use_bias"), [("VALID", True), ("CIRCULAR", False)])
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "input_dtype"),
    [
        (jnp.bfloat16, jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.float32, jnp.bfloat16),
        (jnp.float32, jnp.float32, jnp.bfloat16),
        (None, jnp.bfloat16, jnp.bfloat16),
    ],
    ids=lambda dtype: "none" if dtype is None else np.dtype(dtype).name,
)
def test_dtypes_equal_flax(random, dtype, param_dtype, input_dtype, padding, use_bias):
    output, gradients, input_gradient = compare(
        random,
        inputs_shape=(2, *SIZES[2], 4),
        kernel=KERNELS[2],
        padding=padding,
        dtype=dtype,
        param_dtype=param_dtype,
        input_dtype=input_dtype,
        use_bias=use_bias,
    )
    assert output.dtype == (dtype or param_dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype(param_dtype)}
    assert input_gradient.dtype == input_dtype


def test_preferred_element_type_equals_flax(random):
    output, *_ = compare(
        random,
        inputs_shape=(2, *SIZES[2], 4),
        kernel=KERNELS[2],
        param_dtype=jnp.bfloat16,
        input_dtype=jnp.bfloat16,
        preferred_element_type=jnp.float32,
        use_bias=False,
    )
    assert output.dtype == jnp.float32


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kernel", [3, (3,), (3, 2), (2, 1, 3)], ids=str)
def test_the_same_streams_give_flax_s_parameters(kernel, use_bias):
    options = {"feature_group_count": 2, "use_bias": use_bias}
    pairs = [(kind(4, 6, kernel, rngs=nnx.Rngs(3), **options)) for kind in (layers.Conv, nnx.Conv)]
    ours, flax = (nnx.to_pure_dict(nnx.state(model, nnx.Param)) for model in pairs)
    assert ours.keys() == flax.keys() == ({"kernel", "bias"} if use_bias else {"kernel"})
    for name in ours:
        np.testing.assert_array_equal(ours[name], flax[name], strict=True)


def test_initializers_are_used():
    options = {"kernel_init": nnx.initializers.constant(2.0), "bias_init": nnx.initializers.constant(3.0)}
    layer = layers.Conv(2, 3, (1, 1), rngs=nnx.Rngs(0), **options)
    np.testing.assert_array_equal(layer(jnp.ones((1, 2, 2, 2))), np.full((1, 2, 2, 3), 7.0))


@pytest.mark.parametrize(
    "options",
    [
        {"padding": [(1, 0), (0, 1)], "strides": [2, 1]},
        {"padding": [1, 2], "kernel_dilation": [1, 2]},
        {"padding": [[1, 1], [0, 2]], "input_dilation": [2, 1]},
    ],
    ids=str,
)
def test_lists_mean_what_tuples_mean(random, options):
    def as_tuples(value):
        return tuple(map(as_tuples, value)) if isinstance(value, list) else value

    with_lists = layers.Conv(4, 6, [3, 2], rngs=nnx.Rngs(0), **options)
    tuples = {name: as_tuples(value) for name, value in options.items()}
    with_tuples = layers.Conv(4, 6, (3, 2), rngs=nnx.Rngs(0), **tuples)
    integer_parameters(random, with_lists, with_tuples)
    inputs = small_integers(random, (2, *SIZES[2], 4))
    assert_equal_everywhere(values_and_gradients(random, (with_lists, with_tuples), inputs))
    hash(nnx.graphdef(with_lists))


@pytest.mark.parametrize("options", [{}, {"padding": "VALID", "strides": 2}, {"padding": 1, "feature_group_count": 2}])
def test_flax_s_layer_takes_the_hand_rule(random, options):
    kernel, arguments = KERNELS[2], {"rngs": nnx.Rngs(0), **options}
    stock = nnx.Conv(4, 6, kernel, **arguments)
    ours = nnx.Conv(4, 6, kernel, conv_general_dilated=ops.conv_general_dilated, **arguments)
    integer_parameters(random, stock, ours)
    inputs = small_integers(random, (2, *SIZES[2], 4))
    assert_equal_everywhere(values_and_gradients(random, (ours, stock), inputs))
    assert "custom_vjp" in str(jax.make_jaxpr(ours)(inputs))
    assert "custom_vjp" not in str(jax.make_jaxpr(stock)(inputs))


@pytest.mark.parametrize(("rule", "method"), [("hand", "im2col"), ("hand", "loops"), ("autodiff", "lax")])
def test_every_rule_and_method_computes_the_same(random, rule, method):
    chosen, default = (
        layers.Conv(4, 6, (3, 2), strides=2, padding="LECTURE", flip_kernel=True, rngs=nnx.Rngs(0), **options)
        for options in ({"rule": rule, "method": method}, {})
    )
    integer_parameters(random, chosen, default)
    inputs = small_integers(random, (2, *SIZES[2], 4))
    assert_equal_everywhere(values_and_gradients(random, (chosen, default), inputs))


def test_a_flipped_kernel_is_the_kernel_read_backwards(random):
    plain, flipped = (layers.Conv(4, 6, (3, 2), flip_kernel=flip, rngs=nnx.Rngs(0)) for flip in (False, True))
    flipped.kernel[...] = plain.kernel[...][::-1, ::-1]
    inputs = jnp.asarray(random.normal(size=(2, 7, 6, 4)), jnp.float32)
    np.testing.assert_allclose(flipped(inputs), plain(inputs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 6, (3, 3)), {"padding": "CAUSAL"}, "`padding` 'CAUSAL' needs one spatial axis; got 2."),
        ((4, 6, (3, 3)), {"feature_group_count": 3}, "must divide the 4 input channels and 6 outputs; got 3."),
        ((4, 6, (3, 3)), {"feature_group_count": 0}, "`feature_group_count` must be positive; got 0."),
        ((4, 6, (3, 0)), {}, "`kernel_size` must be positive; got (3, 0)."),
        ((4, 6, (3, 3)), {"strides": 0}, "`strides` must be positive; got 0."),
        ((4, 6, (3, 3)), {"strides": (1, 1, 1)}, "`strides` must have one entry per spatial axis, here 2"),
        ((4, 6, 3), {"kernel_dilation": (1, 1)}, "`kernel_dilation` must have one entry per spatial axis, here 1"),
    ],
    ids=str,
)
def test_a_layer_that_cannot_be_is_refused(arguments, options, message):
    with pytest.raises(ValueError) as caught:
        layers.Conv(*arguments, rngs=nnx.Rngs(0), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (1, 8, 8, 3), "3"),
        ({}, (8, 4), "`kernel` must have as many axes as `inputs`"),
        ({"padding": "SOME"}, (1, 8, 8, 4), "'SOME'"),
        ({"padding": "VALID"}, (1, 2, 8, 4), "the window must fit into the padded input"),
    ],
    ids=str,
)
def test_inputs_that_do_not_fit_are_refused(options, shape, message):
    layer = layers.Conv(4, 6, (3, 3), rngs=nnx.Rngs(0), **options)
    with pytest.raises(ValueError) as caught:
        layer(jnp.zeros(shape))
    assert message in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_layer_trains_inside_nnx_transforms(random):
    layer = layers.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0))
    inputs = small_integers(random, (4, 6, 6, 1))

    @nnx.jit
    def descend(layer):
        loss, gradient = nnx.value_and_grad(lambda layer: jnp.mean((layer(inputs) - inputs) ** 2))(layer)
        nnx.update(layer, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(layer, nnx.Param), gradient))
        return loss

    losses = [float(descend(layer)) for _ in range(30)]
    assert losses[-1] < 0.05 * losses[0]
