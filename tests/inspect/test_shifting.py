"""Shifts: what moves, and that networks without borders and strides do not care."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, layers, ops


class Round(nnx.Module):
    """Two convolutions round the borders, a pooling between them, the mean, one dense layer."""

    def __init__(self, pool: str = "none", *, padding: str = "CIRCULAR", seed: int = 0):
        rngs = nnx.Rngs(seed)
        self.conv1 = layers.Conv(1, 6, (3, 3), padding=padding, rngs=rngs)
        self.conv2 = layers.Conv(6, 8, (5, 3), padding=padding, rngs=rngs)
        self.head = nnx.Linear(8, 10, rngs=rngs)
        self.pool = pool

    def __call__(self, x):
        x = ops.relu(self.conv1(x))
        if self.pool == "subsample":
            x = ops.subsample(x, 2)
        elif self.pool == "max":
            x = ops.max_pool(x, 2)
        return self.head(ops.global_avg_pool(ops.relu(self.conv2(x))))


def torn(model, pictures):
    """Moves the untrained network's answers apart: by its initial weights it says the same of everything."""
    model.head.bias[...] = model.head.bias[...] - model(pictures).mean(0)
    return model


@pytest.fixture
def pictures(random):
    return random.normal(size=(40, 12, 10, 1)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_round_borders_stride_1_and_the_mean_are_exactly_consistent_before_training(pictures, seed):
    model = torn(Round(seed=seed), pictures)
    assert len(set(np.asarray(model(pictures)).argmax(-1).tolist())) > 4
    assert inspect.shift_consistency(model, pictures, reach=12, pairs=6, batch_size=40) == 1.0


@pytest.mark.parametrize("changes", [{"pool": "subsample"}, {"pool": "max"}, {"padding": "SAME"}], ids=str)
def test_strides_and_borders_of_zeros_are_not(pictures, changes):
    assert inspect.shift_consistency(torn(Round(**changes), pictures), pictures, reach=5, pairs=4, batch_size=40) < 1


def test_consistency_is_the_share_of_equal_answers(pictures):
    class First(nnx.Module):
        """Says whether the first cell is positive."""

        def __call__(self, x):
            return jax.numpy.stack([x[:, 0, 0, 0], -x[:, 0, 0, 0]], -1)

    found = inspect.shift_consistency(First(), pictures, reach=3, pairs=5, seed=4, batch_size=16)
    moves = np.random.default_rng(4).integers(-3, 4, (5, 2, 2))
    cells = [[pictures[:, -d % 12, -r % 10, 0] > 0 for d, r in pair] for pair in moves]
    assert found == pytest.approx(np.mean([a == b for a, b in cells]))


@pytest.mark.parametrize("offset", [(0, 0), (2, -3), (-5, 1), (11, 9), (-14, 23)], ids=str)
def test_what_leaves_comes_in_on_the_other_side(pictures, offset):
    np.testing.assert_array_equal(inspect.shifted(pictures, offset), np.roll(pictures, offset, (1, 2)))


def test_borders_are_repeated_or_mirrored():
    row = np.arange(4.0).reshape(1, 1, 4, 1)
    for offset, border, expected in (
        (2, "edge", [0, 0, 0, 1]),
        (-2, "edge", [2, 3, 3, 3]),
        (6, "edge", [0, 0, 0, 0]),
        (2, "reflect", [2, 1, 0, 1]),
        (-1, "reflect", [1, 2, 3, 2]),
    ):
        assert inspect.shifted(row, (0, offset), border).ravel().tolist() == expected, (offset, border)
    with pytest.raises(ValueError, match="`offset` must be smaller than the image's 4 cells to reflect; got 4"):
        inspect.shifted(row, (0, 4), "reflect")
    with pytest.raises(ValueError, match="`border` must be one of .*; got 'zero'"):
        inspect.shifted(row, (0, 1), "zero")


@pytest.mark.parametrize("axis", ["right", "down"])
def test_the_curve_has_the_probability_of_the_class_at_every_offset(pictures, axis):
    model = Round("max")
    found = inspect.shift_curve(model, pictures[:3], [1, 2, 3], reach=2, axis=axis, batch_size=4)
    assert found.offsets.tolist() == [-2, -1, 0, 1, 2]
    for place, offset in enumerate(found.offsets):
        moved = np.roll(pictures[:3], offset, 2 if axis == "right" else 1)
        shares = np.asarray(jax.nn.softmax(model(moved)))
        np.testing.assert_allclose(found.probabilities[:, place], shares[range(3), [1, 2, 3]], atol=1e-6)
        np.testing.assert_array_equal(found.predictions[:, place], shares.argmax(-1))


def test_what_is_no_picture_is_refused(pictures):
    for call in (inspect.shift_consistency, lambda model, x: inspect.shift_curve(model, x, 0)):
        with pytest.raises(ValueError):
            call(nnx.Linear(10, 3, rngs=nnx.Rngs(0)), pictures[..., 0])
    with pytest.raises(ValueError, match="`pairs` must be positive; got 0"):
        inspect.shift_consistency(Round(), pictures, pairs=0)
