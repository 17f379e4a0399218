"""The step for a loop of one's own: the step of `fit`, any loss, batch statistics, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxcnn import data, ops, training
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.state import first_state, split
from jaxcnn.training.train_step import TrainStep

SHORT = training.TrainConfig(batch_size=6, learning_rate=0.05)


@pytest.fixture
def train(small):
    return small.noise(20)


def batch_of(train, number):
    return data.train_batch(train, 6, 0, number)


def loss_of(scaling):
    def loss(model, batch):
        return ops.softmax_cross_entropy(model(scaling(batch.images)), batch.labels).mean()

    return loss


@pytest.mark.parametrize("kind", ["Linear", "Convolutional"])
def test_it_takes_the_steps_of_fit(small, train, kind):
    scaling, optimizer = data.measure_scaling(train), make_optimizer(SHORT, 9)
    model = getattr(small, kind)(nnx.Rngs(0))
    graphs, params, rest = split(model)
    theirs, run = first_state(params, rest, optimizer), TrainStep(graphs, optimizer, scaling).compiled().run
    ours = training.init_state(model, optimizer)
    step = jax.jit(training.make_step(model, loss_of(scaling), optimizer), donate_argnums=0)
    for number in range(5):
        theirs, expected = run(theirs, [batch_of(train, number)])
        ours, metrics = step(ours, batch_of(train, number))
        np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
        np.testing.assert_allclose(metrics["gradient_norm"], expected["gradient_norm"], rtol=1e-5)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs) and int(ours.step) == 5
    states = [jax.tree.leaves((state.params, state.rest)) for state in (ours, theirs)]
    for mine, other in zip(*states, strict=True):
        if not jnp.issubdtype(mine.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_the_loss_may_return_further_metrics_and_the_state_returns_to_the_network(small, train):
    model, optimizer = small.Convolutional(nnx.Rngs(0)), optax.sgd(0.1)

    def loss(model, images):
        outputs = model(images)
        return jnp.mean(outputs**2), {"largest": jnp.abs(outputs).max()}

    images = jnp.asarray(train.images[:6], jnp.float32) / 255
    state, metrics = training.make_step(model, loss, optimizer)(training.init_state(model, optimizer), images)
    assert set(metrics) == {"loss", "gradient_norm", "largest"} and metrics["largest"] > 0
    before = np.array(model.norm.mean[...])
    training.load_state(model, state)
    assert not np.array_equal(before, model.norm.mean[...]), "batch statistics are part of the state"
    assert model.dropout.deterministic and model.norm.use_running_average
    assert np.isfinite(model(images)).all()


def test_the_network_stays_usable_and_dropout_draws_anew_in_every_step(small, train):
    model, optimizer = small.Convolutional(nnx.Rngs(0)), optax.sgd(0.0)
    step = jax.jit(training.make_step(model, loss_of(data.measure_scaling(train)), optimizer), donate_argnums=0)
    state = training.init_state(model, optimizer)
    losses = []
    for _ in range(3):
        state, metrics = step(state, batch_of(train, 0))
        losses.append(float(metrics["loss"]))
    assert len(set(losses)) == 3, "the parameters stay, the dropped units change"
    assert np.isfinite(model(jnp.zeros((2, *train.images.shape[1:])))).all(), "the state holds copies"


def test_it_runs_inside_scan(small, train):
    model, optimizer = small.Linear(nnx.Rngs(0)), optax.sgd(0.1)
    step = training.make_step(model, loss_of(data.measure_scaling(train)), optimizer)
    batches = [batch_of(train, number) for number in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    state = training.init_state(model, optimizer)
    last, metrics = jax.lax.scan(step, state, stacked)
    for batch in batches:
        state, _ = step(state, batch)
    assert metrics["loss"].shape == (3,)
    for mine, other in zip(jax.tree.leaves(last.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_the_network_keeps_what_it_got_while_steps_go_on(small, train):
    model, optimizer = small.Linear(nnx.Rngs(0)), optax.sgd(0.1)
    step = jax.jit(training.make_step(model, loss_of(data.measure_scaling(train)), optimizer), donate_argnums=0)
    state, _ = step(training.init_state(model, optimizer), batch_of(train, 0))
    training.load_state(model, state)
    best = np.array(model.head.kernel[...])
    step(state, batch_of(train, 1))
    np.testing.assert_array_equal(model.head.kernel[...], best)


@pytest.mark.parametrize("optimizer", [optax.contrib.prodigy(), optax.polyak_sgd(), optax.lion(0.1)])
def test_optimizers_that_keep_parameters_or_read_the_loss(small, train, optimizer):
    model = small.Linear(nnx.Rngs(0))
    step = jax.jit(training.make_step(model, loss_of(data.measure_scaling(train)), optimizer), donate_argnums=0)
    state = training.init_state(model, optimizer)
    for number in range(2):
        state, metrics = step(state, batch_of(train, number))
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((1.0, {}, 3), "must return a scalar, or a pair of a scalar and a dictionary; got float32.*, dict, float32"),
        ((1.0, None), "must return a scalar, or a pair of a scalar and a dictionary; got float32.*, NoneType."),
        (jnp.ones(3), "must return a scalar, or a pair of a scalar and a dictionary; got float32.3."),
        ((1.0, {"loss": 2.0}), "must give its metrics other names than loss and gradient_norm; got 'loss'."),
    ],
)
def test_what_a_loss_may_not_return_is_refused(small, train, found, message):
    model, optimizer = small.Linear(nnx.Rngs(0)), optax.sgd(0.1)

    def loss(model, batch):
        value = jnp.sum(model.head.kernel[...])
        return jax.tree.map(lambda part: part * value, found) if isinstance(found, tuple) else found

    with pytest.raises(ValueError, match=message):
        training.make_step(model, loss, optimizer)(training.init_state(model, optimizer), None)
