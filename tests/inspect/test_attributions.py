"""Maps of why a network decides, held against what they are defined to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import inspect, layers, models
from jaxcnn.inspect.scores import taken_apart
from jaxcnn.inspect.stage_gradients import stage_and_gradient


class Plane(nnx.Module):
    """A score that is linear in the image, with known weights."""

    def __init__(self, weights):
        self.weights = nnx.Param(jnp.asarray(weights))

    def __call__(self, x):
        return x.reshape(len(x), -1) @ self.weights[...] + 1


@pytest.fixture
def plane(random):
    return Plane(random.normal(size=(4 * 4 * 2, 3)).astype(np.float32))


@pytest.fixture
def pictures(random):
    return random.normal(size=(3, 8, 8, 1)).astype(np.float32)


def test_of_a_linear_score_every_map_is_its_weights(random, plane):
    x = random.normal(size=(2, 4, 4, 2)).astype(np.float32)
    weights = np.asarray(plane.weights[...]).T.reshape(3, 4, 4, 2)[[2, 0]]
    np.testing.assert_allclose(inspect.gradient(plane, x, [2, 0]), weights, rtol=1e-6)
    np.testing.assert_allclose(inspect.saliency(plane, x, [2, 0]), np.abs(weights).max(-1), rtol=1e-6)
    np.testing.assert_allclose(inspect.smooth_grad(plane, x, [2, 0], samples=3), weights, rtol=1e-5)
    baseline = np.array([0.5, -1], np.float32)
    shares = inspect.integrated_gradients(plane, x, [2, 0], baseline=baseline, steps=3)
    np.testing.assert_allclose(shares, (x - baseline) * weights, rtol=1e-4, atol=1e-6)


def test_by_default_the_predicted_class_is_explained(small, pictures):
    model = small()
    predicted = np.asarray(model(pictures)).argmax(-1)
    np.testing.assert_array_equal(inspect.gradient(model, pictures), inspect.gradient(model, pictures, predicted))


def test_smooth_grad_is_the_mean_over_its_noise(small, pictures):
    model = small()
    np.testing.assert_allclose(
        inspect.smooth_grad(model, pictures, 1, samples=2, noise=0), inspect.gradient(model, pictures, 1), atol=1e-7
    )
    first, again, other = (inspect.smooth_grad(model, pictures, 1, samples=2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    spread = np.ptp(pictures, (1, 2, 3))[:, None, None, None]
    again = np.random.default_rng(0)
    noisy = [pictures + 0.15 * spread * again.standard_normal(pictures.shape) for _ in range(2)]
    expected = sum(np.asarray(inspect.gradient(model, x.astype(np.float32), 1)) for x in noisy) / 2
    np.testing.assert_allclose(first, expected, atol=1e-6)


@pytest.mark.parametrize(("end", "baseline"), [("mean", 0.0), ("cells", -0.7)])
def test_integrated_gradients_sum_to_the_difference_of_scores(random, small, end, baseline):
    model = small(end=end)
    pictures = random.normal(size=(8, 8, 8, 1)).astype(np.float32)
    maps = inspect.integrated_gradients(model, pictures, 2, baseline=baseline, steps=300)
    total, difference = inspect.completeness(model, pictures, maps, 2, baseline=baseline)
    scores = np.asarray(model(pictures) - model(np.full_like(pictures, baseline)))[:, 2]
    np.testing.assert_allclose(difference, scores, atol=1e-6)
    large = np.abs(scores) > 0.25 * np.abs(scores).max()  # of a difference of nothing there is no one percent
    assert large.sum() > 4
    np.testing.assert_allclose(total[large], scores[large], rtol=0.01)


def test_the_network_is_left_in_its_mode_and_unchanged(pictures):
    model = nnx.Sequential(
        layers.BatchNorm(1, rngs=nnx.Rngs(0)),
        lambda x: x.reshape(len(x), -1),
        nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
        nnx.Linear(64, 3, rngs=nnx.Rngs(0)),
    )
    model.train()
    before = jax.tree.map(np.asarray, nnx.state(model, nnx.BatchStat))
    inspect.gradient(model, pictures)
    assert not model.layers[0].use_running_average and not model.layers[2].deterministic
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model, nnx.BatchStat))


def test_grad_cam_is_the_positive_part_of_cam_where_the_mean_ends_the_network(random, small, pictures):
    residual = models.CifarResNet(5, 1, depth=8, widths=(2, 3, 4), rngs=nnx.Rngs(0))
    for model in (small(), residual, small(end="bare")):
        model.eval()
        cam = np.asarray(inspect.class_activation_map(model, pictures, [1, 3, 0]))
        logits = np.asarray(model(pictures))[np.arange(3), [1, 3, 0]]
        bias = 0 if model.head is None else model.head.bias[...][jnp.array([1, 3, 0])]
        np.testing.assert_allclose(cam.mean((1, 2)) + bias, logits, rtol=1e-4, atol=1e-5)
        found = np.asarray(inspect.grad_cam(model, pictures, [1, 3, 0]))
        np.testing.assert_allclose(found * cam[0].size, np.maximum(cam, 0), rtol=1e-4, atol=1e-5 * np.abs(cam).max())
        assert (cam > 0).any() and ((cam < 0).any() or model.head is None)


def test_cam_needs_a_mean_at_the_end(small, pictures):
    with pytest.raises(ValueError, match="`model` must end with a mean over space .*; got Small"):
        inspect.class_activation_map(small(end="cells"), pictures)


@pytest.mark.parametrize("at", ["conv1", "pool1", "conv2"])
def test_the_gradient_by_a_stage_is_that_of_the_rest_of_the_network(small, pictures, at):
    model = small(end="cells")
    stage, slope = stage_and_gradient(*taken_apart(model), jnp.asarray(pictures), jnp.array([0, 2, 4]), at)
    np.testing.assert_allclose(stage, model(pictures, capture=True)[1][at], atol=1e-6)

    def rest(x):
        for name in ("conv1", "pool1", "conv2")[("conv1", "pool1", "conv2").index(at) + 1 :]:
            x = model.pool1(x) if name == "pool1" else model.activation(getattr(model, name)(x))
        return model.head(x.reshape(len(x), -1))[jnp.arange(3), jnp.array([0, 2, 4])].sum()

    np.testing.assert_allclose(slope, jax.grad(rest)(stage), atol=1e-6)
    expected = np.maximum((np.asarray(slope).mean((1, 2), keepdims=True) * stage).sum(-1), 0)
    np.testing.assert_allclose(inspect.grad_cam(model, pictures, [0, 2, 4], at=at), expected, atol=1e-6)


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_occlusion_is_the_score_less_that_of_the_covered_image(small, pictures, of):
    model, pictures = small(), pictures[[0, 0, 2]]  # one is asked for two classes
    found = inspect.occlusion(model, pictures, [1, 2, 4], window=(3, 2), strides=(2, 3), fill=0.3, of=of, batch_size=4)
    assert found.shape == (3, 3, 3)

    def score(image, target):
        logits = model(image[None])
        return float((logits if of == "logit" else jax.nn.softmax(logits))[0, target])

    for place, target in enumerate([1, 2, 4]):
        for row, column in np.ndindex(3, 3):
            covered = pictures[place].copy()
            covered[2 * row : 2 * row + 3, 3 * column : 3 * column + 2] = 0.3
            expected = score(pictures[place], target) - score(covered, target)
            np.testing.assert_allclose(found[place, row, column], expected, atol=1e-6)


def test_windows_spread_to_the_mean_over_those_that_cover_a_cell():
    grid = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    found = inspect.spread_windows(grid, (5, 4), window=(3, 2), strides=(1, 2))
    np.testing.assert_array_equal(found[0, :, 0], [1, 2, 2, 3, 0])
    np.testing.assert_array_equal(found[0, :, 3], [2, 3, 3, 4, 0])


REFUSED = {
    "no class": (lambda m, x: inspect.gradient(m, x, 5), "`targets` must be from 0 to 4; got 5 to 5"),
    "too few": (lambda m, x: inspect.gradient(m, x, [1]), r"one for each of 3 images; got \(1,\)"),
    "no sample": (lambda m, x: inspect.smooth_grad(m, x, samples=0), "`samples` must be positive"),
    "no step": (lambda m, x: inspect.integrated_gradients(m, x, steps=0), "`steps` must be positive; got 0"),
    "no stage": (lambda m, x: inspect.grad_cam(m, x, at="conv9"), "`at` must be one of conv1, .*; got 'conv9'"),
    "no maps": (lambda m, x: inspect.grad_cam(m, x, at="mean"), r"over space; got 'mean' of shape \(3, 4\)"),
    "no score": (lambda m, x: inspect.occlusion(m, x, of="loss"), "`of` must be one of .*; got 'loss'"),
    "no picture": (lambda m, x: inspect.occlusion(Plane(np.ones((8, 2), "f")), x[:, :, 0]), "must be pictures"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_state_the_rule(small, pictures, name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call(small(), pictures)


def test_words_are_refused(small):
    with pytest.raises(TypeError, match="`images` must be real floating; got int32"):
        inspect.gradient(small(), np.zeros((1, 8, 8, 1), np.int32))
