"""The Dice loss: against its formula in PyTorch and in NumPy, what does not count, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops


def by_loops(logits, labels, smooth, ignored):
    """The definition, pixel by pixel."""
    losses = []
    for z, t in zip(logits.astype(np.float64), labels, strict=True):
        classes, kept = z.shape[-1], [place for place in np.ndindex(t.shape) if t[place] != ignored]
        shares = {place: np.exp(z[place]) / np.exp(z[place]).sum() for place in kept}
        quotients = []
        for c in range(classes):
            both = sum(shares[place][c] for place in kept if t[place] == c)
            sizes = sum(shares[place][c] + (t[place] == c) for place in kept)
            quotients.append((2 * both + smooth) / (sizes + smooth))
        losses.append(1 - np.mean(quotients))
    return np.array(losses)


@pytest.mark.parametrize("shape", [(3, 7), (2, 4, 5), (2, 3, 2, 2)])
@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_it_is_its_definition_in_one_to_three_spatial_axes(random, shape, smooth):
    logits, labels = random.normal(size=(*shape, 4)).astype(np.float32) * 3, random.integers(0, 4, shape)
    labels.flat[::5] = 255
    found = ops.dice_loss(logits, labels, smooth=smooth, ignore_index=255)
    np.testing.assert_allclose(found, by_loops(logits, labels, smooth, 255), rtol=1e-5)


def test_value_and_gradient_are_pytorchs(random):
    torch = pytest.importorskip("torch")
    logits, labels = random.normal(size=(3, 5, 4, 6)).astype(np.float32), random.integers(0, 6, (3, 5, 4))
    error = random.normal(size=3).astype(np.float32)
    z = torch.tensor(logits, requires_grad=True)
    shares, hot = z.softmax(-1), torch.nn.functional.one_hot(torch.tensor(labels), 6).float()
    expected = 1 - ((2 * (shares * hot).sum((1, 2)) + 1) / ((shares + hot).sum((1, 2)) + 1)).mean(-1)
    expected.backward(torch.tensor(error))
    loss, back = jax.vjp(lambda z: ops.dice_loss(z, labels), logits)
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-6)
    np.testing.assert_allclose(back(error)[0], z.grad, rtol=1e-4, atol=1e-8)


def test_a_right_answer_loses_nothing_and_a_wrong_one_all():
    labels = jnp.arange(16).reshape(1, 4, 4) % 2
    sure = 100 * jax.nn.one_hot(labels, 2)
    assert float(ops.dice_loss(sure, labels)[0]) == pytest.approx(0, abs=1e-6)
    assert float(ops.dice_loss(sure, 1 - labels, smooth=1e-6)[0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rule", ["hand", "autodiff"])
def test_what_does_not_count_has_no_part_whatever_its_logits_are(random, rule):
    logits, labels = random.normal(size=(2, 3, 3, 4)).astype(np.float32), random.integers(0, 4, (2, 3, 3))
    labels[:, 1] = 255
    strange = logits.copy()
    strange[:, 1] = [np.nan, np.inf, -np.inf, 0]

    def of(logits):
        return ops.dice_loss(logits, labels, ignore_index=255, rule=rule).sum()

    np.testing.assert_array_equal(of(logits), of(strange))
    slope, other = jax.grad(of)(jnp.asarray(logits)), jax.grad(of)(jnp.asarray(strange))
    np.testing.assert_array_equal(slope, other)
    assert not slope[:, 1].any() and slope[:, 0].any()
    nothing = ops.dice_loss(logits, np.full_like(labels, 255), ignore_index=255)
    np.testing.assert_array_equal(nothing, [0, 0])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_halves_are_summed_in_float32(random, dtype):
    logits, labels = jnp.asarray(random.normal(size=(1, 80, 80, 3)), dtype), random.integers(0, 3, (1, 80, 80))
    loss = ops.dice_loss(logits, labels)
    assert loss.dtype == dtype and jax.grad(lambda z: ops.dice_loss(z, labels).sum())(logits).dtype == dtype
    np.testing.assert_allclose(loss, ops.dice_loss(logits.astype(jnp.float32), labels), rtol=1e-2)


def test_one_hot_probabilities_are_labels(random):
    logits, labels = random.normal(size=(2, 4, 4, 3)).astype(np.float32), random.integers(0, 3, (2, 4, 4))
    hot = np.eye(3, dtype=np.float32)[labels]
    np.testing.assert_array_equal(ops.dice_loss(logits, hot), ops.dice_loss(logits, labels))


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda z, t: ops.dice_loss(z.astype(int), t), TypeError, "`logits` must be real floating"),
        (lambda z, t: ops.dice_loss(z, t > 0), TypeError, "`labels` must be integers, or real floating probabilities"),
        (lambda z, t: ops.dice_loss(z[0, 0], t[0, 0]), ValueError, r"`logits` must be \(N, \*spatial, K\); got shape"),
        (lambda z, t: ops.dice_loss(z, t[:1]), ValueError, r"`labels` must have shape \(2, 4, 4\), for logits"),
        (lambda z, t: ops.dice_loss(z, t, smooth=0), ValueError, "`smooth` must be positive and finite; got 0."),
        (lambda z, t: ops.dice_loss(z, z, ignore_index=1), ValueError, "`ignore_index` needs integer labels; got 1"),
        (lambda z, t: ops.dice_loss(z, t, rule="x"), ValueError, "`rule` must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(call, kind, told):
    with pytest.raises(kind, match=told):
        call(np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), int))
