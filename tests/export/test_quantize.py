"""Kernels of eight bits."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import data, export, models, training


def test_every_kernel_is_within_half_a_step_and_nothing_else_moves(pictures):
    before = dict(nnx.to_flat_state(nnx.state(pictures.model)))
    after = dict(nnx.to_flat_state(nnx.state(export.quantize(pictures.model))))
    kernels = 0
    for path, variable in after.items():
        found, given = np.asarray(variable[...]), np.asarray(before[path][...])
        if path[-1] != "kernel":
            np.testing.assert_array_equal(found, given)
            continue
        kernels += 1
        axes = tuple(range(given.ndim - 1))
        step = np.abs(given).max(axes) / 127
        assert (np.abs(found - given) <= 0.5001 * step).all() and np.any(found != given)
        assert len(np.unique(np.rint(found / step))) <= 255
        np.testing.assert_allclose(np.abs(found).max(axes), np.abs(given).max(axes), rtol=1e-6)
    assert kernels == 20


def test_quantizing_again_changes_nothing():
    model = models.create("lenet5_1998", rngs=nnx.Rngs(0))
    model.c1.kernel[...] = model.c1.kernel[...].at[..., 2].set(0)  # a map that answers nothing has no largest weight
    once = export.quantize(model)
    twice = export.quantize(once)
    images = jnp.ones((1, 28, 28, 1))
    np.testing.assert_allclose(twice(images), once(images), rtol=1e-5)
    assert np.isfinite(once(images)).all()
    assert np.abs(once(images) - model(images)).max() > 0


def test_digits_stand_eight_bits(digits):
    test = data.load("digits", "test")
    before, after = (
        training.evaluate(model, test, digits.scaling).accuracy
        for model in (digits.model, export.quantize(digits.model))
    )
    assert before > 0.6 and abs(after - before) < 0.02
