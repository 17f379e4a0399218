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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/01_first_network.ipynb)
#
# # 1. Your first convolutional network
#
# This page trains **LeNet-5** (LeCun et al. 1998) on 1,797 real handwritten digits, and looks at what it learned. The gradients of convolution, pooling, activation and loss are written by hand; those of its dense layers are JAX's. About one minute on a CPU, about one minute on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn"]
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

# %% [markdown]
# ## The digits
#
# They come with scikit-learn, so nothing is downloaded. Each is resized to the form of MNIST: a digit of 20x20 pixels in a picture of 28x28. The network does not learn from the validation and test digits.

# %%
from jaxcnn import data
from jaxcnn.inspect import plots

train, validation, test = (data.load("digits", split) for split in ("train", "validation", "test"))
print(len(train.labels), "to learn from,", len(validation.labels), "to watch,", len(test.labels), "for the end")
plots.labeled_images(train.images[:16], [train.classes[label] for label in train.labels[:16]])

# %% [markdown]
# ## The network
#
# The network has two stages of *convolution, activation, pooling*, and then three dense layers. A convolution with a 5x5 kernel looks at 25 pixels at a time and uses the **same** 25 weights everywhere: `conv1` has only 6 x (25 + 1) = 156 parameters, where a dense layer with as many outputs would have 3.7 million.
#
# *Question: why does `conv2` have 2,416 parameters?*
#
# <details><summary>Answer</summary>Each of its 16 maps has a 5x5 kernel for each of the 6 maps below, and one bias: 16 x (6 x 25 + 1) = 2,416.</details>

# %%
from flax import nnx

from jaxcnn import models

model = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
models.summary(model, (1, 28, 28, 1))

# %% [markdown]
# ## Train
#
# The loss is the cross-entropy $L = -\log p_{\text{true class}}$. Each step takes 64 digits and changes the parameters against the gradient of their loss.

# %%
import os

from jaxcnn import training

epochs = 2 if os.environ.get("FAST") else 20  # FAST=1: a short run, to see that everything works
run = training.fit(model, train, validation, training.TrainConfig(epochs=epochs))
training.evaluate(model, test, run.scaling)

# %%
plots.learning_curves(run.history)

# %% [markdown]
# The training loss keeps falling while the validation loss levels off: from there on the network memorizes its training examples.
#
# ## Look
#
# These are the six kernels of the first layer (dark blue is below zero, light orange above), and the maps that they compute from one digit.

# %%
import numpy as np

plots.filters(np.asarray(model.conv1.kernel[...]))

# %%
logits, stages = model(run.scaling(test.images[:1]), capture=True)
plots.feature_maps("conv1", np.asarray(stages["conv1"][0]))

# %%
predictions = training.predict(model, test.images, run.scaling).argmax(-1)
plots.confusion_matrix(test.labels, predictions, test.classes)

# %% [markdown]
# ## The gradient behind it
#
# The rule that trained `conv1` is in `jaxcnn/ops/conv/rule.py`: the gradient of a convolution is two more convolutions. One argument replaces it by the gradient that JAX derives itself; the two agree.

# %%
import jax
import jax.numpy as jnp

from jaxcnn import ops

images = jnp.asarray(run.scaling(test.images[:8]))


def loss(kernel, rule):
    maps = ops.relu(ops.conv(images, kernel, padding=2, rule=rule), rule=rule)
    return jnp.mean(ops.max_pool(maps, 2, rule=rule) ** 2)


kernel = model.conv1.kernel[...]
by_hand, by_jax = (jax.grad(loss)(kernel, rule) for rule in ("hand", "autodiff"))
print("largest difference:", float(jnp.abs(by_hand - by_jax).max()))
assert jnp.allclose(by_hand, by_jax, rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## The loop, written out
#
# `fit` repeats one step: the gradient of the loss on a batch, then a change of the parameters. You can write that loop yourself. The step is a pure function: it takes the state (parameters, statistics, and what the optimizer remembers) and a batch, and returns the new state and the metrics.

# %%
import optax

fresh = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
optimizer = optax.adam(1e-3)


def batch_loss(model, batch):
    logits = model(run.scaling(batch.images))
    correct = jnp.mean(logits.argmax(-1) == batch.labels)
    return ops.softmax_cross_entropy(logits, batch.labels).mean(), {"accuracy": correct}


state = training.init_state(fresh, optimizer)
step = jax.jit(training.make_step(fresh, batch_loss, optimizer), donate_argnums=0)
for number in range(60):
    state, metrics = step(state, data.train_batch(train, 64, seed=0, step=number))
    if number % 20 == 19:
        print(f"step {number + 1}: loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.0%}")

training.load_state(fresh, state)
found = training.evaluate(fresh, test, run.scaling)
print(f"test accuracy {found.accuracy:.1%}")
assert found.accuracy > 0.7

# %% [markdown]
# ## Where next
#
# How that rule is derived, and how to prove a rule: [2. Gradients by hand](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/02_gradients_by_hand.ipynb). What the network sees, and whether such pictures can be trusted: [3. What a CNN sees](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/03_what_a_cnn_sees.ipynb). Sizes, strides, channels and filters, with the numbers in the cells: [4. Convolution arithmetic](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/04_convolution_arithmetic.ipynb). On the command line, `jaxcnn train` does all of this page.
