# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/10_your_network_by_hand.ipynb)
#
# # 10. Your network by hand
#
# You have a network already. It is written in Equinox, in Keras, in Haiku, in Linen, or in plain JAX. You do not want to write it again. Here one call gives it the hand-written gradients of this library: `jaxcnn.by_hand(your_function)`. You train four networks of four libraries with it, measure how much faster they become, **prove** that nothing else has changed, and then give two rules of your own to all four. About two minutes on a CPU, about two minutes on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn", "equinox", "keras", "dm-haiku"]
missing = [name for name in packages if not list(distributions(name=name))]
jax_here = next((f"jax=={jax.version}" for jax in distributions(name="jax")), "jax")

# jaxcnn comes from the checkout that this notebook stands in, or by its name, or from its repository
files = [folder / "pyproject.toml" for folder in (Path.cwd(), *Path.cwd().parents)]
sources = [str(file.parent) for file in files if file.is_file() and 'name = "jaxcnn"' in file.read_text()]
sources += ["jaxcnn", "git+https://github.com/jaxcnn/jaxcnn"]


def wanted(source):
    return [source if name == "jaxcnn" else name for name in missing]


def install(source):
    pip = [sys.executable, "-m", "pip", "install", "-q", *wanted(source), jax_here]
    return subprocess.run(pip, capture_output=True).returncode == 0


if not missing:
    print("Nothing had to be installed.")
elif source := next(filter(install, sources), None):
    importlib.invalidate_caches()
    print(f"Installed {', '.join(wanted(source))}.")
else:
    raise ImportError(f"Not installed: {', '.join(missing)}; to see why, run %pip install {' '.join(missing)}")

# %%
import os

os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it once, when it is imported

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

import jaxcnn
from jaxcnn import check, data, ops
from jaxcnn.inspect import plots

jax.config.update("jax_num_cpu_devices", 4)  # a CPU poses as four devices, so that spreading a batch is examined too
if jax.default_backend() != "cpu":
    jax.config.update("jax_default_matmul_precision", "float32")  # or some GPUs would round to 10 bits
fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works

train_set, test_set = data.load("digits", "train"), data.load("digits", "test")  # they come with scikit-learn
pictures, labels = train_set.images / np.float32(255), train_set.labels
print(pictures.shape, pictures.dtype)

# %% [markdown]
# ## What happens
#
# JAX does not run your Python code again and again. It runs it once, with arrays that have a shape but no values, and writes down each operation. This list of operations is called a **jaxpr**. `by_hand` reads it. Where it finds a convolution, a pooling or a ReLU, it can put ours in the same place. It leaves all other operations as they are.
#
# So `by_hand` need not know your library. All libraries end in the same operations. Here is the list of a very small network, written without any library:


# %%
def tiny(kernel, images):
    maps = jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    maps = jnp.maximum(maps, 0)
    return jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").sum()


kernel = np.random.default_rng(0).normal(size=(5, 5, 1, 6)).astype(np.float32)
print(jax.make_jaxpr(tiny)(kernel, pictures[:64]))

# %% [markdown]
# And here is what `by_hand` makes of it. Nothing is computed for a report: it only reads the list.

# %%
print(jaxcnn.by_hand.report(tiny, kernel, pictures[:64]))

# %% [markdown]
# **How to read the report.** One line is one operation. From left to right:
#
# | part | what it says |
# | --- | --- |
# | `conv`, `max_pool`, `sum_pool`, `relu` | what was found |
# | `float32[64,28,28,1], …` | the types and the shapes of its operands |
# | `->  ours` or `XLA's own` | what computes it from now on; of a convolution also how: `native` is our C++ code (where it could be built), `jax` is written in JAX |
# | `(measured as faster)` | why |
# | `in …` | where in your network it stands, if your library gives names |
#
# `XLA's own` means: nothing has changed there. By default (`rule="auto"`), `by_hand` takes our rule only where it was measured as faster on this kind of machine. A ReLU is as fast either way, so it stays. On a GPU everything stays XLA's own, until somebody measures; your own rules, below, work there too. A line `not entered: …` names a function that `by_hand` could not look into.
#
# *Question: `tiny` never calls `relu`. Why does the report have a line `relu`?*
#
# <details><summary>Answer</summary>A ReLU is max(x, 0), and that is what the jaxpr says. by_hand knows a ReLU by what it computes: as jax.nn.relu(x), as jnp.maximum(x, 0) and as jnp.where(x > 0, x, 0).</details>
#
# ## One start for all
#
# The four networks will be the same one: LeNet-like, two times convolution, ReLU and max-pool, then two dense layers. They also start with the same weights, drawn here. So you can compare not only stock and by hand, but the four libraries too.

# %%
random = np.random.default_rng(0)
shapes = (5, 5, 1, 6), (5, 5, 6, 16), (400, 84), (84, 10)  # the last two axes: channels in, channels out
kernels = [np.float32(random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))) for shape in shapes]
biases = [np.zeros(shape[-1], np.float32) for shape in shapes]

# %% [markdown]
# ## The tools
#
# The same is to be done with each network. So here are some functions, which know nothing of any library. Each library must only give us `scores`: a function of the parameters and the pictures that returns ten numbers for each picture.
#
# Look at the order in `compile_both`. First `by_hand`, then `jax.value_and_grad`, then `jax.jit` around everything.


# %%
def loss_of(scores):
    def loss(parameters, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(scores(parameters, images), labels).mean()

    return loss


def compile_both(scores):
    """The loss and its gradient, as it is (stock) and by hand."""
    loss = loss_of(scores)
    return jax.jit(jax.value_and_grad(loss)), jax.jit(jax.value_and_grad(jaxcnn.by_hand(loss)))


def train(value_and_grad, parameters, steps=5 if fast else 400, size=64):
    """Some steps of gradient descent."""
    descend = jax.jit(lambda parameters, gradients: jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients))
    random, losses = np.random.default_rng(0), []
    for _ in range(steps):
        batch = random.integers(len(labels), size=size)
        loss, gradients = value_and_grad(parameters, pictures[batch], labels[batch])
        parameters = descend(parameters, gradients)
        losses.append(float(loss))
    print(f"  {steps} steps, loss from {losses[0]:.4f} to {losses[-1]:.4f}")
    return parameters


def compare(stock, by_hand, parameters, size=64, rounds=5 if fast else 40):
    """Proves that both compute the same; then measures both in turn."""
    args = parameters, pictures[:size], labels[:size]
    (value, gradients), (our_value, our_gradients) = stock(*args), by_hand(*args)
    np.testing.assert_allclose(our_value, value, rtol=1e-5)
    worst = 0.0
    for ours, theirs in zip(jax.tree.leaves(our_gradients), jax.tree.leaves(gradients), strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        worst = max(worst, abs(ours - theirs).max() / abs(theirs).max())
    assert worst < 1e-4
    print(f"  same value; gradients differ by {worst:.0e} of the largest entry at most: rounding")

    seconds = []
    for _ in range(rounds):
        for function in (stock, by_hand):
            start = time.perf_counter()
            jax.block_until_ready(function(*args))
            seconds.append(time.perf_counter() - start)
    before, after = np.median(np.reshape(seconds, (rounds, 2)), 0)
    before, after = 1e3 * before, 1e3 * after
    print(f"  value and gradient: {before:.1f} ms before, {after:.1f} ms by hand, ratio {before / after:.2f}")


networks = {}  # by library: scores, parameters of the start, trained ones


def study(library, scores, start):
    """Trains by hand, and compares with the stock network."""
    print(library)
    stock, by_hand = compile_both(scores)
    trained = train(by_hand, start)
    compare(stock, by_hand, trained)
    networks[library] = scores, start, trained


# %% [markdown]
# "In turn" matters. A computer is slower when it is hot, or when it does something else at the same time. If both are measured in each round, such a moment hits both. The median ignores the few rounds that were disturbed.
#
# ## Equinox
#
# An Equinox network is a tree (a *pytree*) of arrays; `eqx.tree_at` puts our weights into it. It sees one picture at a time, channels first; `jax.vmap` makes a batch of it. `by_hand` looks into `vmap` as well. `eqx.partition` separates the arrays, which are trained, from the rest.

# %%
try:
    import equinox as eqx
except ImportError:
    print("Equinox is not installed: this section is skipped.")
else:

    class EquinoxLeNet(eqx.Module):
        conv1: eqx.nn.Conv2d
        conv2: eqx.nn.Conv2d
        dense1: eqx.nn.Linear
        dense2: eqx.nn.Linear
        pool: eqx.nn.MaxPool2d

        def __init__(self, key):
            keys = jax.random.split(key, 4)
            self.conv1 = eqx.nn.Conv2d(1, 6, 5, padding=2, key=keys[0])
            self.conv2 = eqx.nn.Conv2d(6, 16, 5, key=keys[1])
            self.dense1 = eqx.nn.Linear(400, 84, key=keys[2])
            self.dense2 = eqx.nn.Linear(84, 10, key=keys[3])
            self.pool = eqx.nn.MaxPool2d(2, 2)

        def __call__(self, x):
            x = self.pool(jax.nn.relu(self.conv1(x)))
            x = self.pool(jax.nn.relu(self.conv2(x)))
            x = jnp.moveaxis(x, 0, -1).ravel()  # channels last, as the other libraries flatten
            return self.dense2(jax.nn.relu(self.dense1(x)))

    def parts(network):
        layers = network.conv1, network.conv2, network.dense1, network.dense2
        return [layer.weight for layer in layers] + [layer.bias for layer in layers]

    turned = [kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T for kernel in kernels]
    lifted = [bias[:, None, None] if place < 2 else bias for place, bias in enumerate(biases)]
    skeleton = eqx.filter_eval_shape(EquinoxLeNet, jax.random.key(0))  # shapes, no arrays yet
    network = eqx.tree_at(parts, skeleton, list(map(jnp.asarray, turned + lifted)))
    equinox_arrays, equinox_rest = eqx.partition(network, eqx.is_array)

    def equinox_scores(arrays, images):
        return jax.vmap(eqx.combine(arrays, equinox_rest))(jnp.moveaxis(images, -1, 1))  # channels first

    print(jaxcnn.by_hand.report(equinox_scores, equinox_arrays, pictures[:64]))
    study("Equinox", equinox_scores, equinox_arrays)

# %% [markdown]
# Equinox has transformations of its own. They work too, in the same order: `eqx.filter_jit(eqx.filter_value_and_grad(jaxcnn.by_hand(loss)))`, where the first argument of `loss` is the whole network.
#
# ## Keras
#
# Keras 3 runs on JAX if `KERAS_BACKEND` says so *before* the import. A Keras model holds its own parameters. `stateless_call` is the pure function inside it: parameters in, result out. The second result is the new state (of batch normalization, say), of which there is none here.

# %%
try:
    import keras
except ImportError:
    print("Keras is not installed: this section is skipped.")
else:

    def keras_lenet():
        conv, dense = (partial(kind, kernel_initializer="zeros") for kind in (keras.layers.Conv2D, keras.layers.Dense))
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                conv(6, 5, padding="same", activation="relu"),
                keras.layers.MaxPooling2D(2),
                conv(16, 5, activation="relu"),
                keras.layers.MaxPooling2D(2),
                keras.layers.Flatten(),
                dense(84, activation="relu"),
                dense(10),
            ]
        )
        model.set_weights([array for pair in zip(kernels, biases, strict=True) for array in pair])
        return model

    model = keras_lenet()
    keras_arrays = [variable.value for variable in model.trainable_variables]
    keras_others = [variable.value for variable in model.non_trainable_variables]

    def keras_scores(arrays, images):
        results, _ = model.stateless_call(arrays, keras_others, images)
        return results

    print(jaxcnn.by_hand.report(keras_scores, keras_arrays, pictures[:64]))
    study("Keras", keras_scores, keras_arrays)

# %% [markdown]
# **`model.fit` by hand.** Most people do not write a loop for Keras; they call `fit`. It can train by hand as well. `fit` calls `stateless_call` of the model, so give the model another one. Do it *before* the first `fit`: the step is compiled then. (Later, call `model.compile` again.)
#
# Two models start with the same weights and see the same batches; one of them by hand. Is it really used? A rule may be any function. This one writes down what it has met, and is else the ordinary ReLU.

# %%
if "Keras" in networks:
    met = []

    def noted_relu(x):
        met.append(x.shape)
        return jax.nn.relu(x)

    losses = {}
    for way in ("stock", "by hand"):
        fitted = keras_lenet()
        if way == "by hand":
            fitted.stateless_call = jaxcnn.by_hand(fitted.stateless_call, rules={"relu": noted_relu})
        fitted.compile(keras.optimizers.SGD(0.1), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        start = time.perf_counter()
        seen = 640 if fast else len(labels)
        history = fitted.fit(
            pictures[:seen], labels[:seen], batch_size=64, epochs=1 if fast else 5, shuffle=False, verbose=0
        )
        losses[way] = history.history["loss"]
        print(f"{way:8s} losses", *(f"{loss:.4f}" for loss in losses[way]), f" {time.perf_counter() - start:.1f} s")
    np.testing.assert_allclose(losses["by hand"], losses["stock"], rtol=1e-2)  # of a whole epoch, where rounding grows
    print("ReLUs met:", *dict.fromkeys(met))

# %% [markdown]
# The losses agree, except for rounding. The seconds include compiling, most of which belongs to the first step. In a long run the last batch is smaller; that is another shape, so it is traced once more, and the rule is met once more.
#
# ## Haiku
#
# `hk.transform` makes two functions of one: `init` draws parameters, `apply` uses them. It is `apply` that we take. The parameters are a dictionary of dictionaries, by the names that Haiku gives.

# %%
try:
    import haiku as hk
except ImportError:
    print("Haiku is not installed: this section is skipped.")
else:

    def haiku_lenet(images):
        x = hk.MaxPool(2, 2, "VALID")(jax.nn.relu(hk.Conv2D(6, 5)(images)))
        x = hk.MaxPool(2, 2, "VALID")(jax.nn.relu(hk.Conv2D(16, 5, padding="VALID")(x)))
        x = jax.nn.relu(hk.Linear(84)(hk.Flatten()(x)))
        return hk.Linear(10)(x)

    haiku_scores = hk.without_apply_rng(hk.transform(haiku_lenet)).apply
    haiku_names = "conv2_d", "conv2_d_1", "linear", "linear_1"
    haiku_arrays = {
        name: {"w": kernel, "b": bias} for name, kernel, bias in zip(haiku_names, kernels, biases, strict=True)
    }
    print(jaxcnn.by_hand.report(haiku_scores, haiku_arrays, pictures[:64]))
    study("Haiku", haiku_scores, haiku_arrays)

# %% [markdown]
# ## Linen
#
# Linen is the older interface of Flax. Its parameters are dictionaries too, with other names. Here too, `apply` is the function. (The newer one, `nnx`, works as well: give the module itself as an argument.)


# %%
class LinenLeNet(linen.Module):
    @linen.compact
    def __call__(self, images):
        x = linen.max_pool(linen.relu(linen.Conv(6, (5, 5))(images)), (2, 2), (2, 2))
        x = linen.max_pool(linen.relu(linen.Conv(16, (5, 5), padding="VALID")(x)), (2, 2), (2, 2))
        x = linen.relu(linen.Dense(84)(x.reshape(len(x), -1)))
        return linen.Dense(10)(x)


def linen_scores(arrays, images):
    return LinenLeNet().apply({"params": arrays}, images)


linen_names = "Conv_0", "Conv_1", "Dense_0", "Dense_1"
linen_arrays = {
    name: {"kernel": kernel, "bias": bias} for name, kernel, bias in zip(linen_names, kernels, biases, strict=True)
}
print(jaxcnn.by_hand.report(linen_scores, linen_arrays, pictures[:64]))
study("Linen", linen_scores, linen_arrays)

# %% [markdown]
# Four libraries, and the lists are nearly the same, and so are the losses: it is one network. Only the max-pools of Equinox look strange, with their five axes: Equinox puts the channels last to pool, and one more axis in front, and `vmap` adds that of the batch. For `by_hand` it is a max-pool like the others.
#
# How many digits are read right, of those that no network has seen?

# %%
if not fast:
    for name, (scores, _, trained) in networks.items():
        said = np.asarray(jax.jit(scores)(trained, test_set.images / np.float32(255))).argmax(-1)
        print(f"{name:8s} {(said == test_set.labels).mean():.1%}")

# %% [markdown]
# The **ratio** depends on your processor, on the versions, and on what else the computer does. Where we wrote this page it was about 3 with our C++ code (`native`, which `pip install` builds if there is a C++ compiler; `jaxcnn doctor` tells whether it is active), and between 1.3 and 2.1 without. If the report says that everything stays XLA's own, as on a GPU, it is about 1. Measure on *your* machine; the ratio is printed here, not promised.
#
# *Question: why are the gradients not the same to the last bit?*
#
# <details><summary>Answer</summary>A gradient is a sum of many products. Our rule adds them in another order than XLA does. With numbers of limited length, (a + b) + c is not always a + (b + c). Neither of the two is the right one.</details>
#
# ## A rule of your own: the ReLU
#
# Until here the gradients stayed what they were. Now change one. In the backward pass a layer gets the **error** $e$ of its output, and returns the error of its input. For the ReLU these are three known rules:
#
# $$\text{gradient: } e\,[x > 0] \qquad \text{deconvnet: } e\,[e > 0] \qquad \text{guided: } e\,[x > 0]\,[e > 0].$$
#
# **Guided backpropagation** (Springenberg et al., 2015) lets only positive errors pass. It asks for the pixels that speak *for* an answer, and forgets those that speak against it. A rule for ReLU is a function of `x`. The `jax.custom_vjp` is yours:


# %%
@jax.custom_vjp
def guided_relu(x):
    return jnp.maximum(x, 0)


def guided_forward(x):
    return guided_relu(x), x > 0  # one bit for each x is all that the backward pass needs


def guided_backward(positive, error):
    return (jnp.where(positive & (error > 0), error, jnp.zeros_like(error)),)


guided_relu.defvjp(guided_forward, guided_backward)

x, error = np.float32([-2, -1, 1, 2]), np.float32([1, -1, 1, -1])
for name, relu in {"gradient": jax.nn.relu, "guided": guided_relu}.items():
    print(f"{name:8s}", jax.vjp(relu, x)[1](error)[0])

# %% [markdown]
# Is it right? The forward pass must be a ReLU, in all dtypes and under all transformations of JAX. For the backward pass there is no derivative to compare with. So hold it against the library's own guided rule, with errors of both signs.

# %%
kinds = ("value", "dtypes") if fast else ("value", "dtypes", "transformations", "devices")
points = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
report = check.check_vjp(guided_relu, points, batched=(0,), kinds=kinds)
print(report)
assert report.passed

errors = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
(mine,), (library,) = (jax.vjp(relu, points)[1](errors) for relu in (guided_relu, partial(ops.relu, rule="guided")))
np.testing.assert_array_equal(mine, library)
print("the same as the library's")

# %% [markdown]
# *Question: `check_vjp` with `kinds=("differences",)`, which compares with the derivative, would pass `guided_relu`, although it is not the derivative. Why?*
#
# <details><summary>Answer</summary>That proof builds the Jacobian: it sends back one error 1 after another. All of these are positive, and for positive errors the guided rule is the gradient. A true gradient is linear: the error -e gives the negative of what e gives. The guided rule is not linear, and so no Jacobian can describe it.</details>
#
# ## A rule of your own: the max-pool
#
# The maximum of a window sends all of the error to the winner. If several cells are equally large, JAX and PyTorch take the first one. Is that fair? In a picture with a black background, all cells of a window are often equal. Let equal winners **share**: if $n_j$ cells of window $j$ equal its maximum $y_j$, each of them gets $e_j / n_j$.
#
# A rule for max-pool gets the operand and, by name, all options of `jax.lax.reduce_window`. They have one entry for *each* axis of the operand, those of batch and channels too. If you only use these entries, your rule is right for every library, whatever the order of its axes.
#
# The backward pass goes through the cells of the window, four for 2×2. For each cell of the window, `x[cells]` has one value for each window; the errors go back the same way, `strides` apart.


# %%
@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def shared_pool(x, window, strides, padding):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)


def shared_forward(x, window, strides, padding):
    y = shared_pool(x, window, strides, padding)
    return y, (x, y)


def shared_backward(window, strides, padding, kept, error):
    x, y = kept
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    reach = [(n - 1) * stride + 1 for n, stride in zip(y.shape, strides, strict=True)]

    def won(cell):  # for each window, whether this cell of it equals the maximum
        cells = tuple(slice(at, at + length, stride) for at, length, stride in zip(cell, reach, strides, strict=True))
        return padded[cells] == y

    def spread(cell, errors):  # the errors, back in the places that they belong to
        before = [at - low for at, (low, _) in zip(cell, padding, strict=True)]
        after = [size - start - length for size, start, length in zip(x.shape, before, reach, strict=True)]
        apart = [stride - 1 for stride in strides]
        return jax.lax.pad(errors, jnp.zeros((), errors.dtype), list(zip(before, after, apart, strict=True)))

    cells = list(np.ndindex(*window))
    share = error / sum(won(cell).astype(error.dtype) for cell in cells)
    return (sum(spread(cell, jnp.where(won(cell), share, jnp.zeros_like(share))) for cell in cells),)


shared_pool.defvjp(shared_forward, shared_backward)


def shared_max_pool(operand, *, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """The rule for `by_hand`: it takes lax's options by name."""
    assert set(base_dilation) | set(window_dilation) == {1}, "no dilation, to keep it short"
    return shared_pool(operand, window_dimensions, window_strides, padding)


# %% [markdown]
# Now prove it, in two steps. *Without ties* it must be the derivative, also where windows overlap, and at a padded border. *With ties* there is no derivative. But `jnp.max` over whole axes shares among equal maxima, and JAX differentiates it by itself. That is a reference for windows that do not overlap.

# %%
options = {"window_strides": (1, 2, 2, 1), "base_dilation": (1, 1, 1, 1), "window_dilation": (1, 1, 1, 1)}
overlapping = partial(
    shared_max_pool, window_dimensions=(1, 3, 3, 1), padding=((0, 0), (1, 0), (0, 1), (0, 0)), **options
)
distinct = (np.random.default_rng(3).permutation(4 * 4 * 4 * 2).reshape(4, 4, 4, 2) * 0.1).astype(np.float32)
kinds = "differences", "value"
report = check.check_vjp(overlapping, distinct, batched=(0,), kinds=kinds, name="3x3, without ties")
print(report)
assert report.passed


def by_axes(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


pool = partial(shared_max_pool, window_dimensions=(1, 2, 2, 1), padding=((0, 0),) * 4, **options)
ties = np.random.default_rng(4).integers(0, 2, size=(4, 4, 4, 2)).astype(np.float32)  # zeros and ones: many ties
kinds = ("reference", "value") if fast else ("reference", "value", "dtypes", "transformations", "devices")
report = check.check_vjp(pool, ties, reference=by_axes, batched=(0,), kinds=kinds, name="2x2, with ties")
print(report)
assert report.passed

# %% [markdown]
# ## Both rules, in all four networks
#
# Give them by name. What you do not name keeps `rule="auto"`. The report tells that they are used:

# %%
mine = {"relu": guided_relu, "max_pool": shared_max_pool}
shown = np.array([np.flatnonzero(test_set.labels == digit)[0] for digit in (7, 3, 8)])
digits, classes = test_set.images[shown] / np.float32(255), test_set.labels[shown]


def pixel_gradients(scores, rules=None):
    """Of each picture's own score, by its pixels."""
    function = jaxcnn.by_hand(scores, rules=rules)

    def of_own_class(images, parameters):
        found = function(parameters, images)
        return jnp.take_along_axis(found, classes[:, None], 1).sum(), found

    return jax.jit(jax.grad(of_own_class, has_aux=True))


at_start, after = {}, {}
for name, (scores, start, trained) in networks.items():
    print(jaxcnn.by_hand.report(jaxcnn.by_hand(scores, rules=mine), start, digits), "\n")
    by_both_rules = pixel_gradients(scores, mine)
    at_start[name], after[name] = by_both_rules(digits, start), by_both_rules(digits, trained)

# %% [markdown]
# At the start, all four were the same network. So what arrives at the pixels must be the same as well, by rules that none of the four libraries knows:

# %%
errors, values = at_start["Linen"]
for name, (other_errors, other_values) in at_start.items():
    np.testing.assert_allclose(other_values, values, rtol=1e-3, atol=1e-3)
    difference = float(np.linalg.norm(other_errors - errors) / np.linalg.norm(errors))
    print(f"{name:8s} differs from Linen by {difference:.0e}")
    assert difference < 1e-2

# %% [markdown]
# ## The picture
#
# What do the rules show? Here is the Equinox network (without Equinox, the Linen one), with each rule alone and with both. Gray is zero; light speaks for the class, dark against it.

# %%
name = "Equinox" if "Equinox" in networks else "Linen"
scores, _, trained = networks[name]
choices = {"gradient": None, "shared max-pool": {"max_pool": shared_max_pool}, "guided ReLU": {"relu": guided_relu}}
maps = {title: pixel_gradients(scores, rules)(digits, trained) for title, rules in choices.items()}
maps["both rules"] = after[name]
for _, values in maps.values():  # the forward pass is the same in all
    np.testing.assert_allclose(values, maps["gradient"][1], rtol=1e-4, atol=1e-4)
maps = {title: np.asarray(errors) for title, (errors, _) in maps.items()}
change = maps["shared max-pool"] - maps["gradient"]
print(f"sharing moves the gradient by {np.linalg.norm(change) / np.linalg.norm(maps['gradient']):.1%} of its length")
maps = {"shared minus gradient" if title == "shared max-pool" else title: m for title, m in maps.items()}
maps["shared minus gradient"] = change
plots.attributions(
    digits,
    maps,
    [f"score of {c}" for c in classes],
    title=f"{name}'s network: what arrives at the pixels, by rule",
)

# %% [markdown]
# The **gradient** speaks both ways: light strokes would raise the score if there were more ink, dark ones would lower it. **Guided**, only the light ones are left, and they follow the digit. The second map shows where **sharing** changes the gradient: in the black background, and nowhere else. There, all cells of a window are equal; on the digit, hardly any two are. So the rule does what we said, and where we said.
#
# Guided backpropagation draws the clearest map. That does not make it the best explanation: [3. What a CNN sees](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/03_what_a_cnn_sees.ipynb) shows that such maps stay nearly the same when the weights are destroyed.
#
# ## Traps
#
# **1. `grad` goes outside.** `by_hand` gives a rule to an operation; JAX asks for the rule when it differentiates. In `by_hand(jax.grad(f))` the differentiating is over when `by_hand` sees the list. It then finds only the operations of the finished gradient. Nothing warns you:


# %%
def against(x):
    return -jax.nn.relu(x)  # the larger x, the smaller the result: the error at the ReLU is -1


one, guided = jnp.float32(1), {"relu": guided_relu}
print("grad outside:", jax.grad(jaxcnn.by_hand(against, rules=guided))(one), "(guided: stopped)")
print("grad inside: ", jaxcnn.by_hand(jax.grad(against), rules=guided)(one), "(not guided: my rule was not asked)")

# %% [markdown]
# **2. `jit` goes outside too.** `by_hand` does not compile. Without `jax.jit` around it, the operations run one by one. The result is right, but slow. A `jax.jit` inside does no harm, as `by_hand` looks into jitted functions; but put one more around everything.
#
# **3. Forward mode needs `rule="autodiff"`.** A rule by hand says how errors go back. It does not say how changes go forward, which `jax.jvp`, `jax.jacfwd`, `jax.linearize` and `jax.hessian` need. JAX refuses:

# %%
arguments = kernel, pictures[:2]
try:
    jax.jvp(jaxcnn.by_hand(tiny, rule="hand"), arguments, arguments)
except TypeError as error:
    print("TypeError:", str(error).splitlines()[0])
value, slope = jax.jvp(jaxcnn.by_hand(tiny, rule="autodiff"), arguments, arguments)
print("with autodiff:", value, slope)

# %% [markdown]
# **4. What was traced stays traced.** As `jax.jit` does, `by_hand` reads everything that is not an argument only once, when it traces. If you change it later, nothing happens, as long as the shapes are the same. Give it as an argument instead.

# %%
factor = 1.0


def scaled(x):
    return factor * jax.nn.relu(x)


by_hand_scaled = jaxcnn.by_hand(scaled)
print(by_hand_scaled(one), end=" ")
factor = 10.0
print(by_hand_scaled(one), "(still with the old factor)")

# %% [markdown]
# The same trap has another face. You have a jitted training step that calls `loss`, and it has run once. If you now write `loss = jaxcnn.by_hand(loss)`, the step keeps its trace, with the old `loss`. Make the step anew. That is also why `model.stateless_call` must be changed before the first `fit`.
#
# *Question: how can you be sure that your rule is used, without measuring anything?*
#
# <details><summary>Answer</summary>Print jaxcnn.by_hand.report of the function that you really call, with the rules: report(by_hand(f, rules=...), ...). Or let the rule note that it was called, as noted_relu does in the Keras section. A rule is called when the function is traced.</details>
#
# ## Your turn
#
# 1. *Your network.* Give a network of your own to `jaxcnn.by_hand.report`. What stays XLA's own, and why?
# 2. *A leak.* Write a ReLU that lets a tenth of the error pass where $x \le 0$, and train with it: `train(jax.jit(jax.value_and_grad(jaxcnn.by_hand(loss_of(linen_scores), rules={"relu": yours}))), linen_arrays)`. Then a third; then all of it, which is called *straight through*. What becomes of the loss?
# 3. *The deconvnet.* Change one line of `guided_backward` to $e\,[e > 0]$ and draw the picture again.
# 4. *A convolution.* A rule for `"conv"` is `mine(lhs, rhs, *, window_strides, padding, **options)`. Return `jax.lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)` of the operands rounded to 8 bits, with a straight-through gradient: your network now trains for a cheap chip.
#
# *Question: in exercise 4, why must the gradient of the rounding be straight through?*
#
# <details><summary>Answer</summary>Rounding is a staircase: flat everywhere, but for its steps. Its derivative is 0, so no kernel would ever learn. See page 9, where the same happens to the sign.</details>
#
# ## Where next
#
# How such rules are derived: [2. Gradients by hand](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/02_gradients_by_hand.ipynb). How a rule that is no derivative is compared fairly with others: [9. Your own rule](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/09_your_own_rule.ipynb). `help(jaxcnn.by_hand)` lists all that `by_hand` can do. To read: Springenberg et al. (2015), *Striving for simplicity: the all convolutional net*; Adebayo et al. (2018), *Sanity checks for saliency maps*.
