"""The product with a matrix: what the proofs of every op do not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import layers, ops

RANDOM = np.random.default_rng(0)
X, W, B, E = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 6), (6, 8), (8,), (4, 3, 8)))


def gradients(x, w, b, e, **options):
    return jax.vjp(lambda *a: ops.linear(*a, **options), x, w, b)[1](e)


def test_values_and_gradients_are_those_of_numpy():
    x, w, b, e = (array.astype(np.float64) for array in (X, W, B, E))
    np.testing.assert_allclose(ops.linear(X, W, B), x @ w + b, rtol=1e-5, atol=1e-5)
    expected = e @ w.T, np.einsum("abi,abo->io", x, e), e.sum((0, 1))
    for ours, wanted in zip(gradients(X, W, B, E), expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(6,), (0, 6), (2, 3, 2, 6)])
def test_any_number_of_leading_axes(shape):
    x, e = np.ones(shape, np.float32), np.ones((*shape[:-1], 8), np.float32)
    ours, plain = (gradients(x, W, B, e, rule=rule) for rule in ("hand", "autodiff"))
    for a, b in zip(ours, plain, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("element", [None, jnp.float32])
def test_16_bit_gradients_have_the_dtypes_of_their_arrays(element):
    x, w, b = (jnp.asarray(array, jnp.bfloat16) for array in (X, W, B))
    outputs = ops.linear(x, w, b, preferred_element_type=element)
    assert outputs.dtype == (element or jnp.bfloat16)
    ours, plain = (
        gradients(x, w, b, jnp.asarray(E, outputs.dtype), preferred_element_type=element, rule=rule)
        for rule in ("hand", "autodiff")
    )
    for a, c, array in zip(ours, plain, (x, w, b), strict=True):
        assert a.dtype == c.dtype == array.dtype
        np.testing.assert_allclose(np.float32(a), np.float32(c), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("spec", [(P("x"), P()), (P(), P(None, "x"))], ids=["examples", "columns"])
def test_on_an_explicit_mesh_gradients_lie_as_their_arrays(spec):
    mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x, w = (jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip((X, W), spec, strict=True))
        ours, plain = (
            jax.jit(jax.grad(lambda x, w, rule=rule: (ops.linear(x, w, rule=rule) ** 2).sum(), (0, 1)))(x, w)
            for rule in ("hand", "autodiff")
        )
        for a, b, array in zip(ours, plain, (x, w), strict=True):
            assert jax.typeof(a).sharding.spec == jax.typeof(array).sharding.spec
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_in_shard_map_the_kernel_s_gradient_is_summed():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,))

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=(P("x"), P(), P(), P("x")), out_specs=(P("x"), P(), P()))
    def shared(x, w, b, e):
        return gradients(x, w, b, e)

    for ours, wanted in zip(shared(X, W, B, E), gradients(X, W, B, E), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def test_what_nobody_wants_is_not_computed():
    """The gradient of the kernel alone has one product beside the forward one, which is dead."""
    text = jax.jit(jax.grad(lambda w: ops.linear(X, w).sum())).lower(W).compile().as_text()
    assert text.count(" dot(") <= 1


def test_the_layer_is_flax_s_with_our_rule():
    ours, theirs = layers.Linear(6, 8, rngs=nnx.Rngs(0)), nnx.Linear(6, 8, rngs=nnx.Rngs(0))
    nnx.update(theirs, nnx.state(ours))
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-6)
    assert "custom_vjp_call" in str(jax.make_jaxpr(ours)(X))
    plain = layers.Linear(6, 8, rule="autodiff", rngs=nnx.Rngs(0))
    assert "custom_vjp_call" not in str(jax.make_jaxpr(plain)(X))
    jax.jvp(plain, (X,), (X,))
    with pytest.raises(TypeError, match="the hand-written rule is for reverse mode"):
        jax.jvp(ours, (X,), (X,))
    other = layers.Linear(6, 8, dot_general=lambda *a, **k: 2 * jax.lax.dot_general(*a, **k), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(other(X), 2 * ours(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ((X, W[:5]), r"`inputs` (..., I) must fit `kernel` (I, O); got (4, 3, 6) and (5, 8)."),
        ((X, W[0]), r"must fit `kernel` (I, O); got (4, 3, 6) and (8,)."),
        ((X, W, B[:1]), r"`bias` must be (8,), one for each column of `kernel`; got (1,)."),
        ((X, W.astype(np.float16)), "must have the same dtype; got float32 and float16."),
        ((X.astype(int), W), "must be real floating; got"),
    ],
)
def test_what_does_not_fit_is_refused(arrays, told):
    with pytest.raises((ValueError, TypeError)) as error:
        ops.linear(*arrays)
    assert told in str(error.value)
