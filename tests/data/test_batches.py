"""Batches are a pure function of seed and step; evaluation sees every example once; scaling standardizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import data


def numbered(count: int, channels: int = 1) -> data.Dataset:
    """Images that carry their own number, and so do the labels."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 3, channels))
    return data.Dataset(images, np.arange(count, dtype=np.int32), tuple(map(str, range(count))), "numbers", "train")


def epoch_of(dataset: data.Dataset, batch_size: int, seed: int, epoch: int) -> list[int]:
    steps = data.steps_per_epoch(len(dataset.labels), batch_size)
    batches = [data.train_batch(dataset, batch_size, seed, epoch * steps + i) for i in range(steps)]
    return np.concatenate([batch.labels for batch in batches]).tolist()


@given(count=st.integers(1, 60), data_of=st.data())
def test_an_epoch_shows_every_example_once_up_to_the_remainder(count, data_of):
    size = data_of.draw(st.integers(1, count))
    seen = epoch_of(numbered(count), size, data_of.draw(st.integers(0, 2**40)), data_of.draw(st.integers(0, 9)))
    assert len(seen) == len(set(seen)) == count - count % size
    assert set(seen) <= set(range(count))


def test_a_batch_does_not_depend_on_the_batches_drawn_before():
    dataset, steps = numbered(20), [7, 0, 31, 3, 7, 12]
    first = {step: data.train_batch(dataset, 6, 5, step) for step in steps}
    for step in sorted(first, reverse=True):
        for field, expected in zip(data.train_batch(dataset, 6, 5, step), first[step], strict=True):
            np.testing.assert_array_equal(field, expected)


def test_images_labels_and_weights_belong_together():
    batch = data.train_batch(numbered(20, channels=3), 6, 1, 2)
    assert batch.images.shape == (6, 2, 3, 3)
    np.testing.assert_array_equal(batch.images[:, 0, 0, 0], batch.labels)
    np.testing.assert_array_equal(batch.weights, np.ones(6, np.float32), strict=True)


def test_every_epoch_and_every_seed_has_its_own_order():
    dataset = numbered(30)
    orders = [tuple(epoch_of(dataset, 10, seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == len(orders)


def test_an_order_is_drawn_from_seed_and_epoch():
    """Or a run that an older version began would go on with other batches."""
    drawn = np.random.default_rng([7, 2]).permutation(30)
    assert epoch_of(numbered(30), 10, 7, 2) == drawn.tolist()


def test_the_remainder_is_another_one_in_another_epoch():
    left_out = [set(range(10)) - set(epoch_of(numbered(10), 4, 0, epoch)) for epoch in range(50)]
    assert all(len(left) == 2 for left in left_out)
    assert set.union(*left_out) == set(range(10))


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_batch_size_outside_the_examples_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"between 1 and the 10 training examples; got {batch_size}"):
        data.steps_per_epoch(10, batch_size)


@given(count=st.integers(1, 40), size=st.integers(1, 50))
def test_evaluation_batches_hold_every_example_once_in_order(count, size):
    batches = list(data.eval_batches(numbered(count), size))
    assert {batch.images.shape for batch in batches} == {(size, 2, 3, 1)}
    assert {(len(batch.labels), len(batch.weights)) for batch in batches} == {(size, size)}
    labels, weights = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("labels", "weights"))
    images = np.concatenate([batch.images for batch in batches])
    assert set(weights.tolist()) <= {0.0, 1.0}
    np.testing.assert_array_equal(labels[weights > 0], np.arange(count))
    np.testing.assert_array_equal(images[weights > 0][:, 0, 0, 0], np.arange(count))
    assert len(batches) == -(-count // size)


def test_evaluation_batches_keep_their_types():
    *_, last = data.eval_batches(numbered(5), 4)
    assert (last.images.dtype, last.labels.dtype, last.weights.dtype) == (np.uint8, np.int32, np.float32)


def test_scaling_gives_every_channel_mean_0_and_variance_1(random):
    low, high = np.array([0, 100, 3]), np.array([256, 130, 40])
    images = random.integers(low, high, (50, 9, 8, 3)).astype(np.uint8)
    dataset = data.Dataset(images, np.zeros(50, np.int32), ("a",), "noise", "train")
    scaled = data.measure_scaling(dataset)(images)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.astype(np.float64).mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.astype(np.float64).std((0, 1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize("count", [20, 256, 300])  # up to 256 are measured at a time
def test_scaling_measures_what_numpy_measures(random, count):
    images = random.integers(0, 256, (count, 7, 7, 2)).astype(np.uint8)
    scaling = data.measure_scaling(data.Dataset(images, np.zeros(count, np.int32), ("a",), "noise", "train"))
    np.testing.assert_allclose(scaling.mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, (images / 255).std((0, 1, 2)), rtol=1e-9)


def test_a_constant_channel_is_only_shifted():
    images = np.full((4, 2, 2, 1), 51, np.uint8)
    scaling = data.measure_scaling(data.Dataset(images, np.zeros(4, np.int32), ("a",), "flat", "train"))
    assert scaling.std == (1.0,)
    np.testing.assert_allclose(scaling(images), 0, atol=1e-7)


def test_scaling_is_the_same_inside_jit(random):
    images = random.integers(0, 256, (4, 5, 5, 3)).astype(np.uint8)
    scaling = data.Scaling((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    expected = (images / 255 - np.array(scaling.mean)) / np.array(scaling.std)
    np.testing.assert_allclose(scaling(images), expected, rtol=1e-6, atol=1e-6)
    with jax.numpy_rank_promotion("raise"):
        inside = jax.jit(lambda images: scaling(images))(images)
    assert inside.dtype == jnp.float32
    np.testing.assert_allclose(inside, expected, rtol=1e-6, atol=1e-6)


def test_scaling_of_no_images_is_refused():
    with pytest.raises(ValueError, match="the train split of numbers must hold images; got none"):
        data.measure_scaling(numbered(3).take(0))
