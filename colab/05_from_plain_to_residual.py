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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/05_from_plain_to_residual.ipynb)
#
# # 5. From plain to residual
#
# A deeper network can do all that a shallower one can. Then why did deep networks *learn worse*, even on the examples they were trained on? And why does one plus sign solve this? Here you train networks of 20 and 56 layers, with and without that plus sign, look at their gradients layer by layer, and see the answer. About six minutes on a CPU, about two minutes on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn", "mnist1d"]
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

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import data, layers, ops, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works

# %% [markdown]
# ## Digits in one dimension
#
# Training 56 layers on pictures takes hours on a CPU. **MNIST-1D** (Greydanus and Kobak 2020) is made for such questions: each example is a line of 40 values, the stroke of a digit that was shifted, stretched and covered with noise. Everything about convolutions stays the same, with one axis instead of two.
#
# The signals are generated on your machine by the package `mnist1d`. If it cannot be installed, the digits of scikit-learn are used instead, read row by row as lines of 64 values.

# %%
try:
    train, test = (data.load("mnist1d", split) for split in ("train", "test"))
except ModuleNotFoundError:  # without a network
    train, test = (
        digits._replace(images=digits.images[:, 4:24:2, 4:24:2].reshape(len(digits.images), -1, 1))
        for digits in (data.load("digits", split) for split in ("train", "test"))
    )
train = train.take(500) if fast else train
print(len(train.labels), "signals to learn from, of shape", train.images.shape[1:])

figure = plots.style.canvas(9, 1.8, "one signal of each class")
for digit, axes in enumerate(figure.subplots(1, 10)):
    signal = train.images[np.flatnonzero(train.labels == digit)[0], :, 0]
    axes.plot(signal, np.arange(len(signal))[::-1], color=plots.style.INK, lw=1)
    plots.style.heading(axes, train.classes[digit])
    plots.style.framed(axes)
figure

# %% [markdown]
# ## Plain and residual
#
# The plain network is a chain: *convolution, batch normalization, ReLU*, again and again. In pairs of layers, with $F$ for what a pair computes:
#
# $$\text{plain:}\quad x_{l+1} = \operatorname{relu}\big(F(x_l)\big) \qquad\qquad \text{residual:}\quad x_{l+1} = \operatorname{relu}\big(x_l + F(x_l)\big).$$
#
# That is all. The residual network has the same layers, the same parameters, the same cost. It only has to learn what should be *added* to its input. If nothing should, $F = 0$ is easy: all weights small. The plain pair would have to learn to copy its input through two convolutions.
#
# *Question: what is the gradient of both lines? Call the Jacobian of the pair $J$, leave out the ReLU, and multiply over 27 pairs.*
#
# <details><summary>Answer</summary>Plain: the error is multiplied by J from the right in each pair, and after 27 pairs by the product of 27 matrices; if these shrink or turn it, little of it arrives in good order. Residual: the factor is 1 + J. Multiplied out, there is a term 1: the error of the output arrives at every layer as it is, whatever the J are, and next to it the paths through one pair, through two, and so on.</details>


# %%
class Chain(nnx.Module):
    """A first layer, pairs of layers with or without the way past them, the mean over the signal, ten outputs."""

    def __init__(self, depth, residual, rngs, width=16):
        def unit(inputs, **options):
            return layers.ConvUnit(inputs, width, (3,), rngs=rngs, **options)

        self.first = unit(1)
        self.pairs = nnx.List(nnx.List([unit(width), unit(width, activation=None)]) for _ in range((depth - 2) // 2))
        self.head = nnx.Linear(width, 10, rngs=rngs)
        self.residual = residual

    def __call__(self, x):
        x = self.first(x)
        for one, two in self.pairs:
            added = two(one(x))
            x = ops.relu(x + added if self.residual else added)
        return self.head(ops.global_avg_pool(x))


depths = (4, 6) if fast else (20, 56)
networks = {
    f"{'residual' if residual else 'plain'}-{depth}": Chain(depth, residual, nnx.Rngs(0))
    for depth in depths
    for residual in (False, True)
}
for name, network in networks.items():
    print(f"{name:12s}", f"{sum(p.size for p in jax.tree.leaves(nnx.state(network, nnx.Param))):,}", "parameters")

# %% [markdown]
# ## The gradient, layer by layer
#
# Before training: what arrives at each layer? Two quantities, for one batch. First the **size** of the gradient of each kernel, $\lVert \partial L / \partial w_l \rVert$. And then its **order**: change the input a little, here by a hundredth of its spread, and ask how alike the old and the new gradient are, by the cosine of the angle between them. A gradient that turns about when the input hardly moves is useless for learning: a step along it helps at one point only.

# %%
scaling = data.measure_scaling(train)
batch = jnp.asarray(scaling(train.images[:100]))
labels = jnp.asarray(train.labels[:100])
nudged = batch + 0.01 * jax.random.normal(jax.random.key(0), batch.shape)


def kernel_gradients(network, inputs):
    """The gradient of every kernel of a convolution, from the first layer to the last."""
    network.train()
    graph, params, rest = nnx.split(network, nnx.Param, ...)

    def loss(params):
        copy = nnx.merge(graph, params, jax.tree.map(jnp.copy, rest))  # running statistics change in each call
        return ops.softmax_cross_entropy(copy(inputs), labels).mean()

    flat = nnx.to_flat_state(jax.grad(loss)(params))
    found = {path: np.asarray(value[...]).ravel() for path, value in flat if path[-2:] == ("conv", "kernel")}
    first = [found.pop(("first", "conv", "kernel"))]
    return first + [found[path] for path in sorted(found)]


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


deep = [f"plain-{depths[1]}", f"residual-{depths[1]}"]


def profiles():
    found = {}
    for name in deep:
        here, there = (kernel_gradients(networks[name], inputs) for inputs in (batch, nudged))
        found[name] = {
            "size of the gradient": [float(np.linalg.norm(gradient)) for gradient in here],
            "likeness after a nudge": [cosine(a, b) for a, b in zip(here, there, strict=True)],
        }
    return found


def draw(found, title):
    figure = plots.style.canvas(9, 3, title)
    for axes, what in zip(figure.subplots(1, 2), ("size of the gradient", "likeness after a nudge"), strict=True):
        for name, color, line in zip(deep, (plots.style.ACCENT, plots.style.INK), ("--", "-"), strict=True):
            values = found[name][what]
            axes.plot(range(1, len(values) + 1), values, color=color, ls=line, label=name)
        plots.style.plain(axes, "layer, from the input")
        plots.style.heading(axes, what)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_yscale("log")
    figure.axes[1].set_ylim(min(0, *figure.axes[1].get_ylim()), 1.05)
    return figure


before = profiles()
draw(before, "before training")

# %% [markdown]
# The gradient of the deep plain network *grows* from layer to layer on its way down, here by a factor of some thousand between the last layer and the first. (Batch normalization keeps the signal from fading on the way up; on the way down it divides by the spread of each layer, which multiplies the errors. Without it, and with sigmoids, the gradient would vanish instead.) No learning rate suits all of these layers. And the right picture is worse: a few layers below the output, the gradients of two nearly equal inputs have nothing to do with each other. They are **shattered**. In the residual network the size stays within a factor of ten, and the cosine above 0.8 down to the first layer: the term 1 of the product carries the error past all pairs.
#
# ## Training
#
# All four learn in the same way: gradient descent with momentum, and the learning rate 0.1 of He et al. (2016), which here falls along a cosine.

# %%
config = training.TrainConfig(
    epochs=1 if fast else 8, batch_size=100, optimizer="sgd", learning_rate=0.1, weight_decay=1e-4
)
histories = {}
for name, network in networks.items():
    histories[name] = training.fit(network, train, test, config, observer=None).history
    last = histories[name][-1]
    print(f"{name:12s} training error {1 - last['accuracy']:6.1%}   test error {1 - last['eval_accuracy']:6.1%}")

# %%
figure = plots.style.canvas(9, 3)
for axes, key, title in zip(
    figure.subplots(1, 2, sharey=True),
    ("accuracy", "eval_accuracy"),
    ("training error, %", "test error, %"),
    strict=True,
):
    for name, history in histories.items():
        residual, is_deep = name.startswith("residual"), name in deep
        axes.plot(
            [row["epoch"] for row in history],
            [100 * (1 - row[key]) for row in history],
            color=plots.style.INK if residual else plots.style.ACCENT,
            ls="-" if is_deep else ":",
            marker="o" if residual else "s",
            ms=4,
            label=name,
        )
    plots.style.plain(axes, "epoch")
    plots.style.heading(axes, title)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# With 20 layers, both networks learn. With 56, the plain one hardly gets anywhere, *on the signals that it is shown again and again*; the residual one does about as well as the shallow one. In repeated runs of 20 epochs (`experiments/depth_degradation.py`) the deep plain network still misclassifies about half of its training signals, and the deep residual one only one or two in a hundred. This is what He and others saw on CIFAR-10 and ImageNet; they called it *degradation*.
#
# *Question: the deep plain network is worse on the test signals too. Why is that not overfitting?*
#
# <details><summary>Answer</summary>Overfitting means: good on the examples it learned from, bad on others. Here the error on the training signals is higher as well. The network could represent a better solution, the shallow network with copies in between is one, but gradient descent does not find it. It is a problem of optimization.</details>
#
# ## After training
#
# The same two pictures again. And one more question to the residual network: how much does each pair add? If the deep network used only a few of its layers, the other pairs would add almost nothing.

# %%
draw(profiles(), "after training")


# %%
def shares(network):
    """For every pair, the size of what it adds over the size of what it gets."""
    network.eval()
    x, found = network.first(batch), []
    for one, two in network.pairs:
        added = two(one(x))
        found.append(float(jnp.linalg.norm(added) / jnp.linalg.norm(x)))
        x = ops.relu(x + added)
    return found


figure = plots.style.canvas(7, 2.4)
axes = figure.subplots()
values = shares(networks[deep[1]])
axes.bar(range(1, len(values) + 1), values, color=plots.style.FAINT)
plots.style.plain(axes, "pair, from the input", "added / input")
plots.style.heading(axes, f"what each pair of {deep[1]} adds to its input")
figure

# %% [markdown]
# *Question: you take one trained pair out of the deep residual network, without training again. What do you expect? And in the plain one?*
#
# <details><summary>Answer</summary>Try it: `del network.pairs[10]`, then `training.evaluate(network, test, scaling)`. The residual network hardly notices, as a pair is only one of many small additions; the plain network breaks, as each of its layers expects exactly the code of the one before (Veit et al. 2016).</details>

# %%
for name in deep:
    whole = histories[name][-1]["eval_accuracy"]
    shorter = nnx.clone(networks[name])
    del shorter.pairs[len(shorter.pairs) // 2]
    less = training.evaluate(shorter, test, scaling).accuracy
    print(f"{name:12s} accuracy {whole:.1%}, without its middle pair {less:.1%}")

# %% [markdown]
# ## Where next
#
# On pictures: `jaxcnn train resnet20` and `plain20`, up to `resnet110`; `models.create("resnet56", shortcut="none")` is a plain twin, `version=2` puts the activation before the convolution, and `zero_last=True` starts every block at $F = 0$. How a trained network serves another task is the next page, [6. Transfer learning](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/06_transfer_learning.ipynb). To read: He, Zhang, Ren & Sun (2016), *Deep residual learning for image recognition*; Balduzzi et al. (2017), *The shattered gradients problem*.
