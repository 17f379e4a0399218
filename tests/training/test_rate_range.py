"""The learning-rate range test: the rates, what it leaves alone, and the rate that it finds."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from jaxcnn import data, models, training
from jaxcnn.training import rate_range


@pytest.fixture(scope="module")
def train():
    return data.load("digits", "train").take(400)


def network():
    return models.create("mlp", num_classes=10, in_features=1, rngs=nnx.Rngs(0), hidden=(16,))


def test_the_rates_grow_by_a_factor_and_the_network_stays(train):
    model = network()
    before = jax.tree.map(np.array, nnx.state(model, nnx.Param))
    found = training.find_learning_rate(model, train, low=1e-4, high=1e-2, steps=40)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e-2, 40), rtol=1e-6)
    assert found.losses.shape == found.smooth.shape == (40,) and not found.diverged
    assert 1e-4 <= found.suggested <= found.lowest <= 1e-2
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model, nnx.Param))


def test_each_step_is_one_of_the_optimizer_with_its_rate(train):
    """Against a loop of plain optax, whose state begins anew in every step, so for an optimizer without any."""
    config = training.TrainConfig(optimizer="sgd", momentum=0.0, nesterov=False, weight_decay=0.0, batch_size=50)
    found = training.find_learning_rate(network(), train, config, low=1e-3, high=0.1, steps=20)
    model, scaling = network(), data.measure_scaling(train)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def descend(params, images, labels, rate):
        def loss(params):
            logits = nnx.merge(graph, params, rest)(scaling(images))
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, slope = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda leaf, change: leaf - rate * change, params, slope), value

    for step, rate in enumerate(np.geomspace(1e-3, 0.1, 20).astype(np.float32)):
        batch = data.train_batch(train, 50, 0, step)
        params, value = descend(params, batch.images, batch.labels, rate)
        assert found.losses[step] == pytest.approx(float(value), rel=1e-3), step


def test_it_stops_where_the_loss_diverges(train):
    config = training.TrainConfig(optimizer="sgd", batch_size=50)
    found = training.find_learning_rate(network(), train, config, high=1e4, steps=80)
    assert found.diverged and len(found.losses) < 80 and np.isfinite(found.losses).all()
    assert found.suggested < found.lowest < found.rates[-1]


def test_the_steepest_fall_before_the_lowest_loss_is_chosen():
    rates = np.geomspace(1e-5, 1, 100)
    losses = 2 - 1.5 / (1 + np.exp(-(np.arange(100) - 50) / 3))  # falls fastest at the fiftieth
    losses[85:] = 9.0
    found = rate_range._judged(rates, losses, True)
    assert rates[48] <= found.suggested <= rates[60], "the moving mean comes a few steps later"
    assert rates[75] <= found.lowest <= rates[86]


def test_weights_samplings_and_several_devices_are_those_of_the_training(train):
    config = training.TrainConfig(
        batch_size=40, accumulate=2, class_weights=("balanced",), sampling="balanced", freeze=("dense",)
    )
    layouts = [training.Layout(devices=jax.local_devices()[:count]) for count in (1, 2)]
    one, two = (training.find_learning_rate(network(), train, config, steps=20, layout=layout) for layout in layouts)
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 0.1, "high": 0.01}, r"`low` must be positive and below `high`; got 0\.1 and 0\.01\."),
        ({"steps": 3}, "`steps`"),
        ({"low": 1e3, "high": 1e4}, "`low` must be a learning rate from which on the loss falls; got"),
    ],
)
def test_what_finds_nothing_is_refused(train, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        training.find_learning_rate(network(), train, training.TrainConfig(optimizer="sgd"), **options)
