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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/11_trained_networks.ipynb)
#
# # 11. Trained networks
#
# `weights.pretrained("resnet18")` opens a network that was trained on more than a million photographs. In this notebook you classify photographs with it, see what happens if pictures are prepared incorrectly, and look at its filters, its features and its class activation maps. The weights, 45 MB, are downloaded once. Without an internet connection the notebook trains a small ResNet instead: every cell still runs, but the predictions are worse. About two minutes on a CPU, about two minutes on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn", "huggingface_hub"]
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
import dataclasses
import os
import tempfile

import numpy as np
from flax import nnx
from matplotlib import cbook
from PIL import Image
from sklearn.datasets import load_sample_images

from jaxcnn import data, inspect, models, training, weights
from jaxcnn.inspect import plots

os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # do not print every retry
fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works
if fast:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded

# %% [markdown]
# ## Photographs
#
# These example photographs come with other libraries: two with scikit-learn, one with matplotlib, three with scikit-image.

# %%
china, flower = load_sample_images().images
photos = {"temple": china, "flower": flower, "admiral": cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)}
shows = {"temple": "building", "flower": "flower", "admiral": "person"}
try:
    import skimage.data

    photos |= {"astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee(), "cat": skimage.data.chelsea()}
    shows |= {"astronaut": "person", "coffee": "drink", "cat": "animal"}
except ImportError:
    print("Without scikit-image, three photographs are left out: an astronaut, coffee and a cat.")
photos = {
    name: Image.open(photo).convert("RGB") if isinstance(photo, str) else Image.fromarray(photo)
    for name, photo in photos.items()
}
for name, photo in photos.items():
    print(f"{name:10}{photo.width} x {photo.height}")

# %% [markdown]
# ## One name
#
# `weights.pretrained` returns the network and its configuration: the classes, the source of the weights, and the preprocessing of pictures. `jaxcnn pretrained` lists all names.
#
# Without an internet connection, a small network takes its place. It has the same eighteen layers, with a quarter of the maps in each. It learns only from which of these photographs a square was cut. It has been trained on all of them, so its predictions for them prove nothing. It only lets you see what the cells do.


# %%
def small_network():
    """A narrow ResNet-18 trained to recognize these photographs, and its configuration."""
    fed = data.Preprocessing(size=(224, 224), resize=235)
    network = {"num_classes": len(photos), "in_features": 3}
    options = {"widths": (4, 8, 16, 32) if fast else (16, 32, 64, 128)}
    model = models.create("resnet18", **network, **options, rngs=nnx.Rngs(0))
    config = {"name": "resnet18", **network, "options": options, "classes": list(photos)}
    config |= {"preprocessing": dataclasses.asdict(fed), "source": {"name": "this page"}}
    random, size = np.random.default_rng(0), 64
    whole = [fed.with_size(side).fit(photo) for photo in photos.values() for side in (224, 336)]
    labels = np.arange(512 if fast else 3072) % len(whole)
    squares = []
    for label in labels:
        top, left = random.integers(0, len(whole[label]) - size + 1, 2)
        squares.append(whole[label][top : top + size, left : left + size])
    train = data.Dataset(np.stack(squares), (labels // 2).astype(np.int32), tuple(photos), "squares", "train")
    plan = training.TrainConfig(epochs=2 if fast else 6)
    training.fit(model, train, None, plan, scaling=data.Scaling(fed.mean, fed.std))
    return model, config


try:
    model, config = weights.pretrained("resnet18")  # downloads it once
    source = config["source"]
    print(f"Opened {source['name']}, license {source['license']}, commit {source['revision'][:8]}.")
except (ImportError, OSError) as reason:
    print(f"Training a small network instead: {reason}")
    model, config = small_network()
trained = config["source"]["name"] != "this page"

fed = data.Preprocessing.of(config["preprocessing"])
tree = data.imagenet_classes()
names = tree.names if trained else config["classes"]
answer = nnx.jit(lambda model, inputs: model(inputs))


def probabilities(inputs):
    logits = np.asarray(answer(model, inputs))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


# %% [markdown]
# ## Predictions
#
# `fed.fit` resizes a photograph and cuts out its center. `fed.scale` converts the pixels to inputs, as in the training of the network.

# %%
pixels = np.stack([fed.fit(photo) for photo in photos.values()])
inputs = fed.scale(pixels)
said = probabilities(inputs)
first = said.argmax(1)
for name, shares in zip(photos, said, strict=True):
    ranked = np.argsort(-shares)[:3]
    print(f"{name:10}", ", ".join(f"{names[place]} {100 * shares[place]:.1f} %" for place in ranked))
captions = [f"{names[place]}\n{100 * shares[place]:.1f} %" for place, shares in zip(first, said, strict=True)]
plots.style.tiles(list(pixels), captions, columns=6, size=1.4, levels=(0, 255), title="predictions of the network")

# %% [markdown]
# The 1,000 classes of ImageNet are synsets of WordNet, and WordNet has more general words above each class. The probability that a picture shows a *flower* is the sum over all classes below that word. (For the small network, the groups are those of its own photographs.)

# %%
kinds = list(dict.fromkeys(shows.values()))
if trained:
    kinds = [*kinds, "clothing"]
    members = {kind: tree.places(kind) for kind in kinds}
else:
    members = {kind: [place for place, name in enumerate(photos) if shows[name] == kind] for kind in kinds}
print(" " * 10, *(f"{kind:>9}" for kind in kinds))
print(f"{'classes':10}", *(f"{len(members[kind]):9}" for kind in kinds))
for name, shares in zip(photos, said, strict=True):
    print(f"{name:10}", *(f"{100 * shares[members[kind]].sum():7.1f} %" for kind in kinds))

# %% [markdown]
# *Question: only three classes of ImageNet are persons: ballplayer, groom and scuba diver. What can a network trained on ImageNet predict for a portrait?*
#
# <details><summary>Answer</summary>Its probabilities must add up to 100 % over its classes, so it predicts something else in the picture, most often what the person wears or holds. With the weights of ImageNet, the column "clothing" shows this. The network has no class "none of these". The small network has the same flaw: whatever you show it, it predicts one of its photographs.</details>
#
# ## Right and wrong preprocessing
#
# If pictures are not prepared as in the training, there is no error message: the shapes fit, and the network returns a prediction. The table shows the class of each photograph with the right preprocessing, and the probability of this class with the right preprocessing and with four common mistakes.

# %%
plain = pixels.astype(np.float32)
squeezed = np.stack([np.asarray(photo.resize(fed.size[::-1], Image.Resampling.NEAREST)) for photo in photos.values()])
ways = {
    "right": inputs,
    "blue first": fed.scale(pixels[..., ::-1]),
    "0 to 255": plain,
    "0 to 1": plain / 255,
    "squeezed": fed.scale(squeezed),  # not cut, and without antialiasing
}
answers = {way: probabilities(fed_so) for way, fed_so in ways.items()}
print(f"{'':10} {'class':16}", *(f"{way:>11}" for way in ways))
for row, (name, place) in enumerate(zip(photos, first, strict=True)):
    print(f"{name:10} {names[place][:16]:16}", *(f"{100 * answers[way][row, place]:9.1f} %" for way in ways))
kept = {way: int((answers[way].argmax(1) == first).sum()) for way in ways}
print(f"{'same class as with right':27}", *(f"{kept[way]:>6} of {len(photos)}" for way in ways))

# %%
seen = [np.clip((values - ways["right"].min()) / np.ptp(ways["right"]), 0, 1)[0] for values in ways.values()]
title = "one photograph as input of the network, on one scale"
plots.style.tiles(seen, list(ways), columns=5, size=1.4, levels=(0, 1), title=title)

# %% [markdown]
# Which mistake does most harm depends on the network and on the picture. A mistake with a small effect is more dangerous, because it is easily overlooked: the network seems to work, but it is somewhat less accurate than published. Therefore the preprocessing is stored with the weights, and `predict`, `eval`, `train` and exports apply it.
#
# ## The first filters
#
# Figure 3 of Krizhevsky et al. (2012) shows the first filters of AlexNet. Here are the first filters of your network, 7x7 in color. Each has its own scale, and zero is gray.

# %%
kernel = inspect.first_kernel(model, (*fed.size, 3))
plots.filters(kernel, columns=16, title="first filters")

# %% [markdown]
# In well-trained filters, neighboring weights are similar: the filters show edges, waves, or blobs of opposite colors. Random filters look like noise. One number distinguishes the two: the correlation of each weight with its right neighbor, over all filters. It is near 0 for random filters, and near 1 for smooth ones.

# %%
fresh = models.create(config["name"], num_classes=10, in_features=3, **config["options"], rngs=nnx.Rngs(1))
for title, filters in (("this network", kernel), ("a random one", inspect.first_kernel(fresh, (*fed.size, 3)))):
    print(f"{title}: {np.corrcoef(filters[:, :-1].ravel(), filters[:, 1:].ravel())[0, 1]:.2f}")

# %% [markdown]
# AlexNet learned such filters from 1.2 million photographs, in about 90 epochs, in five to six days on two GPUs. The small network has been trained for a few seconds on a few thousand squares, and its filters still look like noise. It recognizes its photographs nevertheless: random filters followed by trained layers are enough for that.
#
# ## Nearest neighbors in the last layer
#
# Krizhevsky et al. also looked for the nearest pictures in the last layer before the classes. Here nine squares are cut from each photograph. They do not overlap. For the middle square of three photographs, one row shows the nearest squares by the network's features, and one row the nearest squares by their pixels.

# %%
side = 96
squares = np.stack(
    [
        whole[top : top + side, left : left + side]
        for whole in (fed.with_size(3 * side).fit(photo) for photo in photos.values())
        for top in range(0, 3 * side, side)
        for left in range(0, 3 * side, side)
    ]
)
owners = np.repeat(list(photos), 9)
scaling = data.Scaling(fed.mean, fed.std)
spaces = {"features": inspect.features(model, squares, "mean", scaling=scaling), "pixels": squares.astype(np.float32)}
nearest = {title: inspect.neighbors(space, space, 7).places[:, 1:] for title, space in spaces.items()}  # 0 is itself

queries = np.repeat(np.arange(4, len(squares), 9)[-3:], len(spaces))
near = np.stack([nearest[title][query, :6] for query, title in zip(queries, [*spaces] * 3, strict=True)])
plots.neighbors(
    squares[queries],
    squares[near],
    owners[queries],
    owners[near],
    rows=[*spaces] * 3,
    title="a square and its nearest neighbors; those from another photograph are framed",
)

# %%
for title, places in nearest.items():
    same = owners[places[:, :5]] == owners[:, None]
    print(f"nearest five by {title}: {100 * same.mean():.0f} % are from the same photograph")
print(f"by chance: {100 * 8 / (len(squares) - 1):.0f} %")

# %% [markdown]
# Distances between pixels compare each position with the same position, so they find squares of similar brightness and color. Features can find similar content at any position in the square. The percentages above show how much this helps here. For the small network the comparison is not fair: it was trained to distinguish these photographs, on squares that overlap with those above. For a network trained on ImageNet it is fair: that network was not trained for this task.
#
# ## Class activation maps
#
# Grad-CAM (page 3) weighs the last maps by how much they raise the score of the class, 7x7 cells for a picture of 224x224. The more yellow a cell is, the more it raises the score of the class; each picture has its own scale.

# %%
maps = inspect.grad_cam(model, inputs)
figure = plots.style.canvas(1.45 * len(photos), 1.9, "Grad-CAM of the predicted class")
for axes, picture, cells, place in zip(figure.subplots(1, len(photos)), pixels, maps, first, strict=True):
    plots.style.show(axes, picture)
    height, width = picture.shape[:2]
    axes.imshow(cells, alpha=0.55, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="bilinear")
    plots.style.heading(axes, plots.style.shortened(names[place], 1.3))
figure

# %% [markdown]
# *Question: does a bright cell on the flower show that the network knows what a flower is?*
#
# <details><summary>Answer</summary>No. It shows where the evidence for the class is, but not what the evidence is: the texture of petals or a color may be enough. The small network is an example: orange beside dark green is all that it needs to distinguish the flower from its other photographs, and the background helps it as much as the object.</details>
#
# ## Save and open the network
#
# Saved weights must give the same results everywhere. `weights.save_pretrained` writes a folder that is ready for the Hugging Face hub: weights, configuration and a model card. `weights.pretrained` opens it by its path, and the logits must be the same.

# %%
with tempfile.TemporaryDirectory() as folder:
    made = f"Opened as {config['source']['name']} in a notebook." if trained else "Trained in a notebook."
    weights.save_pretrained(model, folder, config=config, made=made)
    print("files:", ", ".join(sorted(os.listdir(folder))))
    again, told = weights.pretrained(folder)
    difference = np.abs(np.asarray(answer(again, inputs)) - np.asarray(answer(model, inputs))).max()
print("same preprocessing:", data.Preprocessing.of(told["preprocessing"]) == fed)
print("largest difference of logits:", difference)

# %% [markdown]
# With PyTorch and timm, `jaxcnn pretrained --parity photos --names resnet18` compares a published network with the same network in timm, stage by stage, on a folder of your pictures.
#
# ## Where next
#
# To classify your own photographs, run `jaxcnn predict resnet18 cat.jpg --ask dog vehicle` in a shell. To train a network for your own classes, run `jaxcnn train resnet18 --pretrained --data folder:flowers`; why that works: [6. Transfer learning](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/06_transfer_learning.ipynb). Whether you can trust such maps: [3. What a CNN sees](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/03_what_a_cnn_sees.ipynb). To read: Krizhevsky et al. (2012), *ImageNet classification with deep convolutional neural networks*; Selvaraju et al. (2017), *Grad-CAM*; He et al. (2016), *Deep residual learning for image recognition*.
