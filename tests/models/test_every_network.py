"""What holds for every network: shapes, gradients, dtypes, one compilation, training and evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.export import symbolic_shape

from jaxcnn import models

CLASSES = 5
_THIN, _SHORT = (4, 8, 8, 8), (4, 6, 8)
# reduced input, and options that make the network thin; its depth stays
REDUCED = {
    "alexnet": ((67, 67, 3), {"image_size": (67, 67), "widths": (8, 16, 16, 16, 16), "hidden": (16, 16)}),
    "allcnn": ((12, 12, 3), {"widths": (8, 16)}),
    "bn_inception": ((32, 32, 3), {}),
    "c3d": ((4, 16, 16, 3), {"clip_shape": (4, 16, 16), "widths": (4, 4, 8, 8, 8), "hidden": 16}),
    "alexnet_torchvision": ((65, 70, 3), {"hidden": (16, 16)}),
    "fcn": ((11, 14, 3), {"widths": (4, 4, 6, 6, 8), "depths": (1, 1, 2, 1, 1), "hidden": 8}),
    "googlenet": ((32, 32, 3), {}),
    "googlenet_torchvision": ((32, 32, 3), {}),
    "lecun1989": ((16, 16, 1), {}),
    "lenet5": ((28, 28, 1), {}),
    "lenet5_1998": ((28, 28, 1), {}),
    "mlp": ((6, 5, 1), {"image_size": (6, 5), "hidden": (8,)}),
    "prelu_net": ((32, 32, 3), {"widths": _THIN, "hidden": 16}),
    "tdnn": ((15, 16), {}),
    "tdnn_wide": ((20, 12), {"widths": (8, 8), "dilations": (1, 2)}),
    "textcnn": ((9,), {"embedding": 8, "features": 4}),
    "unet": ((7, 10, 3), {"widths": (4, 6, 8)}),
}
FOR_PIXELS = ("fcn", "unet")
for _name in models.MODELS:
    if _name.startswith("vgg"):
        REDUCED[_name] = ((32, 32, 3), {"image_size": (32, 32), "widths": (*_THIN, 8), "hidden": 16})
    elif _name.startswith(("resnet", "plain")):
        imagenet = models.CARDS[_name].input_shape[0] == 224
        REDUCED[_name] = ((32, 32, 3), {"widths": _THIN}) if imagenet else ((12, 12, 3), {"widths": _SHORT})
REDUCED["alexnet_single"] = REDUCED["alexnet"]
# compile for long; their shallow siblings have the same blocks
DEEP = {f"{kind}{depth}" for kind in ("resnet", "plain") for depth in (32, 34, 44, 50, 56, 101, 110, 152)}
DEEP |= {f"vgg{depth}{norm}" for depth in (13, 16, 19) for norm in ("", "_bn")} | {"plain18", "vgg11"}
DEEP |= {"alexnet_torchvision", "bn_inception", "googlenet", "googlenet_torchvision"}
DEEP -= {"resnet50"}
EVERY = [pytest.param(name, marks=[pytest.mark.slow] if name in DEEP else []) for name in sorted(models.MODELS)]


def build(name, **options):
    shape, reduced = REDUCED[name]
    features = 11 if name == "textcnn" else shape[-1]
    return models.create(
        name, num_classes=CLASSES, in_features=features, rngs=nnx.Rngs(params=0, dropout=1), **reduced, **options
    )


def answer(name, count):
    """The shape of the logits."""
    return (count, *(REDUCED[name][0][:2] if name in FOR_PIXELS else ()), CLASSES)


def examples(name, random, count=4):
    shape, _ = REDUCED[name]
    if name == "textcnn":
        return jnp.asarray(random.integers(0, 11, (count, *shape)), jnp.int32)
    return jnp.asarray(random.normal(size=(count, *shape)), jnp.float32)


def off_zero(params, random):
    """Parameters that start at zero hide gradients; a little noise shows them."""
    noisy = lambda p: np.asarray(p) + (0.05 * random.normal(size=p.shape)).astype(p.dtype)  # noqa: E731
    return jax.tree.map(lambda p: jnp.asarray(noisy(p)), params)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_it_takes_no_images(name, random):
    def logits(inputs):
        model = build(name)
        model.eval()
        return model(inputs)

    assert jax.eval_shape(logits, examples(name, random, 0)).shape == answer(name, 0)


@pytest.mark.parametrize("name", EVERY)
def test_it_computes_learns_and_compiles_once(name, random):
    model, inputs = build(name), examples(name, random)
    model.eval()
    eval_graph, *_ = nnx.split(model, nnx.Param, ...)
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params = off_zero(params, random)
    traced = []

    def loss(params, rest, inputs):
        traced.append(name)
        copy = nnx.merge(graph, params, rest, copy=True)
        logits, stages = copy(inputs, capture=True)
        aids = sum((jnp.sum(jnp.sin(stages[aid])) for aid in copy.auxiliaries), jnp.float32(0))
        return jnp.sum(jnp.sin(logits)) + aids, (logits, nnx.state(copy, nnx.BatchStat))

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    # in NumPy, in which to look at arrays of many shapes compiles nothing
    (_, (logits, statistics)), gradient = jax.tree.map(np.asarray, step(params, rest, inputs))
    assert logits.shape == answer(name, 4) and logits.dtype == jnp.float32
    for path, leaf in nnx.to_flat_state(gradient):
        assert np.isfinite(leaf[...]).all(), path
        assert np.any(leaf[...]), f"{path}: no gradient"

    step(params, rest, 0.5 * inputs if inputs.dtype == jnp.float32 else inputs[::-1])
    assert len(traced) == 1, "the second call traced again"

    evaluate = jax.jit(lambda params, rest, x: nnx.merge(eval_graph, params, rest, copy=True)(x))
    evaluated = evaluate(params, rest, inputs)
    np.testing.assert_array_equal(evaluate(params, rest, inputs), evaluated)
    drops = any(isinstance(m, nnx.Dropout) and m.rate for _, m in nnx.iter_modules(model))
    normalizes = bool(jax.tree.leaves(statistics))
    same = np.allclose(evaluated, logits, rtol=1e-4, atol=1e-5)
    assert same == (not drops and not normalizes), "train() and eval() differ where there is dropout or a batch norm"
    before = jax.tree.map(np.asarray, nnx.state(nnx.merge(graph, params, rest, copy=True), nnx.BatchStat))
    moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (before, statistics)), strict=True)]
    assert all(moved), "running statistics move in training"


@pytest.mark.parametrize("name", EVERY)
def test_halves_compute_on_whole_parameters(name):
    model = nnx.eval_shape(lambda: build(name, dtype=jnp.bfloat16))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params, rest, inputs):
        copy = nnx.merge(graph, params, rest, copy=True)
        logits = copy(inputs)
        return jnp.sum(logits.astype(jnp.float32)), (logits, nnx.state(copy, nnx.BatchStat))

    shape, dtype = REDUCED[name][0], model.input_dtype
    gradient, (logits, statistics) = jax.eval_shape(
        jax.grad(loss, has_aux=True), params, rest, jax.ShapeDtypeStruct((4, *shape), dtype)
    )
    assert logits.dtype == jnp.bfloat16 and logits.shape == answer(name, 4)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, gradient, statistics))} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", EVERY)
def test_what_does_not_fit_is_refused_with_what_is_expected(name):
    model = nnx.eval_shape(lambda: build(name))
    graph, state = nnx.split(model)
    shape, _ = REDUCED[name]
    wrong = [(2, 3, *shape), shape[1:], (2, *shape[:-1], shape[-1] + 1)]
    if name == "textcnn":
        wrong = wrong[:2]  # any length fits
    for bad in wrong:
        with pytest.raises(ValueError) as caught:
            jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, jax.ShapeDtypeStruct(bad, model.input_dtype))
        told = str(caught.value)
        assert type(model).__name__ in told and f"got {bad}" in told and "\n" not in told


@pytest.mark.parametrize("name", EVERY)
def test_the_size_of_the_batch_may_be_left_open(name):
    model = nnx.eval_shape(lambda: build(name))
    model.eval()
    graph, state = nnx.split(model)
    (batch,) = symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *REDUCED[name][0]), model.input_dtype)
    logits = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, images)
    assert logits.shape == answer(name, batch)


def _pushed_forward(model, train, dtype):
    """Value and tangent of all stages, toward parameters and, if they are floating, inputs."""
    model.train() if train else model.eval()
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def run(params, rest, inputs):
        def stages(params, inputs):
            return nnx.merge(graph, params, rest, copy=True)(inputs, capture=True)

        if dtype == jnp.int32:
            return jax.jvp(lambda params: stages(params, inputs), (params,), (params,))
        return jax.jvp(stages, (params, inputs), (params, inputs))

    return run, params, rest


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_forward_mode_reaches_the_whole_network(name, train):
    """With `rule="autodiff"` no hand-written rule is left: each would refuse to be compiled."""
    model = nnx.eval_shape(lambda: build(name, rule="autodiff"))
    run, params, rest = _pushed_forward(model, train, model.input_dtype)
    jax.jit(run).lower(params, rest, jax.ShapeDtypeStruct((2, *REDUCED[name][0]), model.input_dtype))


SMALL = ["allcnn", "lenet5", "lenet5_1998", "resnet20", "tdnn_wide", "textcnn"]


@pytest.mark.parametrize("name", EVERY)
def test_forward_mode_agrees_with_the_rules_by_hand(name, random, float64):
    """`<e, J v>` by `jvp` and `linearize` is `<J^T e, v>` by hand; a product with the Hessian exists."""
    model, inputs = build(name, param_dtype=jnp.float64), examples(name, random, 2)
    inputs = inputs if name == "textcnn" else inputs.astype(jnp.float64)
    model.eval()
    by_hand, params, rest = nnx.split(model, nnx.Param, ...)
    by_jax = nnx.graphdef(models.with_options(model, rule="autodiff"))
    params = off_zero(params, np.random.default_rng(1))
    direction = off_zero(jax.tree.map(jnp.zeros_like, params), np.random.default_rng(2))

    def score(params, graph):
        return jnp.sum(jnp.sin(nnx.merge(graph, params, rest, copy=True)(inputs)))

    @jax.jit
    def derivatives(params, direction):
        def forward(params):
            return score(params, by_jax)

        bend, slope = jax.linearize(jax.grad(forward), params)[1](direction), jax.grad(score)(params, by_hand)
        return (
            optax.tree.vdot(slope, direction),
            jax.jvp(forward, (params,), (direction,))[1],
            jax.linearize(forward, params)[1](direction),
            optax.tree.norm(bend),
        )

    expected, *found, bend = derivatives(params, direction)
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-6)
    assert np.isfinite(bend) and bend > 0


VARIANTS = [
    *[("allcnn", {"base": base, "variant": v}) for base in "ABC" for v in ("base", "strided", "convpool", "all")],
    *[(name, {"shortcut": s, "version": v}) for name in ("resnet18", "resnet20") for s in "ABC" for v in (1, 2)],
    ("resnet50", {"version": 2}),
    ("resnet50", {"stride_on": "first", "zero_last": True}),
    ("plain20", {"version": 2}),
    ("resnet18", {"padding": "same"}),
    ("vgg11", {"pool": "average"}),
    ("vgg11", {"grid": (2, 3)}),
    ("alexnet", {"grid": (2, 2), "border": (2, 2)}),
    ("googlenet", {"batch_norm": True, "auxiliary": False}),
    ("alexnet", {"local_response": False, "groups": 1}),
    ("lecun1989", {"output": "linear", "activation": "relu"}),
    ("tdnn", {"units": 3, "activation": "tanh"}),
    ("tdnn", {"pool": "average", "activation": "identity"}),
    ("mlp", {"hidden": ()}),
    ("fcn", {"stride": 16, "batch_norm": True}),
    ("fcn", {"stride": 32}),
    ("unet", {"batch_norm": True, "widths": (4, 8)}),
    ("textcnn", {"windows": (1, 2)}),
    ("lenet5", {"rule": "autodiff", "pool": "average", "activation": "leaky_relu"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_every_option_gives_a_network_that_computes(name, options):
    shape, reduced = REDUCED[name]
    features = 11 if name == "textcnn" else shape[-1]
    both = reduced | options
    model = nnx.eval_shape(
        lambda: models.create(name, num_classes=CLASSES, in_features=features, rngs=nnx.Rngs(0, dropout=1), **both)
    )
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params, rest, inputs):
        logits = nnx.merge(graph, params, rest, copy=True)(inputs)
        return logits.sum(), logits

    inputs = jax.ShapeDtypeStruct((4, *shape), model.input_dtype)
    gradient, logits = jax.eval_shape(jax.grad(loss, has_aux=True), params, rest, inputs)
    assert logits.shape == answer(name, 4)
    assert jax.tree.map(lambda g: g.shape, gradient) == jax.tree.map(lambda p: p.shape, params)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_what_is_static_in_it_can_be_a_key(name):
    hash(nnx.graphdef(nnx.eval_shape(lambda: build(name))))  # by which compiled functions are found again


def test_every_network_is_reduced_here():
    assert set(REDUCED) == set(models.MODELS)
