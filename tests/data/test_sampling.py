"""Sampling is a function of seed and epoch; balanced, every class comes equally often."""

import pickle

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.sampling import order_of_epochs

LABELS = np.repeat(np.arange(4), [60, 30, 7, 0]).astype(np.int32)  # the last class has no example


def test_balanced_epochs_have_every_class_equally_often():
    order = order_of_epochs(LABELS, 3, "balanced")
    for epoch in range(4):
        chosen = order(epoch)
        assert chosen.shape == (97,) and chosen.dtype == np.int32
        counts = np.bincount(LABELS[chosen], minlength=4)
        assert sorted(counts[:3]) == [32, 32, 33] and counts[3] == 0


def test_rare_examples_come_equally_often_and_frequent_ones_in_turn():
    order = order_of_epochs(LABELS, 0, "balanced")
    times = np.bincount(order(0), minlength=97)
    assert set(times[90:97]) <= {4, 5} and times[:60].max() == 1
    seen = np.unique(np.concatenate([order(epoch) for epoch in range(12)]))
    assert len(seen) == 97, "every example comes at some time"


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_an_epoch_depends_on_seed_and_number_alone(sampling):
    first, again = (order_of_epochs(LABELS, 5, sampling) for _ in range(2))
    for epoch in (4, 0, 4, 2):  # in any order
        np.testing.assert_array_equal(first(epoch), pickle.loads(pickle.dumps(again))(epoch))
    assert (first(0) != first(1)).any() and (first(0) != order_of_epochs(LABELS, 6, sampling)(0)).any()
    if sampling == "uniform":
        np.testing.assert_array_equal(np.sort(first(3)), np.arange(97))


def test_batches_ahead_are_those_of_each_step():
    images = np.arange(97, dtype=np.uint8).reshape(97, 1, 1, 1)
    dataset = data.Dataset(images, LABELS, ("a", "b", "c", "d"), "made", "train")
    with data.batches_ahead(dataset, 10, 1, 3, 25, sampling="balanced") as batches:
        for step, batch in zip(range(3, 25), batches, strict=True):
            alone = data.train_batch(dataset, 10, 1, step, sampling="balanced")
            np.testing.assert_array_equal(batch.ids, alone.ids)
            np.testing.assert_array_equal(batch.images.ravel(), batch.ids)
            np.testing.assert_array_equal(batch.labels, LABELS[batch.ids])


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ValueError, match=r"`sampling` must be one of uniform, balanced; got 'rare'\."):
        order_of_epochs(LABELS, 0, "rare")
