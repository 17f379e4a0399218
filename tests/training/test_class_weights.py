"""Class weights: how they are given, and that they are factors on the losses, whatever the targets are."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from jaxcnn import data, training
from jaxcnn.training.class_weights import class_weights
from jaxcnn.training.objective import Objective

LABELS = np.repeat(np.arange(3), [6, 3, 1]).astype(np.int32)
TRAIN = data.Dataset(np.zeros((10, 2, 2, 1), np.uint8), LABELS, ("cat", "dog", "a=b"), "made", "train")


def test_balanced_weights_are_those_of_scikit_learn():
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights(["balanced"], TRAIN), wanted)
    assert np.mean(np.array(class_weights(["balanced"], TRAIN))[LABELS]) == pytest.approx(1)


def test_a_class_without_examples_has_none():
    few = TRAIN._replace(labels=np.minimum(LABELS, 1))
    assert class_weights(["balanced"], few) == pytest.approx((10 / 12, 10 / 8, 0))


@pytest.mark.parametrize(
    ("given", "found"),
    [([], ()), (["1", "2.5", "0"], (1, 2.5, 0)), (["dog=3"], (1, 3, 1)), (["a=b=0.5", "cat=2"], (2, 1, 0.5))],
)
def test_they_are_given_in_order_or_by_name(given, found):
    assert class_weights(given, TRAIN) == found


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["many"], "must be `balanced`, or CLASS=FACTOR, or one factor for each class, none negative; got many"),
        (["balanced", "1"], "got balanced 1"),
        (["dog=-1"], "none negative; got dog=-1"),
        (["dog=nan"], "got dog=nan"),
        (["dog=1", "2"], "got dog=1 2"),
        (["0", "0", "0"], "must have a factor above 0"),
    ],
)
def test_what_are_no_weights_is_refused_by_the_configuration(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        training.TrainConfig(class_weights=given)


def test_what_does_not_fit_the_classes_is_refused():
    with pytest.raises(ValueError, match="must be one for each of the 3 classes; got 2"):
        class_weights(["1", "2"], TRAIN)
    with pytest.raises(ValueError, match="must name classes, which are cat, dog, a=b; got 'cow'"):
        class_weights(["cow=2"], TRAIN)
    with pytest.raises(ValueError, match="must name each class once; got 'dog' twice"):
        class_weights(["dog=2", "dog=4"], TRAIN)
    with pytest.raises(ValueError, match="must have a factor above 0; got cat=0 dog=0 a=b=0"):
        class_weights(["cat=0", "dog=0", "a=b=0"], TRAIN)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_they_are_factors_on_the_losses(loss):
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)
    labels = jnp.array([0, 1, 2, 2, 1])
    task = training.TASKS["classification"](loss)
    plain, weighted = Objective(task), Objective(task, class_weights=(1.0, 2.0, 0.5))
    factors = jnp.array([1.0, 2.0, 0.5, 0.5, 2.0])
    np.testing.assert_allclose(weighted.losses(logits, labels), factors * plain.losses(logits, labels), rtol=1e-6)
    mixed = 0.75 * jnp.eye(3)[labels] + 0.25 * jnp.eye(3)[labels[::-1]]
    between = 0.75 * factors + 0.25 * factors[::-1]
    np.testing.assert_allclose(weighted.losses(logits, mixed), between * plain.losses(logits, mixed), rtol=1e-6)


def test_a_training_with_them_finds_the_rare_class(small):
    """Its examples are those of another class with a small mark: without weights it is hardly worth finding."""
    from flax import nnx

    noise = small.noise(40)
    rare = noise._replace(labels=np.where(np.arange(40) % 10 == 0, 1, 0).astype(noise.labels.dtype))

    def share(**options):
        model = small.Convolutional(nnx.Rngs(0))
        config = training.TrainConfig(epochs=2, batch_size=10, learning_rate=0.02, seed=1, **options)
        run = training.fit(model, rare, config=config, observer=None)
        return training.predict(model, rare.images, run.scaling)[:, 1].mean()

    plain = share()
    assert share(class_weights=("balanced",)) > plain + 0.05
    assert share(sampling="balanced") > plain + 0.05
    assert share(class_weights=("0=9",) if "0" in rare.classes else (f"{rare.classes[0]}=9",)) < plain
