"""The transposed convolution as a layer: against Flax's and PyTorch's, and bilinear interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers
from jaxcnn.layers import initializers


@pytest.mark.parametrize(
    ("window", "strides", "padding"), [((2, 2), 2, "SAME"), ((4, 4), 2, 1), ((3, 2), (1, 3), "VALID")]
)
def test_it_is_flaxs(random, window, strides, padding):
    ours = layers.ConvTranspose(3, 5, window, strides, padding=padding, rngs=nnx.Rngs(0))
    steps = (strides, strides) if isinstance(strides, int) else strides
    # Flax pads the spread input, we name the padding of the convolution that is transposed
    pads = [(k - 1 - padding, k - 1 - padding) for k in window] if isinstance(padding, int) else padding
    theirs = nnx.ConvTranspose(3, 5, window, steps, padding=pads, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(ours.kernel[...], theirs.kernel[...])
    ours.bias[...] = theirs.bias[...] = jnp.arange(5.0)
    x = random.normal(size=(2, 4, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    slopes = [
        jax.tree.leaves(nnx.state(nnx.grad(lambda layer: jnp.sum(jnp.sin(layer(x))))(layer)))
        for layer in (ours, theirs)
    ]
    for own, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)
    assert ours.window(x.shape[1:-1]).output_shape(x.shape[1:-1]) == ours(x).shape[1:-1]


def test_options_reach_it():
    layer = layers.ConvTranspose(2, 3, (2, 2), 2, use_bias=False, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    assert layer(jnp.ones((1, 2, 2, 2))).dtype == jnp.bfloat16 and layer.bias is None
    assert layer.kernel[...].dtype == jnp.float32
    forward = layers.ConvTranspose(2, 3, (2, 2), 2, rngs=nnx.Rngs(0), rule="autodiff")
    x = jnp.ones((1, 2, 2, 2))
    assert jax.jvp(forward, (x,), (x,))[1].shape == (1, 4, 4, 3)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_it_begins_as_bilinear_interpolation(random, factor):
    torch = pytest.importorskip("torch")
    size, options = 2 * factor - factor % 2, {"kernel_init": initializers.bilinear(factor), "use_bias": False}
    layer = layers.ConvTranspose(2, 2, (size, size), factor, padding=factor // 2, rngs=nnx.Rngs(0), **options)
    x = random.normal(size=(1, 5, 4, 2)).astype(np.float32)
    found = np.asarray(layer(x))
    large = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 3, 1, 2), scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert found.shape == (1, 5 * factor, 4 * factor, 2)
    inside = slice(factor, -factor)  # at the border they repeat cells, and here are zeros
    expected = large.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found[:, inside, inside], expected[:, inside, inside], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"must have a window of {size} cells for a factor of {factor}"):
        layers.ConvTranspose(1, 1, (size + 1, size), kernel_init=initializers.bilinear(factor), rngs=nnx.Rngs(0))


def test_pytorch_has_its_weights_flipped(random, tmp_path):
    torch = pytest.importorskip("torch")
    from jaxcnn.weights.layouts import CONV_TRANSPOSE

    layer = layers.ConvTranspose(3, 4, (3, 2), (2, 2), padding=0, rngs=nnx.Rngs(0))
    kernel, x = np.asarray(layer.kernel[...]), random.normal(size=(1, 4, 5, 3)).astype(np.float32)
    weight = CONV_TRANSPOSE.write(kernel)
    assert weight.shape == CONV_TRANSPOSE.shape(kernel.shape) == (3, 4, 3, 2)
    np.testing.assert_array_equal(CONV_TRANSPOSE.read(weight), kernel)
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(weight.copy()), stride=2
    )
    np.testing.assert_allclose(layer(x), expected.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
