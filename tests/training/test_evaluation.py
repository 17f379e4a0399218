"""Evaluation and prediction: exact for every count and batch size, in evaluation mode, without side effects."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, training

SCALING = data.Scaling((0.4,), (0.3,))


def by_hand(model, dataset):
    """Class probabilities of softmax regression, in float64."""
    x = ((dataset.images / 255 - 0.4) / 0.3).reshape(len(dataset.labels), -1)
    logits = x @ np.array(model.head.kernel[...], np.float64) + np.array(model.head.bias[...], np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 256), (10, 4), (12, 4), (10, 10), (10, 1), (7, 256)])
def test_evaluation_is_exact_for_any_batch_size(small, count, batch_size):
    model, dataset = small.Linear(nnx.Rngs(0)), small.noise(count)
    p = by_hand(model, dataset)
    found = training.evaluate(model, dataset, SCALING, batch_size)
    assert found.loss == pytest.approx(-np.log(p[np.arange(count), dataset.labels]).mean(), rel=1e-5)
    assert found.accuracy == (p.argmax(-1) == dataset.labels).sum() / count
    assert found.count == count


def test_filling_never_counts_as_correct(small):
    """A network that answers class 0 to everything would be right on blank images of label 0."""
    model, dataset = small.Linear(nnx.Rngs(0)), small.noise(10)
    model.head.kernel[...] = 0 * model.head.kernel[...]
    dataset = dataset._replace(labels=np.full(10, 1, np.int32))
    assert training.evaluate(model, dataset, SCALING, 4).accuracy == 0.0
    dataset = dataset._replace(labels=np.zeros(10, np.int32))
    assert training.evaluate(model, dataset, SCALING, 4).accuracy == 1.0


class Contrast(nnx.Module):
    """Pictures brought to deviation 1, as many networks begin: of one that is blank this makes 0 / 0."""

    def __init__(self, rngs: nnx.Rngs):
        self.head = nnx.Linear(6 * 6, 3, rngs=rngs)

    def __call__(self, images):
        x = images.reshape(images.shape[0], -1)
        x = x - x.mean(-1, keepdims=True)
        return self.head(x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True)))


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("views", ["one", "flip_shift"])
@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_a_network_that_makes_nan_of_filling_has_the_loss_of_its_examples(small, loss, views, kind):
    model, dataset, scaling = Contrast(nnx.Rngs(0)), small.noise(11), data.Scaling((0.0,), (1.0,))
    assert np.isnan(model(jnp.zeros((1, 6, 6, 1)))).all()
    layout = training.Layout(kind, devices=jax.devices()[:2])
    options = {"loss": loss, "views": views, "layout": layout}
    filled = training.evaluate(model, dataset, scaling, 8, **options)
    found = [0.0, 0.0]
    for rows in (slice(0, 8), [8, 8], [9, 9], [10, 10]):  # as many as the two devices share
        part = dataset._replace(images=dataset.images[rows], labels=dataset.labels[rows])
        one, count = training.evaluate(model, part, scaling, 8, **options), len(np.unique(np.arange(11)[rows]))
        found = [found[0] + count * one.loss, found[1] + count * one.accuracy]
    np.testing.assert_allclose([filled.loss, filled.accuracy], np.array(found) / 11, rtol=1e-5)
    broken = dataset._replace(images=np.where(np.arange(11)[:, None, None, None] == 4, np.uint8(0), dataset.images))
    assert np.isnan(training.evaluate(model, broken, scaling, 8, **options).loss), "an example of its own counts"


def test_evaluation_of_no_examples_is_refused(small):
    with pytest.raises(ValueError, match="the test split of noise must hold examples; got none."):
        training.evaluate(small.Linear(nnx.Rngs(0)), small.noise(3, "test").take(0), SCALING)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 256), (10, 4), (8, 4)])
def test_predictions_are_the_probabilities_of_every_image_in_order(small, count, batch_size):
    model, dataset = small.Linear(nnx.Rngs(0)), small.noise(count)
    found = training.predict(model, dataset.images, SCALING, batch_size)
    assert found.dtype == np.float32 and found.shape == (count, 3)
    np.testing.assert_allclose(found, by_hand(model, dataset), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_prediction_of_no_images_is_empty(small):
    assert len(training.predict(small.Linear(nnx.Rngs(0)), np.zeros((0, 6, 6, 1), np.uint8), SCALING)) == 0


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_network_is_used_in_evaluation_mode_and_left_as_it_was(small, mode):
    model, dataset = small.Convolutional(nnx.Rngs(0)), small.noise(10)
    getattr(model, mode)()
    before = small.everything(model)
    results = [training.evaluate(model, dataset, SCALING, 4) for _ in range(2)]
    answers = [training.predict(model, dataset.images, SCALING, 4) for _ in range(2)]
    assert results[0] == results[1], "dropout is off"
    np.testing.assert_array_equal(*answers)
    after = small.everything(model)
    for path in before:
        np.testing.assert_array_equal(after[path], before[path], err_msg=str(path))
    assert model.dropout.deterministic == model.norm.use_running_average == (mode == "eval")


def test_evaluation_and_prediction_agree(small):
    model, dataset = small.Convolutional(nnx.Rngs(0)), small.noise(11)
    p = training.predict(model, dataset.images, SCALING, 4)
    found = training.evaluate(model, dataset, SCALING, 3)
    assert found.accuracy == (p.argmax(-1) == dataset.labels).mean()
    assert found.loss == pytest.approx(-np.log(p[np.arange(11), dataset.labels]).mean(), rel=1e-5)


def test_an_evaluation_is_a_value(small):
    found = training.Evaluation(0.5, 4, {"accuracy": 0.75})
    assert (found.loss, found.accuracy, found["accuracy"], found.top5_accuracy) == (0.5, 0.75, 0.75, None)
    with pytest.raises(KeyError, match="a metric must be one of loss, accuracy; got 'rmse'"):
        found["rmse"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.loss = 0.0


def test_equal_networks_are_compiled_once(small):
    """Other parameters need no other program; another graph, scaling or loss does."""
    dataset, traced = small.noise(10), []

    class Counting(type(small.Linear(nnx.Rngs(0)))):
        def __call__(self, x, **options):
            traced.append(self)
            return super().__call__(x, **options)

    models = [Counting(nnx.Rngs(seed)) for seed in range(3)]
    losses = [training.evaluate(model, dataset, SCALING).loss for model in models]
    shares = [training.predict(model, dataset.images, SCALING) for model in models]
    assert len(traced) == 3  # one for each of the two functions, and one that tells how many outputs there are
    for model, loss, share in zip(models, losses, shares, strict=True):
        p = by_hand(model, dataset)
        assert loss == pytest.approx(-np.log(p[np.arange(10), dataset.labels]).mean(), rel=1e-5)
        np.testing.assert_allclose(share, p, rtol=1e-4, atol=1e-6)
    models[0].tag = "another graph"
    training.evaluate(models[0], dataset, SCALING)
    training.evaluate(models[0], dataset, SCALING._replace(unit=254.0))
    training.evaluate(models[0], dataset, SCALING, loss="mean_squared_error")
    assert len(traced) == 3 + 2 * 2 + 1, "the loss changes nothing of the outputs"


def test_a_network_whose_graph_cannot_be_compared_is_evaluated_too(small):
    model, dataset = small.Linear(nnx.Rngs(0)), small.noise(10)
    before = training.evaluate(model, dataset, SCALING)
    model.table = nnx.static({"a": {}})
    with pytest.raises(TypeError, match="unhashable"):
        hash(nnx.graphdef(model))
    assert training.evaluate(model, dataset, SCALING) == before
