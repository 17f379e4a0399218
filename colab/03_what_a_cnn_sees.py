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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/03_what_a_cnn_sees.ipynb)
#
# # 3. What a CNN sees
#
# A trained network is some sixty thousand numbers. Here you ask questions about it: *why* does it say 7? Which digits are similar for it? What would the perfect 3 look like? And, most of all: **can you trust these pictures?** About two minutes on a CPU, about two minutes on a T4.

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

# %%
import os

import jax
import numpy as np
from flax import nnx

from jaxcnn import data, inspect, layers, models, ops, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works
train, validation, test = (data.load("digits", split) for split in ("train", "validation", "test"))
model = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
run = training.fit(model, train, validation, training.TrainConfig(epochs=1 if fast else 8))
training.evaluate(model, test, run.scaling)

# %% [markdown]
# ## Why it decides
#
# Let $S_c$ be the score (the logit) of class $c$. How would it change if one pixel were a little lighter? The answer is a gradient by the input instead of the weights. The **saliency** map of Simonyan et al. (2014) is its absolute value:
#
# $$M(q) = \max_k \left| \frac{\partial S_c}{\partial x_k(q)} \right|.$$
#
# It is noisy. **SmoothGrad** takes the mean over noisy copies of the picture. **Integrated gradients** answer another question: this picture's score and that of a baseline $b$ differ; how much does each pixel add to the difference?
#
# $$\phi_i = (x_i - b_i) \int_0^1 \frac{\partial S_c}{\partial x_i}\big(b + t(x - b)\big)\,dt, \qquad \sum_i \phi_i = S_c(x) - S_c(b).$$
#
# **Grad-CAM** looks at the last maps $A_k$ instead of the pixels, each weighed by its mean gradient: $\max(0, \sum_k a_k A_k)$. **Occlusion** needs no gradient at all: cover a part, and see how much probability is lost.

# %%
shown = np.array([np.flatnonzero(test.labels == digit)[0] for digit in (7, 3, 8)])
pictures, images = test.images[shown], run.scaling(test.images[shown])
classes = np.asarray(model(images)).argmax(-1)
black = run.scaling(np.zeros((28, 28, 1), np.uint8))

maps = {
    "gradient": inspect.gradient(model, images),
    "SmoothGrad": inspect.smooth_grad(model, images),
    "integrated gradients": inspect.integrated_gradients(model, images, baseline=black),
    "guided backprop": inspect.guided_backprop(model, images),
    "deconvnet": inspect.deconvnet(model, images),
    "Grad-CAM": inspect.grad_cam(model, images),
    "occlusion": inspect.spread_windows(inspect.occlusion(model, images), (28, 28)),
}
plots.attributions(pictures, maps, [f"said {c}" for c in classes])

# %% [markdown]
# In a map with a sign, gray is zero, light speaks for the class and dark against it. The equation of integrated gradients can be checked:

# %%
total, difference = inspect.completeness(model, images, maps["integrated gradients"], baseline=black)
print("sum of the map     ", total)
print("difference of scores", difference)

# %% [markdown]
# *Question: where the picture is exactly as the baseline, here black, integrated gradients give 0, whatever the network does there. When does that hide something?*
#
# <details><summary>Answer</summary>When absence matters. That a 3 has no ink on its left side tells it from an 8; but with a black baseline, black pixels get no share at all. Another baseline shows another part of the truth.</details>
#
# ## Swapping a rule
#
# Guided backpropagation and the deconvnet are not gradients. They are the result of a backward pass in which the **rule of the ReLU** is replaced by another. With the error $e$ that comes from above:
#
# $$\text{gradient: } e\,[x > 0] \qquad \text{deconvnet: } e\,[e > 0] \qquad \text{guided: } e\,[x > 0]\,[e > 0].$$
#
# `inspect.with_rules` gives a twin of the network with the same parameters and another rule. The forward is the same; the backward is not.

# %%
twin = inspect.with_rules(model, relu="guided")
print("same parameters:", twin.conv1.kernel is model.conv1.kernel)
print("same answers:   ", bool((twin(images) == model(images)).all()))


@nnx.jit
def back(model, images):
    return jax.grad(lambda x: model(x)[:, 3].sum())(images)


print("other gradients:", float(abs(back(twin, images) - back(model, images)).max()))

# %% [markdown]
# ## Do these maps show the network, or the picture?
#
# Guided backprop draws the sharpest maps. Adebayo et al. (2018) asked the right question: if the weights are destroyed, does the map change? A map that explains what the network learned must change. Here the layers are shuffled from the head downwards. As a control, `edges` is a map of the picture alone: it cannot change.

# %%
found = inspect.randomization_check(model, run.scaling(test.images[:8]), groups=2 if fast else 6)
plots.randomization_curves(found)

# %%
plots.randomization_maps(found)

# %%
print("still alike after all layers were shuffled:", ", ".join(found.ignoring()))

# %% [markdown]
# *Question: integrated gradients of a shuffled network still resemble those of the trained one. Why, though they are made of gradients?*
#
# <details><summary>Answer</summary>They are the gradients times the picture less its baseline. Where the picture has no ink they are small for every network, so all their maps have the shape of the picture. A map that looks like the picture is no proof that the network used the picture that way.</details>
#
# ## Which digits are alike
#
# The layer before the head turns each digit into 84 numbers. Digits whose numbers are close are similar *for the network*. One row has the nearest neighbors by these features, the other by pixels.

# %%
features = inspect.features(model, test.images, "dense2", scaling=run.scaling)
query = int(inspect.misclassified(training.predict(model, test.images, run.scaling), test.labels)[0])
others = np.delete(np.arange(len(features)), query)
near = np.concatenate(
    [others[inspect.neighbors(space[others], space[[query]], 8).places] for space in (features, test.images)]
)
name = str(test.labels[query])
plots.neighbors(
    test.images[[query] * 2],
    test.images[near],
    [name] * 2,
    test.labels[near].astype(str),
    rows=["features", "pixels"],
    title=f"the most confident mistake, truly a {name}, and its nearest neighbors; other digits are framed",
)

# %%
plots.components(inspect.pca(features), features, test.labels, test.classes)

# %% [markdown]
# ## What it wants to see
#
# Reverse the training: keep the weights, and change the *picture* until the logit of a class is as large as possible. Each step moves the picture at random by a few pixels, so that no pattern remains that works in one place only.

# %%
bounds = black, run.scaling(np.full((28, 28, 1), 255, np.uint8))
made, logits = inspect.maximize(model, range(10), (28, 28, 1), steps=40 if fast else 200, bounds=bounds)
captions = [f"{digit}\nlogit {value:.0f}" for digit, value in enumerate(logits)]
plots.maximized(255 * (made - bounds[0]) / (bounds[1] - bounds[0]), captions)

# %% [markdown]
# Strokes can be seen, but no digits as you would write them: the network never had to know what a digit *is*, only how ten of them differ. The next picture is not computed but found: the digits with the largest values in a map of `conv2`, and the part that this map looks at:

# %%
scaled = run.scaling(test.images)
units = inspect.most_exciting(model, scaled, "conv2", [0, 5, 10], 9)
plots.most_exciting(test.images, units, ["map 0", "map 5", "map 10"])

# %% [markdown]
# ## Is it right as often as it is sure?
#
# Of all the digits for which it says "90 %", nine in ten should be right. The **expected calibration error** is the mean difference between confidence and accuracy, over bins of confidence.

# %%
plots.calibration(inspect.calibration(training.predict(model, test.images, run.scaling), test.labels))

# %% [markdown]
# ## Shifts
#
# A convolution does not care where a stroke is: a shifted picture has shifted maps. Is the network's answer also the same?

# %%
curves = {f"a {digit}": inspect.shift_curve(model, images[[i]], border="edge") for i, digit in enumerate(classes)}
plots.shift_curves(curves)

# %% [markdown]
# It is not: dense layers depend on places, and a pooling of stride 2 sees only every other place. Here are small networks whose convolutions wrap *around* the borders and which end with the mean over space, so that only the pooling can break the symmetry. Each is trained for a short time; then it classifies pairs of shifted digits. How often do the two answers agree?


# %%
class Round(nnx.Module):
    """Two convolutions round the borders, a pooling after each, the mean over space."""

    def __init__(self, pool, rngs):
        self.conv1 = layers.Conv(1, 8, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.conv2 = layers.Conv(8, 16, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.head = nnx.Linear(16, 10, rngs=rngs)
        self.pool = pool

    def __call__(self, x):
        for conv in (self.conv1, self.conv2):
            x = self.pool(ops.relu(conv(x)))
        return self.head(ops.global_avg_pool(x))


poolings = {
    "every other cell": lambda x: ops.subsample(x, 2),
    "max": lambda x: ops.max_pool(x, 2),
    "L2": lambda x: ops.lp_pool(x, 2, p=2.0),
    "average": lambda x: ops.avg_pool(x, 2),
    "none": lambda x: x,
}
if fast:
    poolings = {name: poolings[name] for name in ("max", "none")}
small = [part._replace(images=part.images[:, 2:26:2, 2:26:2]) for part in (train, validation)]
consistency = {}
for name, pool in poolings.items():
    network = Round(pool, nnx.Rngs(0))
    learned = training.fit(network, *small, training.TrainConfig(epochs=1 if fast else 6), observer=None)
    seen = learned.scaling(small[1].images)
    consistency[name] = inspect.shift_consistency(network, seen, reach=6)
plots.shift_consistencies(consistency)

# %% [markdown]
# *Question: why does the network without pooling reach exactly 100 %, and did so before it had learned anything?*
#
# <details><summary>Answer</summary>If the convolutions wrap around the borders and have stride 1, shifting the picture shifts every map by the same cells, whatever the weights. The mean over space does not see a shift. With stride 2, a shift by one cell makes the pooling look at other cells: its maps are not the old ones shifted.</details>
#
# `jaxcnn inspect RUN PICTURE` puts all of these on one page, for your own run and your own picture.
#
# ## Where next
#
# The arithmetic of windows and what a unit can see at most: [4. Convolution arithmetic](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/04_convolution_arithmetic.ipynb). What the features of a trained network are good for: [6. Transfer learning](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/06_transfer_learning.ipynb). To read: Adebayo et al. (2018), *Sanity checks for saliency maps*; Zhang (2019), *Making convolutional networks shift-invariant again*.
