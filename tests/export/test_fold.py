"""Batch normalization in the convolution: the same logits without it."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import export, layers, models

_THIN = (4, 8, 8, 8)
# the network, its images, its options, and how many of its normalizations stay
NETWORKS = {
    "vgg11_bn": ((32, 32, 3), {"image_size": (32, 32), "widths": (*_THIN, 8), "hidden": 16}, 0),
    "resnet18": ((32, 32, 3), {"widths": _THIN, "shortcut": "C"}, 0),
    "resnet20": ((12, 12, 3), {"widths": (4, 6, 8)}, 0),
    "plain20": ((12, 12, 3), {"widths": (4, 6, 8)}, 0),
    "tdnn_wide": ((20, 12), {"widths": (8, 8), "dilations": (1, 2)}, 0),
    "resnet18 of version 2": ((32, 32, 3), {"widths": _THIN, "version": 2}, 9),
    "bn_inception": ((32, 32, 3), {}, 0),
    "googlenet": ((32, 32, 3), {"batch_norm": True, "auxiliary": False}, 0),
    "resnet50": ((32, 32, 3), {"widths": _THIN}, 0),
}
_SLOW = {"bn_inception", "googlenet", "resnet50"}


def norms(model):
    return [m for _, m in nnx.iter_modules(model) if isinstance(m, layers.BatchNorm | nnx.BatchNorm)]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in _SLOW else []) for n in NETWORKS])
def test_folding_changes_no_logit(name, settled, random):
    shape, options, stay = NETWORKS[name]
    kind = name.split()[0]
    rngs = nnx.Rngs(params=0, dropout=1)
    model = settled(models.create(kind, num_classes=5, in_features=shape[-1], rngs=rngs, **options))
    before = len(norms(model))
    message = f"{stay} of {before} batch normalizations follow no kernel of their own and stay: "
    with pytest.warns(RuntimeWarning, match=message) if stay else contextlib.nullcontext():
        folded = export.fold_batch_norm(model)
    assert len(norms(folded)) == stay and len(norms(model)) == before
    images = jnp.asarray(random.normal(size=(2, *shape)), jnp.float32)
    call = nnx.jit(lambda model, images: model(images))
    expected = call(model, images)
    assert np.abs(call(folded, images) - expected).max() < 1e-4 * np.abs(expected).max()


class Flax(nnx.Module):
    """Flax's own layers: what is folded, and what must not be."""

    def __init__(self, *, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_bias=False, rngs=rngs)
        self.dense = nnx.Linear(4, 6, use_bias=False, rngs=rngs)
        self.dense_norm = nnx.BatchNorm(6, use_scale=False, rngs=rngs)
        self.read_twice = nnx.Linear(6, 6, rngs=rngs)
        self.after_read_twice = layers.BatchNorm(6, rngs=rngs)
        self.called_twice = nnx.Linear(6, 6, rngs=rngs)
        self.once, self.again = layers.BatchNorm(6, rngs=rngs), layers.BatchNorm(6, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.conv(x)).mean((1, 2))
        x = self.dense_norm(self.dense(x))
        y = self.read_twice(x)
        x = self.after_read_twice(y) + y
        return self.again(self.called_twice(self.once(self.called_twice(x))))


def test_layers_of_flax_are_folded_and_shared_outputs_are_not(random):
    model = Flax(rngs=nnx.Rngs(0))
    for norm in norms(model):
        size = norm.mean[...].shape
        norm.mean[...] = jnp.asarray(random.normal(size=size), jnp.float32)
        norm.var[...] = jnp.asarray(random.uniform(0.5, 2, size), jnp.float32)
    model.eval()
    with pytest.warns(RuntimeWarning, match="3 of 5 .* stay: after_read_twice, once, again."):
        folded = export.fold_batch_norm(model, (8, 8, 3))
    images = jnp.asarray(random.normal(size=(2, 8, 8, 3)), jnp.float32)
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-4, atol=1e-5)


class OtherAxes(nnx.Module):
    """Normalizations that follow a convolution, but not its outputs, and one after a masked kernel."""

    def __init__(self, *, rngs):
        mask = np.arange(3 * 3 * 3 * 4).reshape(3, 3, 3, 4) % 2 == 0
        self.first, self.rows = nnx.Conv(3, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, axis=1, rngs=rngs)
        self.second, self.columns = layers.Conv(8, 3, (3, 3), rngs=rngs), layers.BatchNorm(8, axis=2, rngs=rngs)
        self.masked, self.norm = layers.Conv(3, 4, (3, 3), mask=mask, rngs=rngs), layers.BatchNorm(4, axis=3, rngs=rngs)

    def __call__(self, x):
        x = self.columns(self.second(self.rows(self.first(x))))
        return self.norm(self.masked(x)).mean((1, 2))


def test_only_a_normalization_of_the_outputs_is_folded(random):
    model = OtherAxes(rngs=nnx.Rngs(0))
    for norm in norms(model):
        size = norm.mean[...].shape
        norm.mean[...] = jnp.asarray(random.normal(size=size), jnp.float32)
        norm.var[...] = jnp.asarray(random.uniform(0.5, 2, size), jnp.float32)
    model.eval()
    with pytest.warns(RuntimeWarning, match="2 of 3 .* stay: rows, columns."):
        folded = export.fold_batch_norm(model, (8, 8, 3))
    images = jnp.asarray(random.normal(size=(2, 8, 8, 3)), jnp.float32)
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-4, atol=1e-5)


def test_a_network_that_does_not_tell_its_input_is_asked_for_it():
    with pytest.raises(ValueError, match="`input_shape` must be given for Flax; got None."):
        export.fold_batch_norm(Flax(rngs=nnx.Rngs(0)))


def test_a_network_without_normalization_stays_as_it_is(digits):
    folded = export.fold_batch_norm(digits.model)
    inputs = jnp.asarray(digits.scaling(digits.images[:2]))
    np.testing.assert_array_equal(folded(inputs), digits.model(inputs))


def test_a_normalization_under_two_names_is_replaced_under_both(settled, random):
    class Twice(nnx.Module):
        def __init__(self):
            self.conv = layers.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0))
            self.norm = layers.BatchNorm(3, rngs=nnx.Rngs(0))
            self.same = self.norm

        def __call__(self, x):
            return self.same(x=self.conv(x))

    model = settled(Twice())
    model.eval()
    x = jnp.asarray(random.normal(size=(2, 5, 5, 2)), jnp.float32)
    folded = export.fold_batch_norm(model, (5, 5, 2))
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-4, atol=1e-5)
    assert not norms(folded)
