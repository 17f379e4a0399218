"""What `by_hand` leaves as it was: arguments, results, effects, names, and functions in which it finds nothing."""

import enum
import functools
import gc
import weakref

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxcnn import by_hand
from jaxcnn.by_hand import jaxprs

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)


def convolve(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME")


def traces(function):
    """The function, and the list that grows with each of its traces."""
    seen = []

    @functools.wraps(function)
    def counted(*args, **kwargs):
        seen.append(1)
        return function(*args, **kwargs)

    return counted, seen


def same_program(function, *arguments):
    found, expected = (jax.jit(f).lower(*arguments).as_text() for f in (by_hand(function), function))
    return found == expected


def test_where_nothing_is_found_the_program_is_the_same():
    @jax.jit
    def inner(x):
        return jnp.tanh(x)

    def function(x, scale):
        with jax.named_scope("scope"):
            return lax.scan(lambda c, x: (c + inner(x), c * scale), x[0], x)

    assert same_program(function, IMAGE, 2.0)
    assert by_hand.report(function, IMAGE, 2.0).replacements == ()


def test_what_is_rewritten_keeps_names_and_donations():
    @functools.partial(jax.jit, donate_argnums=0)
    def update(x, w):
        return x + convolve(x, w)

    def function(x, w):
        with jax.named_scope("stem"):
            return update(x, w)

    jaxpr = jax.make_jaxpr(by_hand(function, rule="hand"))(IMAGE, KERNEL[:3])
    (call,) = jaxpr.eqns
    assert call.params["name"] == "update" and call.params["donated_invars"] == (True, False)
    assert str(call.source_info.name_stack) == "stem"
    assert "conv_by_hand" in str(jaxpr)


def test_donated_arguments():
    @functools.partial(jax.jit, donate_argnums=0)
    def step(w, x):
        return w - 0.1 * jax.grad(lambda w: by_hand(convolve, rule="hand")(x, w).sum())(w)

    w = jnp.asarray(KERNEL)
    expected = KERNEL - 0.1 * jax.grad(lambda w: convolve(IMAGE, w).sum())(KERNEL)
    np.testing.assert_allclose(step(w, IMAGE), expected, rtol=1e-5)
    assert w.is_deleted()


class Mode(enum.Enum):
    TRAIN = 1


def test_what_is_no_array_stays_what_it_is():
    def function(x, flag, *, count, scale, name, mode, act, table):
        assert flag is True and type(count) is int and type(scale) is float and name == "x" and mode is Mode.TRAIN
        assert table == {"a": None, "b": (1, "c")}
        y = act(x) * scale if flag else None
        return {"y": y, "count": count + 1, "name": name, "none": None, "numpy": np.arange(3), "float": 2.5}

    options = {
        "count": 2,
        "scale": 0.5,
        "name": "x",
        "mode": Mode.TRAIN,
        "act": jnp.tanh,
        "table": {"a": None, "b": (1, "c")},
    }
    found, expected = (f(IMAGE, True, **options) for f in (by_hand(function), function))
    assert found.keys() == expected.keys() and found["count"] == 3 and type(found["count"]) is int
    assert type(found["float"]) is float and type(found["numpy"]) is np.ndarray and found["none"] is None
    np.testing.assert_array_equal(found["y"], expected["y"])


def test_a_scalar_of_python_is_returned_as_one():
    assert by_hand(lambda x: 3)(IMAGE) == 3 and type(by_hand(lambda x: 3)(IMAGE)) is int
    (_, rate), _ = jax.value_and_grad(by_hand(lambda w: (convolve(IMAGE, w).sum(), 0.5)), has_aux=True)(KERNEL)
    assert rate == 0.5 and type(rate) is float


def test_random_keys_and_auxiliary_outputs():
    def function(w, key):
        noise = jax.random.normal(key, w.shape)
        maps = convolve(IMAGE, w + noise)
        return maps.sum(), {"maps": maps, "key": jax.random.split(key)}

    key = jax.random.key(3)
    found = jax.value_and_grad(by_hand(function, rule="hand"), has_aux=True)(KERNEL, key)
    expected = jax.value_and_grad(function, has_aux=True)(KERNEL, key)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(theirs.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_as_a_decorator_and_for_methods():
    @by_hand
    def plain(x, w):
        """Doc."""
        return convolve(x, w)

    @by_hand(rules={"conv": "hand"})
    def with_rules(x, w):
        return convolve(x, w)

    class Network:
        def __init__(self, w):
            self.w = w

        @by_hand(rule="hand")
        def __call__(self, x):
            return convolve(x, self.w)

    assert plain.__name__ == "plain" and plain.__doc__ == "Doc."
    network, expected = Network(KERNEL), convolve(IMAGE, KERNEL)
    for found in (plain(IMAGE, KERNEL), with_rules(IMAGE, KERNEL), network(IMAGE), by_hand(network)(IMAGE)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    network.w = 2 * KERNEL  # an object that is no pytree is read anew
    np.testing.assert_allclose(network(IMAGE), 2 * expected, rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda w: Network(w)(IMAGE).sum())(KERNEL)
    np.testing.assert_allclose(gradient, jax.grad(lambda w: convolve(IMAGE, w).sum())(KERNEL), rtol=1e-5)


def test_a_function_is_traced_once_for_arguments_of_one_kind():
    function, seen = traces(lambda x, w, scale=1.0: scale * convolve(x, w))
    fast = by_hand(function)
    for image in (IMAGE, IMAGE + 1):
        fast(image, KERNEL)
    assert len(seen) == 1
    fast(IMAGE[:1], KERNEL)  # another shape
    fast(IMAGE, KERNEL, scale=2.0)  # another constant
    assert len(seen) == 3
    with jax.enable_x64(True):
        assert fast(IMAGE.astype(np.float64), KERNEL.astype(np.float64)).dtype == np.float64
    np.testing.assert_array_equal(fast(IMAGE, KERNEL, scale=2.0), 2 * fast(IMAGE, KERNEL))
    assert len(seen) == 4


def test_what_a_function_closes_over_may_be_traced():
    """The same function object again, while what it reads is of another transformation each time."""
    held = {}

    @by_hand(rule="hand")
    def loss(x):
        return convolve(x, held["w"]).sum()

    def outer(w):
        held["w"] = w
        return loss(IMAGE)

    for factor in (1, 2):
        expected = jax.grad(lambda w: convolve(IMAGE, w).sum())(factor * KERNEL)
        np.testing.assert_allclose(jax.grad(outer)(factor * KERNEL), expected, rtol=1e-5)
    found = jax.vmap(outer)(np.stack([KERNEL, 2 * KERNEL]))
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)


def test_effects_are_kept(capfd):
    seen = []

    def function(x, w):
        jax.debug.print("mean {m:.1f}", m=x.mean(), ordered=True)
        jax.debug.callback(lambda value: seen.append(float(value)), w.sum(), ordered=True)
        doubled = jax.pure_callback(lambda v: 2 * v, jax.ShapeDtypeStruct((), np.float32), x.sum())
        return convolve(x, w).sum() + doubled

    for run in (by_hand(function, rule="hand"), jax.jit(by_hand(function, rule="hand"))):
        np.testing.assert_allclose(run(IMAGE, KERNEL), convolve(IMAGE, KERNEL).sum() + 2 * IMAGE.sum(), rtol=1e-4)
        jax.effects_barrier()
    assert len(seen) == 2 and capfd.readouterr().out.count("mean") == 2


def test_mutable_arrays():
    def function(x, w, total):
        total[...] += convolve(x, w).sum()
        return x

    refs = [jax.new_ref(jnp.zeros(())) for _ in range(2)]
    by_hand(function, rule="hand")(IMAGE, KERNEL, refs[0])
    function(IMAGE, KERNEL, refs[1])
    np.testing.assert_allclose(refs[0][...], refs[1][...], rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "why"),
    [(np.int32, "no real floating numbers: int32"), (np.complex64, "no real floating numbers: complex64")],
)
def test_numbers_that_are_not_real_floating_stay_xlas(dtype, why):
    x, w = np.round(IMAGE * 5).astype(dtype), np.round(KERNEL * 5).astype(dtype)
    fast = by_hand(convolve, rule="hand")
    np.testing.assert_array_equal(fast(x, w), convolve(x, w))
    (one,) = by_hand.report(fast, x, w).replacements
    assert not one.replaced and one.why == why
    assert same_program(convolve, x, w)


def test_modules_of_nnx_are_updated():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(nnx.relu(self.norm(self.conv(x))))

    def loss(network, x):
        return jnp.sum(jnp.square(network(x))), 3

    stock, ours = Network(nnx.Rngs(0)), Network(nnx.Rngs(0))
    x = np.moveaxis(IMAGE, 1, -1)
    for wrap in (lambda f: f, nnx.jit, lambda f: f):
        expected = wrap(nnx.value_and_grad(loss, has_aux=True))(stock, x)
        found = wrap(nnx.value_and_grad(by_hand(loss, rule="hand"), has_aux=True))(ours, x)
        assert found[0][1] == 3
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)
    assert int(ours.dropout.rngs.count[...]) == 3
    state = [nnx.to_pure_dict(nnx.state(network, nnx.BatchStat)) for network in (ours, stock)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *state)
    ours.eval()
    stock.eval()  # another structure: traced anew
    np.testing.assert_allclose(by_hand(loss)(ours, x)[0], loss(stock, x)[0], rtol=1e-5)


def test_a_module_that_gets_other_variables_is_refused():
    class Network(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(2))

        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return x * self.w

    with pytest.raises(
        ValueError, match="`fun` must not add, remove or change variables and attributes of its modules"
    ):
        by_hand(lambda network, x: network(x))(Network(), jnp.ones(2))


def test_errors_of_the_function_are_its_own():
    def function(x, w):
        return convolve(x, w[:, :2])

    with pytest.raises(ValueError, match="feature_group_count|input feature"):
        by_hand(function)(IMAGE, KERNEL)
    with pytest.raises(ZeroDivisionError):
        by_hand(lambda x: x / (1 // 0))(IMAGE)


def test_what_it_refuses(monkeypatch):
    with pytest.raises(TypeError, match="`fun` must be a function; got 3"):
        by_hand(3)
    with pytest.raises(ValueError, match=r"`rules` must be for conv, max_pool, sum_pool, relu; got 'pool'\."):
        by_hand(convolve, rules={"pool": "hand"})
    message = r"`rules\['conv'\]` must be a function, or one of auto, hand, autodiff; got 'guided'"
    with pytest.raises(ValueError, match=message):
        by_hand(convolve, rules={"conv": "guided"})
    with pytest.raises(ValueError, match="`rule` must be 'auto', 'hand' or 'autodiff'; got 'xla'"):
        by_hand(convolve, rule="xla")
    with pytest.raises(TypeError, match="`rules` must map operations to rules"):
        by_hand(convolve, rules=["relu"])
    monkeypatch.setattr(jax, "__version__", "0.99.1")
    with pytest.raises(NotImplementedError, match=f"`by_hand` knows jax 0.10 to {jaxprs.KNOWN[-1]}; got jax 0.99.1"):
        by_hand(convolve)


def test_the_arguments_of_a_call_are_not_kept():
    fast = by_hand(lambda x: jnp.sin(x))
    x = jnp.ones(100)
    reference = weakref.ref(x)
    fast(x)
    del x
    gc.collect()
    assert reference() is None
    with jax.checking_leaks():
        jax.jit(by_hand(convolve, rule="hand"))(IMAGE, KERNEL)


def test_traces_of_many_shapes_are_not_kept_for_ever():
    fast = by_hand(lambda x: jnp.sin(x))
    for size in range(1, 80):
        fast(np.ones(size, np.float32))
    (traceable,) = fast.__by_hand__._kept.values()
    assert len(traceable.rewritten) <= 64


def test_results_are_nobody_elses():
    fast = by_hand(lambda x: {"y": x, "h": np.zeros(3)})
    fast(IMAGE)["h"][0] = 1
    np.testing.assert_array_equal(fast(IMAGE)["h"], 0)


def test_a_result_that_hides_an_array_is_refused():
    class Out:
        def __init__(self, loss):
            self.loss = loss

    for hide in (Out, lambda loss: lambda: loss):
        with pytest.raises(TypeError, match="`fun` must return arrays in pytrees; got (Out|function)"):
            by_hand(lambda x, hide=hide: hide(x.sum()))(IMAGE)


def test_variables_and_modules_that_are_called_are_updated():
    count = nnx.Variable(jnp.zeros(()))

    def add(variable, x):
        variable[...] += 1
        return x

    by_hand(add)(count, IMAGE)
    assert float(count[...]) == 1
    norm = nnx.BatchNorm(8, rngs=nnx.Rngs(0))
    before = np.asarray(norm.mean[...])
    by_hand(norm)(IMAGE)
    assert not np.array_equal(norm.mean[...], before)
    network = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    assert not np.array_equal(by_hand(network.__call__)(IMAGE), by_hand(network.__call__)(IMAGE))


def test_a_key_tells_apart_what_is_equal():
    fast = by_hand(lambda x, scale: x * scale)
    assert np.signbit(fast(jnp.zeros(()), 0.0)) != np.signbit(fast(jnp.zeros(()), -0.0))

    class Scale:
        def __init__(self):
            self.scale = 1.0

        def __call__(self, x):
            return x * self.scale

        def method(self, x):
            return x * self.scale

    scale, fast = Scale(), by_hand(lambda x, function: function(x))
    for value in (1.0, 5.0):
        scale.scale = value
        assert float(fast(jnp.ones(()), scale.method)) == value
        assert float(fast(jnp.ones(()), scale)) == value


def test_numbers_of_numpy_may_be_sizes():
    assert by_hand(lambda x, axis: x.sum(axis=int(axis)))(IMAGE, np.int64(1)).shape == (2, 8, 8)
    structured = np.zeros(2, [("a", np.int32)])
    assert by_hand(lambda x, table: x * len(table))(jnp.ones(()), structured) == 2


def test_reports_of_what_wraps_a_function_by_hand():
    fast = by_hand(lambda x, w: jax.nn.relu(convolve(x, w)), rule="hand")

    @functools.wraps(fast)
    def wrapped(x):
        return fast(x, KERNEL)

    class Network:
        @by_hand(rules={"conv": "hand"})
        def forward(self, x):
            return convolve(x, KERNEL)

    def ops(function, *arguments):
        return [(one.op, one.why) for one in by_hand.report(function, *arguments).replacements]

    assert ops(fast, IMAGE, KERNEL) == [("conv", "as asked for"), ("relu", "as asked for")]
    assert ops(Network().forward, IMAGE) == [("conv", "as asked for")]
    already = [("conv", "by hand already"), ("relu", "by hand already")]
    assert ops(wrapped, IMAGE) == ops(jax.jit(fast), IMAGE, KERNEL) == already
    assert ops(jax.vmap(fast, (0, None)), IMAGE[None], KERNEL) == already


def test_more_digits_inside(random):
    def pool(x):
        with jax.enable_x64(True):
            wide = lax.reduce_window(x.astype(jnp.float64), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
            return wide.astype(jnp.float32)

    np.testing.assert_array_equal(by_hand(pool)(IMAGE), pool(IMAGE))


def test_sizes_that_are_left_open():
    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    for shape in ("b, 3, 8, 8", "b, 3, h, w"):
        kind = jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), jnp.float32)
        exported = jax.export.export(jax.jit(by_hand(pool)))(kind)
        np.testing.assert_array_equal(exported.call(IMAGE), pool(IMAGE))
