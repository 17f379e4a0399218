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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/06_transfer_learning.ipynb)
#
# # 6. Transfer learning
#
# You have fifty labeled pictures, not fifty thousand. A network that was trained on *other* pictures can still help: its first layers know what strokes and corners look like, and these are the same everywhere. On this page a network learns the digits 0 to 4; then you use it for the digits 5 to 9, which it has never seen. You do so in three ways: frozen, fine-tuned, and as a source of features for classifiers that are not networks. For comparison, a network also learns from scratch. About three minutes on a CPU, about two minutes on a T4.

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
import tempfile

import numpy as np
from flax import nnx

from jaxcnn import data, inspect, models, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works
training.keep_compiled(tempfile.mkdtemp())  # many trainings follow, of few programs

# %% [markdown]
# ## Two tasks from one set
#
# The 1,797 digits of scikit-learn are always there. If you have the files of MNIST, name their folder in `JAXCNN_DATA_DIR`, and ten thousand of its digits are taken instead.


# %%
def load(name, least):
    """The digits `least` to `least + 4` as classes 0 to 4: to learn from, and 30 % for the test."""
    parts = [data.load(name, split) for split in data.splits(name)]
    whole = parts[0]._replace(
        images=np.concatenate([part.images for part in parts]), labels=np.concatenate([part.labels for part in parts])
    )
    some = whole.pick((whole.labels >= least) & (whole.labels < least + 5)).take(5000)
    some = some._replace(labels=some.labels - least, classes=whole.classes[least : least + 5])
    return some.split_off(0.3)


name = "digits" if fast else "mnist"
try:
    low, low_test = load(name, 0)
except FileNotFoundError:
    name = "digits"
    low, low_test = load(name, 0)
high, high_test = load(name, 5)
print(
    f"{name}: {len(low.labels)} digits 0 to 4; {len(high.labels)} digits 5 to 9, {len(high_test.labels)} for the test"
)
plots.labeled_images(
    np.concatenate([low.images[:8], high.images[:8]]),
    [low.classes[i] for i in low.labels[:8]] + [high.classes[i] for i in high.labels[:8]],
)

# %% [markdown]
# ## The first task
#
# Nothing new here: LeNet-5 with five outputs learns the digits 0 to 4.

# %%
base = models.create("lenet5", num_classes=5, in_features=1, rngs=nnx.Rngs(0))
first = training.fit(base, low, config=training.TrainConfig(epochs=2 if fast else 10), observer=None)
print(f"digits 0 to 4: {training.evaluate(base, low_test, first.scaling).accuracy:.1%} right")

# %% [markdown]
# ## The second task, with few examples
#
# The last layer, the **head**, has an output for each of the old classes, so it cannot be used for the new ones. `replace_head` gives the network a fresh one. What about the rest? Let $\theta$ be the weights of the convolutions, $\phi$ those of the dense layers above, and $\eta$ the learning rate:
#
# | | the convolutions | the dense layers |
# | --- | --- | --- |
# | **frozen** | $\theta$ stays | $\phi \leftarrow \phi - \eta\,\partial L/\partial\phi$ |
# | **fine-tuned** | $\theta \leftarrow \theta - \tfrac{\eta}{10}\,\partial L/\partial\theta$ | as above |
# | **from scratch** | starts random, rate $\eta$ | starts random |
#
# (This is the idea; the optimizer here, AdamW, also scales each step.) The images must be scaled as they were in the first task: the old layers expect it. `scaling=first.scaling` does that.
#
# *Question: why would a smaller rate in the lower layers be better than the same rate everywhere, and better than none?*
#
# <details><summary>Answer</summary>At the beginning the head is random, and so are the errors that it sends down: at the full rate they would destroy what the convolutions know before the head has learned anything. None at all is safe, but cannot adapt. A small rate can do both. The more examples there are, the less this matters.</details>

# %%
ways = {
    "frozen": {"freeze": ("conv*",)},
    "fine-tuned": {"layer_rates": ("conv*=0.1",)},
    "from scratch": {},
}
if fast:
    del ways["from scratch"]
sizes = (40,) if fast else (25, 50, 100, 250)
steps = 20 if fast else 200


def some(count, seed):
    """So many digits 5 to 9, the same share of each class."""
    return high.split_off(count / len(high.labels), seed)[1]


def network_for(way, seed):
    network = models.create("lenet5", num_classes=5, in_features=1, rngs=nnx.Rngs(seed))
    if way != "from scratch":
        nnx.update(network, nnx.state(base))  # what was learned
        network.replace_head(5, rngs=nnx.Rngs(seed))
    return network


def learn(way, few, seed):
    epochs = -(-steps // (len(few.labels) // 16))  # as many steps, however few the digits are
    config = training.TrainConfig(epochs=epochs, batch_size=16, seed=seed, log_every=10_000, **ways[way])
    network = network_for(way, seed)
    training.fit(network, few, config=config, observer=None, scaling=first.scaling)
    return network


accuracy = {way: {} for way in ways}
trained = {}
for count in sizes:
    for way in ways:
        found = []
        for seed in (0,) if fast else (0, 1, 2):
            trained[way] = learn(way, some(count, seed), seed)
            found.append(training.evaluate(trained[way], high_test, first.scaling).accuracy)
        accuracy[way][count] = found
        print(f"{count:4d} digits, {way:13s}", " ".join(f"{value:.1%}" for value in found))

# %% [markdown]
# The numbers in a row come from different random choices of the examples. See how much they vary before you trust a difference. For example, frozen and fine-tuned are the same here: at a tenth of the rate, and in so few steps, the convolutions hardly move.
#
# Did the frozen layers really stay? And which of the others moved most?

# %%
for way in ("frozen", "fine-tuned"):
    moved = {}
    for layer in ("conv1", "conv2", "dense1", "dense2"):
        old, new = (np.asarray(getattr(part, layer).kernel[...]) for part in (base, trained[way]))
        moved[layer] = np.linalg.norm(new - old) / np.linalg.norm(old)
    print(f"{way:11s}", "  ".join(f"{layer} moved by {share:.1%}" for layer, share in moved.items()))

# %% [markdown]
# ## Features for others
#
# There is a way without any further training of the network. Compute its second pooling for each picture: 5x5 cells of 16 maps, 400 numbers. These are **features**; any classifier can use them instead of the 784 pixels.
#
# - **Nearest neighbors**: which known examples are closest, by $\lVert f(x) - f(x') \rVert$? The most frequent class among five of them wins.
# - **Linear SVM**: for each class a plane that separates it from the others with a margin as wide as possible, $\min_w \tfrac{1}{2}\lVert w \rVert^2 + C \sum_i \max(0, 1 - y_i\,w^\top f(x_i))^2$.
#
# These classifiers see only the numbers. If they do better with features than with pixels, the network has put similar digits close together, though no digit from 5 to 9 was among its examples.

# %%
maps = {"pool": "flatten", "scaling": first.scaling}
of_test = {"features": inspect.features(base, high_test.images, "pool2", **maps), "pixels": high_test.images}
for count in sizes:
    for seed in (0,) if fast else (0, 1, 2):
        few = some(count, seed)
        known = {"features": inspect.features(base, few.images, "pool2", **maps), "pixels": few.images}
        for kind, spoken in {"knn": "neighbors", "svm": "SVM"}.items():
            for where in known:
                result = inspect.probe(known[where], few.labels, of_test[where], high_test.labels, kind)
                accuracy.setdefault(f"{spoken} on {where}", {}).setdefault(count, []).append(result.accuracy)

figure = plots.style.canvas(9, 3.4)
left, right = figure.subplots(1, 2, sharey=True)
for number, (row, cells) in enumerate(accuracy.items()):
    axes = left if row in ways else right
    weak = row == "from scratch" or row.endswith("pixels")
    errors = [100 * (1 - np.mean(found)) for found in cells.values()]
    spread = [100 * np.std(found) for found in cells.values()]
    color = plots.style.ACCENT if weak else plots.style.INK
    marker, line = "so^sosD^"[number], "--" if weak else ("-", ":")[number % 2]
    hollow = {"mfc": "none", "ms": 10} if row == "fine-tuned" else {"ms": 5}  # it lies on top of "frozen"
    axes.errorbar(list(cells), errors, spread, color=color, ls=line, marker=marker, capsize=2, label=row, **hollow)
for axes, title in ((left, "networks: test error, %"), (right, "simple classifiers: test error, %")):
    plots.style.plain(axes, "digits 5 to 9 to learn from")
    plots.style.heading(axes, title)
    axes.set_xscale("log")
    axes.set_xticks(sizes, map(str, sizes))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.tick_params(labelleft=True)
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# *Question: the more digits there are, the closer comes the network from scratch. What does that say about when to use transfer?*
#
# <details><summary>Answer</summary>What was learned before takes the place of examples. Where there are enough of them, it adds little: digits are easy, and LeNet-5 is small. For large networks and real photographs "enough" means hundreds of thousands, and transfer is the rule.</details>
#
# ## What the features look like
#
# The 400 numbers, seen from the direction in which they differ most (principal components). No digit shown here was ever learned by this network.

# %%
plots.components(inspect.pca(of_test["features"]), of_test["features"], high_test.labels, high_test.classes)

# %% [markdown]
# And some nearest neighbors, by features and by pixels; a frame marks a neighbor of another class.

# %%
queries = np.array([np.flatnonzero(high_test.labels == label)[1] for label in (0, 3, 4)])
asked, captions, near, rows = [], [], [], []
known = {"features": inspect.features(base, high.images, "pool2", **maps), "pixels": high.images}
for query in queries:
    for where in known:
        asked.append(high_test.images[query])
        captions.append(high_test.classes[high_test.labels[query]])
        near.append(inspect.neighbors(known[where], of_test[where][[query]], 8).places[0])
        rows.append(where)
plots.neighbors(
    np.stack(asked),
    high.images[np.stack(near)],
    captions,
    [[high.classes[high.labels[place]] for place in places] for places in near],
    rows=rows,
    title="test digits and the nearest digits to learn from, by features and by pixels",
)

# %% [markdown]
# ## Where next
#
# The same for your own pictures, with a network for photographs: `jaxcnn train resnet20 --data folder:path/to/pictures --init runs/cifar --layer-rates 'conv*=0.1' 'blocks*=0.1'`, and `weights.load` takes files of torchvision and timm. `experiments/transfer_digits.py` answers the question of this page on all of MNIST. Networks trained on a million photographs, by name: [11. Trained networks](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/11_trained_networks.ipynb). Next: convolutions on other data than pictures, [7. Text and speech](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/07_text_and_speech.ipynb). To read: Yosinski et al. (2014), *How transferable are features in deep neural networks?*
