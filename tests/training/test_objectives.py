"""What training makes small: squared errors, auxiliary heads, bounded norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, models, training
from jaxcnn.training.objective import Objective
from jaxcnn.training.state import first_state, split
from jaxcnn.training.tasks import Classification
from jaxcnn.training.train_step import TrainStep


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"):
        yield


def noise(count=32, shape=(16, 16, 1), classes=3, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *shape)).astype(np.uint8)
    labels = random.integers(0, classes, count).astype(np.int32)
    return data.Dataset(images, labels, tuple("abc"[:classes]), "noise", "train")


def test_squared_errors_are_to_targets_of_plus_and_minus_one(random):
    logits, labels = random.normal(size=(4, 3)).astype(np.float32), np.array([0, 2, 1, 1])
    targets = np.full((4, 3), -1.0)
    targets[np.arange(4), labels] = 1
    found = Classification("mean_squared_error").losses(jnp.asarray(logits), labels)
    np.testing.assert_allclose(found, np.square(logits - targets).mean(-1), rtol=1e-5)


def test_the_network_of_1989_learns_by_its_own_loss():
    model, train = models.create("lecun1989", num_classes=3, rngs=nnx.Rngs(0)), noise(12)
    config = training.TrainConfig(
        epochs=60, batch_size=2, loss="mean_squared_error", scaling="symmetric", optimizer="adam", learning_rate=0.003
    )
    result = training.fit(model, train, config=config, observer=None)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    found = training.evaluate(model, train, result.scaling, loss="mean_squared_error")
    outputs = model(result.scaling(train.images))
    expected = np.square(outputs - (2 * np.eye(3)[train.labels] - 1)).mean()
    np.testing.assert_allclose(found.loss, expected, rtol=1e-4)
    assert result.scaling(np.array([[0], [255]], np.uint8)).ravel().tolist() == [-1, 1]


def test_symmetric_scaling_needs_bytes():
    sounds = noise()._replace(images=np.zeros((4, 5, 2), np.float32))
    with pytest.raises(ValueError, match="`scaling` 'symmetric' needs pictures in bytes \\(uint8\\); got float32."):
        data.symmetric_scaling(sounds)


class Aided(models.Network):
    """A head, and one in the middle."""

    def __init__(self, rngs, auxiliaries):
        self.first, self.middle, self.head = (nnx.Linear(i, o, rngs=rngs) for i, o in ((256, 8), (8, 3), (8, 3)))
        self.weights = tuple(auxiliaries.items())
        self.input_shape = (16, 16, 1)

    @property
    def auxiliaries(self):
        return dict(self.weights)

    def stages(self, x):
        yield "first", (x := self.first(x.reshape(len(x), -1)))
        yield "aid", self.middle(x)
        yield "head", self.head(x)


def gradient_of(auxiliaries, network=Aided):
    import optax

    model, train = network(nnx.Rngs(0), auxiliaries), noise()
    graphs, params, rest = split(model)
    optimizer, scaling = optax.sgd(1.0), data.measure_scaling(train)
    step = TrainStep(graphs, optimizer, scaling, Objective(auxiliaries=model.auxiliaries)).compiled().run
    before = jax.tree.map(jnp.copy, params)
    state, metrics = step(first_state(params, rest, optimizer), [data.train_batch(train, 8, 0, 0)])
    moved = jax.tree.map(lambda a, b: a - b, before, state.params)
    return {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(moved)}, float(metrics["loss"])


def test_auxiliary_losses_are_added_with_their_weights():
    (without, loss), (half, same_loss), (whole, _) = (gradient_of(a) for a in ({}, {"aid": 0.5}, {"aid": 1.0}))
    assert loss == same_loss, "the loss that is told is that of the logits"
    np.testing.assert_array_equal(without["middle/kernel"], 0)
    np.testing.assert_allclose(2 * half["middle/kernel"], whole["middle/kernel"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(half["head/kernel"], without["head/kernel"], rtol=1e-4, atol=1e-7)
    expected = (without["first/kernel"] + whole["first/kernel"]) / 2
    np.testing.assert_allclose(half["first/kernel"], expected, rtol=1e-4, atol=1e-6)


def test_an_auxiliary_head_of_weight_0_has_no_part_even_where_its_loss_is_nan():
    class Overflowing(Aided):
        def stages(self, x):
            for name, values in super().stages(x):
                yield name, values / 0 if name == "aid" else values

    expected, loss = gradient_of({})
    found, same_loss = gradient_of({"aid": 0.0}, Overflowing)
    assert loss == same_loss
    for path in expected:
        np.testing.assert_array_equal(found[path], expected[path], err_msg=path)


def test_googlenet_declares_its_auxiliary_heads():
    model = nnx.eval_shape(lambda: models.create("googlenet", rngs=nnx.Rngs(0)))
    assert model.auxiliaries == {"aux1": 0.3, "aux2": 0.3}
    assert nnx.eval_shape(lambda: models.create("googlenet", auxiliary=False, rngs=nnx.Rngs(0))).auxiliaries == {}


def sentences(count=40):
    random = np.random.default_rng(0)
    words = random.integers(2, 12, (count, 7)).astype(np.int32)
    vocabulary = tuple(f"word{i}" for i in range(12))
    return data.Dataset(words, (words[:, 0] % 2).astype(np.int32), ("no", "yes"), "words", "train", vocabulary)


def text_model(**options):
    return models.create("textcnn", in_features=12, embedding=6, features=5, rngs=nnx.Rngs(0), **options)


def test_norms_of_the_head_stay_below_their_bound():
    for bound in (0.05, 3.0):
        model, train = text_model(max_norm=bound, dropout=0.0), sentences()
        config = training.TrainConfig(epochs=5, batch_size=8, optimizer="adam", learning_rate=0.05)
        training.fit(model, train, config=config, observer=None)
        norms = np.linalg.norm(model.head.kernel[...], axis=0)
        assert (norms <= bound * (1 + 1e-6)).all()
        assert norms.max() == pytest.approx(0.05) if bound == 0.05 else norms.max() > 0.2


def test_words_are_learned_and_padding_stays_zero():
    model, train = text_model(dropout=0.0), sentences()
    result = training.fit(
        model, train, config=training.TrainConfig(epochs=40, batch_size=8, learning_rate=0.02), observer=None
    )
    assert training.evaluate(model, train, result.scaling).accuracy > 0.95
    padded = np.pad(train.images, ((0, 0), (0, 4)))
    np.testing.assert_allclose(model(padded), model(train.images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["static", "nonstatic", "multichannel"])
def test_the_vector_of_padding_is_never_seen(variant):
    """Tables of vectors often hold NaN where there is no word; 0 times NaN would be NaN, forwards and backwards."""
    vectors = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    words = np.pad(sentences(4).images, ((0, 0), (0, 3)))

    def logits_and_gradients(first):
        model = text_model(variant=variant, vectors=np.concatenate([np.full((1, 6), first, np.float32), vectors[1:]]))
        model.head.kernel[...] = jax.random.normal(jax.random.key(0), model.head.kernel.shape)
        model.eval()
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        gradient = jax.grad(lambda params: nnx.merge(graph, params, rest)(words).sum())(params)
        return model(words), jax.tree.leaves(gradient)

    expected, found = logits_and_gradients(0.0), logits_and_gradients(np.nan)
    np.testing.assert_array_equal(found[0], expected[0])
    for a, b in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("variant", ["static", "nonstatic", "multichannel"])
def test_fixed_vectors_stay_and_trained_ones_move(variant):
    vectors = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    model = text_model(variant=variant, vectors=vectors)
    training.fit(model, sentences(), config=training.TrainConfig(epochs=2, batch_size=8), observer=None)
    if variant != "nonstatic":
        np.testing.assert_array_equal(model.fixed[...], vectors)
    if variant != "static":
        assert np.abs(model.trained[...][2:] - vectors[2:]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "static"}, "`vectors` must be given unless `variant` is 'rand'; got none for 'static'."),
        ({"vectors": np.ones((12, 6))}, "got an array of shape (12, 6) for 'rand'."),
        ({"variant": "static", "vectors": np.ones((11, 6))}, "with V = 12 words; got (11, 6)."),
        ({"variant": "dynamic"}, "got 'dynamic'."),
    ],
)
def test_vectors_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError) as caught:
        text_model(**options)
    assert str(caught.value).endswith(message)
