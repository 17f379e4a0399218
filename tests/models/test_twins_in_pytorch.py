"""The networks against twins in PyTorch, written from the papers on the same weights: logits and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Weights:
    """A network's parameters as PyTorch's, by their path, with PyTorch's layouts applied on use."""

    def __init__(self, state, training):
        self.training = training
        self.tensors = {
            "/".join(map(str, path)): torch.tensor(np.asarray(leaf[...]), requires_grad=training)
            for path, leaf in nnx.to_flat_state(state)
        }

    def __getitem__(self, path):
        return self.tensors[path]

    def conv(self, path, x, **options):
        kernel = self[f"{path}/kernel"]
        spatial = kernel.ndim - 2
        kernel = kernel.permute(spatial + 1, spatial, *range(spatial))
        function = {1: F.conv1d, 2: F.conv2d}[spatial]
        return function(x, kernel, self.tensors.get(f"{path}/bias"), **options)

    def norm(self, path, x):
        mean, var = (self[f"{path}/{name}"].detach() for name in ("mean", "var"))
        return F.batch_norm(x, mean, var, self[f"{path}/scale"], self[f"{path}/bias"], self.training, 0.1, 1e-5)

    def dense(self, path, x):
        return F.linear(x, self[f"{path}/kernel"].T, self[f"{path}/bias"])

    def unit(self, path, x, **options):
        x = self.conv(f"{path}/conv", x, **options)
        return self.norm(f"{path}/norm", x) if f"{path}/norm/scale" in self.tensors else x


def flat(x):
    """Flattened in the order of channels last, as the first dense layer reads it."""
    return x.permute(0, 2, 3, 1).flatten(1)


def lenet5(w, x):
    x = F.max_pool2d(F.relu(w.conv("conv1", x, padding=2)), 2)
    x = F.max_pool2d(F.relu(w.conv("conv2", x)), 2)
    x = F.relu(w.dense("dense1", flat(x)))
    return w.dense("head", F.relu(w.dense("dense2", x)))


def alexnet(w, x, groups):
    x = F.relu(w.conv("convs/0", F.pad(x, (1, 2, 1, 2)), stride=4))
    x = F.max_pool2d(F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2), 3, 2)
    x = F.relu(w.conv("convs/1", x, padding=2, groups=groups))
    x = F.max_pool2d(F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2), 3, 2)
    x = F.relu(w.conv("convs/2", x, padding=1))
    x = F.relu(w.conv("convs/3", x, padding=1, groups=groups))
    x = F.max_pool2d(F.relu(w.conv("convs/4", x, padding=1, groups=groups)), 3, 2)
    x = F.relu(w.dense("dense1", flat(x)))
    return w.dense("head", F.relu(w.dense("dense2", x)))


def vgg11(w, x):
    for block, count in enumerate((1, 1, 2, 2, 2)):
        for place in range(count):
            x = F.relu(w.unit(f"blocks/{block}/{place}", x, padding=1))
        x = F.max_pool2d(x, 2)
    x = F.relu(w.dense("dense1", flat(x)))
    return w.dense("head", F.relu(w.dense("dense2", x)))


def inception(w, x):
    one = F.relu(w.unit("branches/0/0", x))
    three = F.relu(w.unit("branches/1/1", F.relu(w.unit("branches/1/0", x)), padding=1))
    five = F.relu(w.unit("branches/2/1", F.relu(w.unit("branches/2/0", x)), padding=2))
    pooled = F.relu(w.unit("projection", F.max_pool2d(x, 3, 1, 1)))
    return torch.cat([one, three, five, pooled], 1).permute(0, 2, 3, 1)


def basic_block(w, path, x, stride, shortcut):
    y = F.relu(w.unit(f"{path}/units/0", x, stride=stride, padding=1))
    return F.relu(w.unit(f"{path}/units/1", y, padding=1) + shortcut)


def resnet18(w, x):
    x = F.max_pool2d(F.relu(w.unit("conv1", x, stride=2, padding=3)), 3, 2, 1)
    for stage in range(4):
        for place in range(2):
            path, changes = f"blocks/{stage}/{place}", stage > 0 and place == 0
            shortcut = w.unit(f"{path}/shortcut", x, stride=2) if changes else x
            x = basic_block(w, path, x, 2 if changes else 1, shortcut)
    return w.dense("head", x.mean((2, 3)))


def resnet20(w, x):
    x = F.relu(w.unit("conv1", x, padding=1))
    for stage in range(3):
        for place in range(3):
            changes = stage > 0 and place == 0
            extra = x.shape[1] // 2
            shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra)) if changes else x  # option A
            x = basic_block(w, f"blocks/{stage}/{place}", x, 2 if changes else 1, shortcut)
    return w.dense("head", x.mean((2, 3)))


def textcnn(w, x):
    words = (w["trained"][x.long()] * (x != 0)[..., None]).transpose(1, 2)
    answers = [F.relu(w.conv(f"convs/{i}", words, padding=h - 1)) for i, h in enumerate((3, 4, 5))]
    return w.dense("head", torch.cat([answer.amax(2) for answer in answers], 1))


def build(name, **options):
    return lambda: models.create(name, num_classes=7, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options)


def build_inception():
    branches = [[(1, 64)], [(1, 96), (3, 128)], [(1, 16), (5, 32)]]  # 3a of GoogLeNet
    options = {"param_dtype": jnp.float64, "batch_norm": False, "rngs": nnx.Rngs(0)}
    return layers.Inception(192, branches, projection=32, **options)


NO_DROP = {"dropout": 0.0}
TWINS = {
    "lenet5": (build("lenet5"), lenet5, (28, 28, 1)),
    "alexnet": (
        build("alexnet", image_size=(131, 131), hidden=(64, 48), **NO_DROP),
        functools.partial(alexnet, groups=2),
        (131, 131, 3),
    ),
    "alexnet_single": (
        build("alexnet_single", image_size=(67, 67), hidden=(64, 48), **NO_DROP),
        functools.partial(alexnet, groups=1),
        (67, 67, 3),
    ),
    "vgg11": (build("vgg11", image_size=(64, 32), hidden=64, **NO_DROP), vgg11, (64, 32, 3)),
    "vgg11_bn": (build("vgg11_bn", image_size=(64, 64), hidden=64, **NO_DROP), vgg11, (64, 64, 3)),
    "inception": (build_inception, inception, (9, 8, 192)),
    "resnet18": (build("resnet18"), resnet18, (64, 64, 3)),
    "resnet20": (build("resnet20"), resnet20, (32, 32, 3)),
    "textcnn": (build("textcnn", in_features=50, **NO_DROP), textcnn, (20,)),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_pytorch_twin_gives_the_same_logits_and_gradients(name, training, random, float64):
    """In float64, where nothing but the arithmetic itself can differ."""
    make, twin, shape = TWINS[name]
    model = make()
    model.train() if training else model.eval()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    # kernels that start at zero away from it, statistics away from 0 and 1
    params = jax.tree.map(lambda p: p + 0.02 * random.normal(size=p.shape), params)
    rest = jax.tree.map(lambda s: s.astype(float) + 0.3 * random.random(s.shape) if s.dtype == jnp.float32 else s, rest)
    x = random.integers(0, 50, (6, *shape)).astype(np.int32) if len(shape) == 1 else random.normal(size=(6, *shape))

    outputs, pull_back = jax.vjp(jax.jit(lambda p: nnx.merge(graph, p, rest, copy=True)(x)), params)
    assert outputs.dtype == jnp.float64
    w = Weights(nnx.merge_state(params, nnx.filter_state(rest, nnx.BatchStat)), training)
    theirs = twin(w, torch.tensor(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))
    np.testing.assert_allclose(outputs, theirs.detach().numpy(), rtol=1e-6, atol=1e-9)
    if not training:
        return
    error = random.normal(size=outputs.shape)
    (gradient,) = pull_back(jnp.asarray(error))
    theirs.backward(torch.tensor(error))
    for path, leaf in nnx.to_flat_state(gradient):
        path = "/".join(map(str, path))
        expected = w[path].grad.numpy()
        np.testing.assert_allclose(leaf[...], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max(), err_msg=path)
