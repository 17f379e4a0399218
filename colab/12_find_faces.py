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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/12_find_faces.ipynb)
#
# # 12. Find faces
#
# Facial recognition begins with a detector: where in the photograph is a face? In this notebook you train a small network on 80 faces of 25x25 pixels, let it slide over photographs at every size, and draw what it finds. Then you count its false alarms, and let the network learn from them. About four minutes on a CPU, about three minutes on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn", "scikit-image"]
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

import jax.numpy as jnp
import numpy as np
import skimage.data
from flax import nnx
from PIL import Image

from jaxcnn import data, inspect, models, ops, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works

# %% [markdown]
# ## Faces and other pictures
#
# `data.load("faces")` has 100 faces from *Labeled Faces in the Wild*, and 100 other pictures, gray, 25x25. LeNet-5 reads 32x32 pixels, so they are resized. 80 of each are for training, 20 of each for a test.

# %%
side = 32


def resized(pixels, box=None):
    image = Image.fromarray(pixels[..., 0])
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))[..., None]


parts = {split: data.load("faces", split) for split in ("train", "validation", "test")}
images = {split: np.stack([resized(image) for image in part.images]) for split, part in parts.items()}
faces = np.concatenate([images[split][parts[split].labels == 1] for split in ("train", "validation")])
others = np.concatenate([images[split][parts[split].labels == 0] for split in ("train", "validation")])
plots.style.tiles([*faces[:12], *others[:12]], columns=12, levels=(0, 255), rows=("faces", "others"))

# %% [markdown]
# A photograph has tens of thousands of windows, and almost none of them shows a face. 80 pictures are too few to learn what all the others look like. So more windows are drawn from photographs without faces, at several sizes: `inspect.pyramid` resizes a picture to smaller and smaller ones.

# %%
names = ["brick", "coins", "stereo_motorcycle", "cell", "colorwheel", "grass", "gravel", "horse", "hubble_deep_field"]
names += ["immunohistochemistry", "moon", "page", "retina", "text"]
names = names[:3] if fast else names


def photograph(name):
    pixels = getattr(skimage.data, name)()
    pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # of two views the left one
    pixels = 255 * pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def windows(pictures, count, random):
    levels = [inspect.pyramid(picture, side, step=2**0.5) for picture in pictures]
    found = []
    for _ in range(count):
        some = levels[random.integers(len(levels))]
        pixels = some[random.integers(len(some))].pixels
        top, left = (random.integers(n - side + 1) for n in pixels.shape[:2])
        found.append(pixels[top : top + side, left : left + side])
    return np.stack(found)


empty = [photograph(name) for name in names]
drawn = windows(empty, 100 if fast else 2000, np.random.default_rng(0))
others = np.concatenate([others, drawn])
plots.style.mosaic(list(drawn[:48]), columns=16, size=0.5, levels=(0, 255), title="windows without faces")

# %% [markdown]
# ## A classifier
#
# LeNet-5 with one output and a sigmoid: is this a face? Every epoch flips, turns, moves and shades the pictures anew.

# %%
def learned(others):
    often = -(-len(others) // (2 * len(faces)))  # each face several times, so that a third of the examples are faces
    examples = np.concatenate([np.tile(faces, (often, 1, 1, 1)), others])
    labels = np.repeat(np.array([1, 0], np.int32), [often * len(faces), len(others)])
    train = data.Dataset(examples, labels, ("other", "face"), "windows", "train", task="binary")
    changes = ("affine=8,0.05,0.1,0.05", "flip", "color_jitter=0.4")
    model = models.create("lenet5", num_classes=1, border=0, rngs=nnx.Rngs(0))
    config = training.TrainConfig(epochs=1 if fast else 8, augment=changes)
    return model, training.fit(model, train, config=config, observer=None)


model, run = learned(others)


def accepted(model):
    scores = training.predict(model, images["test"], run.scaling, task=run.task)[:, 1]
    for kind, name in enumerate(("other pictures", "faces")):
        print(f"{name}: {100 * (scores[parts['test'].labels == kind] > 0.5).mean():.0f} % are taken for faces")


accepted(model)

# %% [markdown]
# ## The classifier slides
#
# A dense layer that reads 5x5 cells of 16 maps is a convolution with a window of 5x5. `models.fully_convolutional` makes this change in every dense layer, with the same numbers. The network then accepts a larger picture, and returns a map: one logit for each window of 32x32, at steps of 4 pixels. One pass computes what neighboring windows share only once.

# %%
network = models.fully_convolutional(model)
print("dense layer:", model.dense1.kernel.shape, "convolution:", network.dense1.kernel.shape)
print("window", network.sliding.window, "strides", network.sliding.strides, "exact", network.sliding.exact)

astronaut = photograph("astronaut")
inputs = jnp.asarray(run.scaling(astronaut[None, :200, 100:300]))
logits = network(inputs)
one = model(inputs[:, 8:40, 12:44])  # the window of row 2, column 3
print("map", logits.shape, "one window", float(one[0, 0]), "in the map", float(logits[0, 2, 3, 0]))

# %% [markdown]
# *Question: LeNet-5 needs `border=0` here, so no convolution pads its input. What would change if the first convolution padded with zeros?*
#
# <details><summary>Answer</summary>The classifier would see zeros around each window. The sliding network sees the surroundings of the window there, because only the whole picture has a border. The logits would differ, most for cells whose evidence is near the edge of the window. `sliding.exact` would be False.</details>
#
# Faces have many sizes, the window has one. So the network slides over every level of the pyramid. `inspect.scan` returns the maps of scores; black is 1.

# %%
step = 2**0.5 if fast else 2**0.125
maps = inspect.scan(network, astronaut, run.scaling, step=2**0.5)
plots.score_maps(maps, columns=5, title="scores at every size, before learning from false alarms")

# %% [markdown]
# Dark spots are everywhere. The classifier was right on almost all of the test pictures, but it is asked about thousands of windows: with one error in a hundred, a photograph has hundreds of false alarms.
#
# ## Learn from false alarms
#
# Rowley, Baluja and Kanade (1998) let the detector slide over pictures that have no faces. Every alarm there is a false one, so it is a new example: a *hard negative*. Train, collect, and train a new network with all examples.

# %%
before = network, run.scaling  # to compare with later
for turn in range(1 if fast else 3):
    hard = []
    for picture in empty:
        found = inspect.find(models.fully_convolutional(model), picture, run.scaling, threshold=0.2, overlap=0.5)
        edges = np.minimum(found.boxes, np.tile(picture.shape[1::-1], 2))  # a rounded size may end behind the edge
        hard += [resized(picture, tuple(map(float, box))) for box in edges]
    print(f"round {turn + 1}: {len(hard)} false alarms")
    if not hard:
        break
    others = np.concatenate([others, np.stack(hard)])
    model, run = learned(others)
accepted(model)

# %%
network = models.fully_convolutional(model)
maps = inspect.scan(network, astronaut, run.scaling, step=2**0.5)
plots.score_maps(maps, columns=5, title="the same maps after learning from false alarms")

# %% [markdown]
# ## From scores to boxes
#
# Around a face many windows have a high score. Non-maximum suppression keeps the best one and removes those that overlap it; then the next best, and so on. The true face, drawn by hand, is dashed.

# %%
true = np.array([[168.0, 64.0, 280.0, 176.0]])  # left, top, right, bottom, in edges of pixels
options = {"threshold": 0.9, "overlap": 0.2, "step": step}
found = inspect.find(network, astronaut, run.scaling, **options)
plots.found_boxes(astronaut, found, true, title=f"{len(found.boxes)} boxes before votes")

# %% [markdown]
# A face is seen by many windows: moved a little, or at the next size. A false alarm often is not. With `votes`, a box counts only if so many windows above the threshold overlap it.

# %%
voted = inspect.find(network, astronaut, run.scaling, votes=8, **options)
print("scores", voted.scores.round(3))
if len(voted.boxes):
    print("overlap with the true face", np.asarray(ops.box_iou(voted.boxes, true.astype(np.float32)))[:, 0].round(2))
plots.found_boxes(astronaut, voted, true, title=f"{len(voted.boxes)} boxes with 8 votes or more")

# %% [markdown]
# ## False alarms
#
# A detector that finds the face in one photograph proves little. These photographs have no human face, and no window of them was used in training:

# %%
print(f"{'':10}{'before':>10}{'after':>10}{'votes':>10}")
for name in ("coffee", "rocket", "chelsea"):
    picture = photograph(name)
    first = inspect.find(before[0], picture, before[1], **options)
    then = inspect.find(network, picture, run.scaling, **options)
    last = inspect.find(network, picture, run.scaling, votes=8, **options)
    print(f"{name:10}", *(f"{len(each.boxes):9}" for each in (first, then, last)))

# %% [markdown]
# *Question: you could raise `threshold` and `votes` until no false alarm is left in these four photographs. Why would that prove nothing?*
#
# <details><summary>Answer</summary>The values would be fitted to these photographs. In others the detector may raise alarms again, or miss faces. Choose such values on photographs that are not in the test; average precision (`inspect.average_precision`) avoids the choice, because it takes all thresholds into account.</details>
#
# ## Where next
#
# The guide [Detection](https://github.com/jaxcnn/jaxcnn/blob/main/docs/guides/detection.md) has several classes, average precision and losses of boxes. `python -m experiments.face_detection` repeats this notebook with several seeds, and counts. What comes after detection, to tell whose face it is, is a classification again: [6. Transfer learning](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/06_transfer_learning.ipynb). To read: Rowley, Baluja & Kanade (1998), *Neural network-based face detection*; Sermanet et al. (2014), *OverFeat*; Long, Shelhamer & Darrell (2015), *Fully convolutional networks*.
