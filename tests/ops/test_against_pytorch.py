"""Norms, transposed convolution, adaptive and L_p pools and losses against PyTorch, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops

torch = pytest.importorskip("torch")
F = torch.nn.functional


def channels_first(a):
    return np.moveaxis(a, -1, 1) if a.ndim > 2 else a


def channels_last(a):
    return np.moveaxis(a, 1, -1) if a.ndim > 2 else a


def hold_against(ours, theirs, *arrays, kernels=()):
    """Compares outputs and all gradients; `kernels` are positions of arrays that go over as they are."""
    shape = jax.eval_shape(ours, *arrays).shape
    error = np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)

    @jax.jit
    def value_and_gradients(*arrays):
        y, back = jax.vjp(ours, *arrays)
        return y, back(jnp.asarray(error))

    y, gradients = value_and_gradients(*arrays)
    tensors = [
        torch.tensor(np.ascontiguousarray(a if i in kernels else channels_first(a)), requires_grad=True)
        for i, a in enumerate(arrays)
    ]
    ty = theirs(*tensors)
    np.testing.assert_allclose(y, channels_last(ty.detach().numpy()), rtol=1e-4, atol=1e-5)
    ty.backward(torch.tensor(np.ascontiguousarray(channels_first(error))))
    for i, (ours_gradient, tensor) in enumerate(zip(gradients, tensors, strict=True)):
        gradient = tensor.grad.numpy()
        expected = gradient if i in kernels else channels_last(gradient)
        np.testing.assert_allclose(ours_gradient, expected, rtol=1e-3, atol=1e-4)


def normal(random, *shape):
    return random.normal(size=shape).astype(np.float32)


def test_pytorch_batch_norm(random):
    x, scale, bias = normal(random, 4, 5, 6, 3), normal(random, 3), normal(random, 3)
    hold_against(
        lambda x, s, b: ops.batch_norm(x, s, b)[0],
        lambda x, s, b: F.batch_norm(x, None, None, s, b, training=True),
        x, scale, bias,
    )  # fmt: skip


def test_pytorch_local_response_norm(random):
    x = 3 * normal(random, 2, 4, 4, 7)
    for size in (3, 4, 5):
        hold_against(
            lambda x, size=size: ops.local_response_norm(x, size=size, alpha=0.3 / size, beta=0.75, k=1.5),
            lambda x, size=size: F.local_response_norm(x, size, alpha=0.3, beta=0.75, k=1.5),
            x,
        )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "remainder", "dilation"), [(1, 0, 0, 1), (2, 1, 1, 1), (3, 1, 2, 2)])
def test_pytorch_conv_transpose(random, stride, padding, remainder, dilation, groups):
    x, w = normal(random, 2, 4, 5, 4), normal(random, 3, 3, 6 // groups, 4)  # (*window, O / groups, C)
    hold_against(
        lambda x, w: ops.conv_transpose(
            x, w, strides=stride, padding=padding, remainder=remainder, kernel_dilation=dilation,
            feature_group_count=groups, transpose_kernel=True,
        ),
        lambda x, w: F.conv_transpose2d(
            x, w.permute(3, 2, 0, 1), stride=stride, padding=padding, output_padding=remainder, dilation=dilation,
            groups=groups,
        ),
        x, w, kernels=(1,),
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, (4, 2)])
def test_pytorch_adaptive_pools(random, size):
    x = normal(random, 2, 7, 5, 3)
    hold_against(lambda x: ops.adaptive_avg_pool(x, size), lambda x: F.adaptive_avg_pool2d(x, size), x)
    hold_against(lambda x: ops.adaptive_max_pool(x, size), lambda x: F.adaptive_max_pool2d(x, size), x)


def test_pytorch_l2_pool(random):
    x = np.abs(normal(random, 2, 6, 6, 3))
    hold_against(lambda x: ops.lp_pool(x, 3, strides=2), lambda x: F.lp_pool2d(x, 2, 3, stride=2), x)


def test_pytorch_binary_cross_entropy(random):
    z, t = 4 * normal(random, 5, 6), random.uniform(size=(5, 6)).astype(np.float32)
    loss = lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none")  # noqa: E731
    hold_against(ops.binary_cross_entropy, loss, z, t)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_transpose_by_name_is_lax_s(random, stride, padding):
    x, w = normal(random, 1, 5, 4, 2), normal(random, 3, 2, 2, 3)
    expected = jax.lax.conv_transpose(x, w, (stride, stride), padding)
    np.testing.assert_allclose(
        ops.conv_transpose(x, w, strides=stride, padding=padding), expected, rtol=1e-5, atol=1e-6
    )
