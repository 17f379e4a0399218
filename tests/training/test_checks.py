"""Examples that a network cannot learn from are refused before anything is trained or written."""

import re
from typing import Any
from unicodedata import normalize

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, inspect, models, training
from jaxcnn.data import Dataset, PictureFiles, Scaling
from jaxcnn.training import TrainConfig

SHORT = TrainConfig(epochs=1, batch_size=4)
BYTES, FLOATS = Scaling((0.5,), (0.3,)), Scaling((0.5,), (0.3,), 1.0)


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"):
        yield


def network(outputs: int, **options) -> models.Network:
    return models.create("mlp", num_classes=outputs, image_size=(4, 4), hidden=(3,), rngs=nnx.Rngs(0), **options)


def some(labels, classes: int = 3, dtype: Any = np.int64, images: Any = None) -> Dataset:
    labels = np.asarray(labels, dtype)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 1), np.uint8) if images is None else images
    return Dataset(images, labels, tuple(map(str, range(classes))), "some", "train")


def fit(model, train, held_out=None, config=SHORT, **options):
    return training.fit(model, train, held_out, config, observer=None, **options)


WRONG = {
    "1 to K": ([1, 2, 3, 1, 2, 3, 1, 2], np.int64, "from 0 to 2, for the 3 outputs of the network; got 3, and 2 of 8"),
    "one label K": ([0, 1, 2, 0, 1, 2, 3, 2], np.uint8, "from 0 to 2, .*; got 3, and 1 of 8 outside."),
    "-1": (
        [0, 1, 2, 0, 1, -1, 1, 2],
        np.int32,
        r"for the 3 outputs of the network, with unlabeled examples left out \(`dataset.pick\(labels >= 0\)`\); "
        "got -1, and 1 of 8 outside.",
    ),
    "bools": ([True, False] * 4, bool, "integers .* as `labels.astype\\('int32'\\)` makes of these; got bool."),
    "beyond 32 bits": ([0, 1, 2, 0, 1, 2**32, 1, 2], np.int64, "; got 4294967296, and 1 of 8 outside."),
    "floats": (
        [0.0, 1, 2, 0, 1, 2, 1, 2],
        np.float32,
        r"integers that number classes, as `labels.astype\('int32'\)` makes of these; got float32.",
    ),
}


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize(("labels", "dtype", "sentence"), WRONG.values(), ids=WRONG)
def test_labels_without_an_output_are_refused(tmp_path, labels, dtype, sentence, loss):
    wrong, right = some(labels, dtype=dtype), some([0, 1, 2, 0])
    config = TrainConfig(epochs=1, batch_size=4, loss=loss)
    for train, held_out in ((wrong, None), (right, wrong)):
        with pytest.raises(ValueError, match=f"`labels` of the train split of some must be .*{sentence}"):
            fit(network(3), train, held_out, config, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=sentence):
        training.evaluate(network(3), wrong, BYTES, loss=loss)


def test_three_outputs_for_ten_classes_are_too_few():
    ten = data.load("digits", "train").take(100)
    model = models.create("lenet5", num_classes=3, rngs=nnx.Rngs(0))
    for ask in (lambda: fit(model, ten), lambda: training.evaluate(model, ten, BYTES)):
        with pytest.raises(ValueError, match="digits must be from 0 to 2, for the 3 outputs of the network; got "):
            ask()


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_one_output_tells_nothing_apart(loss):
    """Cross-entropy of one output is 0, whatever it is."""
    train, config = some([0] * 8, 1), TrainConfig(epochs=1, batch_size=4, loss=loss)
    for ask in (lambda: fit(network(1), train, config=config), lambda: training.evaluate(network(1), train, BYTES)):
        with pytest.raises(ValueError, match="`model` must have two outputs or more, one for each class; got 1 "):
            ask()


def test_targets_of_a_regression_are_refused():
    train = some(np.linspace(-3, 3, 8), 1, np.float64)
    config = TrainConfig(epochs=1, batch_size=4, loss="mean_squared_error")
    with pytest.raises(ValueError, match="unless the task is 'regression'; got float64."):
        fit(network(1), train, config=config)


def test_there_is_one_label_for_each_example():
    train = some([0, 1, 2, 0, 1, 2])
    for labels, shape in ((train.labels[:5], "(5,)"), (2 * np.eye(3, dtype=int)[train.labels], "(6, 3)")):
        sentence = re.escape(f"must be one for each of 6 examples; got shape {shape}.")
        with pytest.raises(ValueError, match=sentence):
            fit(network(3), train._replace(labels=labels))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_one_hot_labels_are_told_how_to_become_numbers(dtype):
    train = some([0, 1, 2, 0, 1, 2])
    one_hot = train._replace(labels=np.eye(3, dtype=dtype)[train.labels])
    with pytest.raises(ValueError, match=r"one number .* as `labels.argmax\(-1\)` makes of one-hot rows; got shape"):
        fit(network(3), one_hot)
    assert fit(network(3), train._replace(labels=one_hot.labels.argmax(-1))).steps == 1


def test_a_list_of_labels_is_told_how_to_become_an_array():
    listed = some([0, 1, 2, 0, 1, 2])._replace(labels=[0, 1, 2, 0, 1, 2])
    for ask in (
        lambda: fit(network(3), listed),
        lambda: training.evaluate(network(3), listed, BYTES),
        lambda: listed.pick(np.arange(2)),
        lambda: listed.split_off(0.5),
    ):
        with pytest.raises(ValueError, match=r"must be an array, as `np.array\(labels\)` makes of these; got a list."):
            ask()


class OfWords(nnx.Module):
    """Anyone's network: no name of ours in it."""

    def __init__(self, rngs: nnx.Rngs):
        self.table, self.head = nnx.Embed(6, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, words):
        return self.head(self.table(words).mean(1))


def test_sequences_of_anyone_s_network_are_held_too():
    words = np.random.default_rng(0).integers(0, 6, (8, 5)).astype(np.int32)
    found = Dataset(words, np.array([0, 1, 2, 3] * 2), tuple("abcd"), "some", "train", tuple("uvwxyz"))
    with pytest.raises(ValueError, match="from 0 to 2, for the 3 outputs of the network; got 3, and 2 of 8 outside."):
        fit(OfWords(nnx.Rngs(0)), found)
    assert fit(OfWords(nnx.Rngs(0)), found._replace(labels=np.array([0, 1] * 4))).steps == 2


def test_streams_are_held_before_a_picture_is_decoded(tmp_path):
    stream = PictureFiles(tmp_path, [f"{number}.png" for number in range(8)], (4, 4, 1))
    with pytest.raises(ValueError, match="; got 3, and 1 of 8 outside."):
        training.evaluate(network(3), some([0, 1, 2, 0, 1, 2, 3, 0], images=stream), BYTES)


@pytest.mark.parametrize("augment", [(), ("flip", "mixup")], ids=["plain", "mixed"])
def test_a_network_may_have_more_outputs_than_there_are_classes(augment):
    config = TrainConfig(epochs=1, batch_size=4, augment=augment)
    assert fit(network(7), some([0, 1, 2, 0, 1, 2, 1, 2]), config=config).steps == 2


def test_every_layout_is_held(small):
    wrong = some([0, 1, 2, 3] * 2)
    for kind in ("jit", "pmap"):
        layout = training.Layout(kind)
        with pytest.raises(ValueError, match="; got 3, and 2 of 8 outside."):
            fit(network(3), wrong, layout=layout)
        with pytest.raises(ValueError, match="; got 3, and 2 of 8 outside."):
            training.evaluate(network(3), wrong, BYTES, layout=layout)


def test_labels_in_bytes_are_right_beyond_class_255():
    """The largest logit of 300 is number 256 for everyone, which is 0 in a byte."""

    class Constant(nnx.Module):
        def __call__(self, images):
            return jax.numpy.zeros((len(images), 300)).at[:, 256].set(1.0)

    assert training.evaluate(Constant(), some([0, 1, 2, 0], dtype=np.uint8), BYTES).accuracy == 0


def test_held_out_examples_have_the_classes_of_the_training():
    train = some([0, 1, 2, 0, 1, 2, 1, 2])
    for classes, told in (
        (("0", "2", "1"), "0, 1, 2; got '2' in the place of '1'"),
        (("0", "1"), "3, 0, 1, 2; got 2, 0, 1"),
    ):
        held_out = some([0, 1, 1, 0])._replace(classes=classes)
        with pytest.raises(ValueError, match=f"`held_out` must have the classes of `train`, {told} "):
            fit(network(3), train, held_out)
        assert fit(network(3), train, held_out.for_classes(train.classes)).history[0]["eval_split"] == "train"
    words = Dataset(np.zeros((8, 5), np.int32), np.array([0, 1] * 4), tuple("ab"), "some", "train", tuple("uvwxyz"))
    with pytest.raises(ValueError, match="`held_out` must have the vocabulary of `train`, u, v, w and 3 more; got 'U'"):
        fit(OfWords(nnx.Rngs(0)), words, words._replace(vocabulary=tuple("Uvwxyz")))


def test_accents_are_the_same_in_one_sign_and_in_two(tmp_path):
    one, two = (tuple(normalize(form, name) for name in ("café", "naïve", "tea")) for form in ("NFC", "NFD"))
    assert one != two
    train = some([0, 1, 2, 0, 1, 2, 1, 2])._replace(classes=one)
    assert fit(network(3), train, train._replace(classes=two), folder=tmp_path / "run").steps == 2
    assert fit(network(3), train._replace(classes=two), folder=tmp_path / "run", resume=True).steps == 2
    with pytest.raises(ValueError, match="got 'tea' in the place of 'café'"):
        fit(network(3), train, train._replace(classes=two[::-1]))


def test_classes_in_a_list_are_those_in_a_tuple(tmp_path):
    train = some([0, 1, 2, 0, 1, 2, 1, 2])
    words = Dataset(np.zeros((8, 5), np.int32), np.array([0, 1] * 4), tuple("ab"), "some", "train", tuple("uvwxyz"))
    listed = train._replace(classes=list(train.classes))
    assert fit(network(3), listed, train, folder=tmp_path / "run").steps == 2
    assert fit(network(3), listed, train, folder=tmp_path / "run", resume=True).steps == 2
    assert fit(OfWords(nnx.Rngs(0)), words, words._replace(vocabulary=list(words.vocabulary))).steps == 2
    with pytest.raises(ValueError, match="got '2' in the place of '1'"):
        fit(network(3), train, train._replace(classes=["0", "2", "1"]))


def test_no_force_makes_other_classes_the_same(tmp_path):
    train = some([0, 1, 2, 0, 1, 2, 1, 2])
    fit(network(3), train, folder=tmp_path / "run")
    others = train._replace(classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="must be resumed with its own classes, 0, 1, 2; got 'a' in the place of '0'."):
        fit(network(3), others, folder=tmp_path / "run", resume=True, force=True)


SHARES = np.random.default_rng(0).uniform(0, 1, (8, 4, 4, 1)).astype(np.float32)


def shares(images: np.ndarray = SHARES) -> Dataset:
    """Pictures of floats, from 0 to 1 unless others are given."""
    return some([0, 1, 2, 0, 1, 2, 1, 2], images=images)


def test_floats_are_not_shown_to_a_network_that_is_fed_bytes():
    model, wrong = network(3), shares()
    in_bytes = some(wrong.labels)
    for ask in (
        lambda: fit(model, wrong, scaling=BYTES),
        lambda: fit(model, in_bytes, wrong),
        lambda: training.evaluate(model, wrong, BYTES),
        lambda: training.predict(model, wrong.images, BYTES),
        lambda: training.predict(model, SHARES / SHARES.max(), BYTES),  # to white itself
        lambda: training.predict(model, SHARES - 2, BYTES),
    ):
        with pytest.raises(ValueError, match="must be in bytes, from 0 to 255, as in training; got from "):
            ask()
    np.testing.assert_allclose(
        training.predict(model, 255 * SHARES, BYTES), training.predict(model, SHARES, FLOATS), rtol=1e-4
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_dark_batch_does_not_make_bytes_floats(batch_size):
    images = np.zeros((3, 4, 4, 1), np.float32)
    images[:2] = 200
    images[2, 3, 3, 0] = 1
    model = network(3)
    told = training.predict(model, images, BYTES, batch_size=batch_size)
    np.testing.assert_allclose(told, training.predict(model, images.astype(np.uint8), BYTES), rtol=1e-5)
    seen = inspect.features(model, images, "dense1", scaling=BYTES, batch_size=batch_size)
    assert seen.shape == (3, 3)
    dark = Dataset(images, np.array([0, 1, 2]), tuple("012"), "some", "train")
    training.evaluate(model, dark, BYTES, batch_size=batch_size)
    for ask in (
        lambda: training.predict(model, images / 255, BYTES, batch_size=batch_size),
        lambda: inspect.features(model, images / 255, "dense1", scaling=BYTES, batch_size=batch_size),
    ):
        with pytest.raises(ValueError, match="must be in bytes, from 0 to 255, as in training; got from 0 to 0.784."):
            ask()


def test_bytes_are_not_shown_to_a_network_that_is_fed_floats():
    model, wrong = network(3), some([0, 1, 2, 0])
    for ask in (
        lambda: fit(model, shares(), wrong),
        lambda: training.evaluate(model, wrong, FLOATS),
        lambda: training.predict(model, wrong.images, FLOATS),
    ):
        with pytest.raises(ValueError, match="must be floats from 0 to 1, as in training; got bytes."):
            ask()
    training.predict(model, np.asarray(wrong.images) // 255, FLOATS)  # zeros and ones are the same in both


def test_what_lies_outside_floats_is_their_mean():
    train = shares()
    config = TrainConfig(augment=("pad_crop=2",), batch_size=4)
    augmentation = training.make_augmentation(config, train, data.measure_scaling(train))
    assert augmentation is not None
    np.testing.assert_allclose(augmentation.fill, SHARES.mean(), rtol=1e-5)
    changed, _ = augmentation(jax.random.key(0), 0, np.arange(8), SHARES, np.eye(8, dtype=np.float32))
    assert 0 <= float(changed.min()) and float(changed.max()) <= 1
    assert fit(network(3), train, config=TrainConfig(augment=("pad_crop=2",), batch_size=4, epochs=1)).steps == 2


@pytest.mark.parametrize("spec", ["color_jitter=0.4", "rand_augment=2,9"])
def test_colors_of_floats_change_as_those_of_bytes(spec):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    key, ids, targets = jax.random.key(0), np.arange(8), np.eye(8, dtype=np.float32)
    in_bytes, _ = data.Augmentation((spec,), (100.0,))(key, 0, ids, pictures, targets)
    in_shares, _ = data.Augmentation((spec,), (100 / 255,), 1.0)(key, 0, ids, pictures / 255, targets)
    np.testing.assert_allclose(255 * np.asarray(in_shares), in_bytes, atol=1.01)  # rounding of bytes may tip


def test_colors_beyond_black_and_white_are_refused():
    train = shares(np.random.default_rng(0).normal(size=(8, 4, 4, 1)).astype(np.float32))
    config = TrainConfig(epochs=1, batch_size=4, augment=("color_jitter",))
    with pytest.raises(ValueError, match="`color_jitter` needs bytes, or pictures from 0 to 1; got -"):
        fit(network(3), train, config=config)
    assert fit(network(3), train, config=TrainConfig(epochs=1, batch_size=4, augment=("pad_crop=1",))).steps == 2
