"""The randomization check finds the maps that ignore the weights."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect
from jaxcnn.inspect.attribution.randomization import METHODS, structural_similarity


@pytest.fixture
def pictures(random):
    return random.normal(size=(2, 8, 8, 1)).astype(np.float32)


def last_kernel(model, images, targets):
    """A map of the head's weights alone."""
    del images, targets
    return np.tile(np.abs(np.asarray(model.head.kernel[...])).reshape(4, 5)[None], (2, 1, 1))


def test_a_map_of_the_image_alone_never_changes_and_is_named(small, pictures):
    methods = {"edges": METHODS["edges"], "head": last_kernel}
    found = inspect.randomization_check(small(), pictures, 1, methods=methods)
    assert found.layers == ("none", "head", "conv2", "conv1")
    np.testing.assert_allclose(found.rank["edges"], 1, atol=1e-12)
    np.testing.assert_allclose(found.ssim["edges"], 1, atol=1e-12)
    assert found.rank["head"][0] == pytest.approx(1) and (found.rank["head"][1:] < 0.6).all()
    assert found.ignoring() == ("edges",)
    assert found.maps["edges"].shape == (4, 8, 8) and found.maps["edges"].max() == 1


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_layers_are_shuffled_one_after_the_other_or_alone(small, pictures, order):
    model, seen = small(), []

    def spy(twin, images, targets):
        seen.append({path[0]: np.asarray(v[...]) for path, v in nnx.to_flat_state(nnx.state(twin)) if "kernel" in path})
        return images

    before = jax.tree.map(np.asarray, nnx.state(model))
    inspect.randomization_check(model, pictures, 1, methods={"spy": spy}, order=order)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))
    changed = [{name for name in each if not np.array_equal(each[name], seen[0][name])} for each in seen]
    alone = [set(), {"head"}, {"conv2"}, {"conv1"}]
    assert changed == (alone if order == "independent" else [set().union(*alone[: n + 1]) for n in range(4)])
    for each in seen:
        for name, kernel in each.items():
            np.testing.assert_array_equal(np.sort(kernel, None), np.sort(seen[0][name], None))


def test_groups_join_neighboring_layers(small, pictures):
    found = inspect.randomization_check(small(), pictures, methods={"edges": METHODS["edges"]}, groups=2)
    assert found.layers == ("none", "conv2", "conv1")


def test_by_default_every_method_that_applies_is_compared(small, pictures):
    found = inspect.randomization_check(small(), pictures, groups=1)
    assert list(found.rank) == list(METHODS)
    without = inspect.randomization_check(small(activation="tanh"), pictures, groups=1)
    assert set(METHODS) - set(without.rank) == {"guided backprop", "deconvnet"}


def test_ranks_agree_with_scipy_and_similarity_with_scikit_image(random, small):
    from scipy import stats

    metrics = pytest.importorskip("skimage.metrics")
    a, b = random.uniform(size=(2, 12, 9))
    expected = metrics.structural_similarity(a, b, data_range=1.0, win_size=7)
    assert structural_similarity(a, b) == pytest.approx(expected, abs=1e-6)
    maps = iter([a[None], b[None]])
    methods = {"given": lambda model, images, targets: next(maps)}
    images = np.zeros((1, 12, 9, 1), np.float32)
    found = inspect.randomization_check(small(), images, methods=methods, groups=1)
    assert found.rank["given"][1] == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic)


@pytest.mark.parametrize("shape", [(6, 6), (3, 9), (2, 2), (1, 4)])
def test_maps_smaller_than_the_window_have_a_similarity(random, shape):
    a, b = random.uniform(size=(2, *shape))
    assert structural_similarity(a, a) == pytest.approx(1)
    assert -1 <= structural_similarity(a, b) < 1


def test_a_dead_map_resembles_nothing(small, pictures):
    maps = iter([np.ones((2, 8, 8)), np.zeros((2, 8, 8))])
    methods = {"dead": lambda model, images, targets: next(maps)}
    assert inspect.randomization_check(small(), pictures, methods=methods, groups=1).rank["dead"].tolist() == [0, 0]


def test_unknown_orders_are_refused(small, pictures):
    with pytest.raises(ValueError, match="`order` must be one of .*; got 'upwards'"):
        inspect.randomization_check(small(), pictures, order="upwards")
