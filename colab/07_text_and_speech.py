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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/07_text_and_speech.ipynb)
#
# # 7. Text and speech
#
# Convolution was used on speech before it was used on pictures, and it reads sentences too. It only needs an axis along which neighbors belong together: the rows and columns of a picture, the **words** of a sentence, the **time** of a sound. On this page one network classifies sentences and another recognizes sounds. About three minutes on a CPU, about two minutes on a T4.

# %%
# Installs what is missing. The jax that is here stays as it is.
import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

packages = ["jaxcnn", "librosa"]
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
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from jaxcnn import data, models, ops, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works

# %% [markdown]
# ## The data
#
# Two real sets are used **if their files are there**, in the folder that `JAXCNN_DATA_DIR` names: `rt-polarity`, 10,662 sentences from film reviews (Pang and Lee 2005), and `fsdd`, 3,000 recordings of spoken digits (the Free Spoken Digit Dataset). Otherwise this page generates its own examples, from a small grammar and from tones. **Generated examples are easy**: they show how the networks work, not how good they are on language or voices. Every result below says which data it is from.


# %%
def real(name):
    """A real data set's splits, or None where its files or libraries are missing."""
    if fast:
        return None
    try:
        return [data.load(name, split) for split in data.splits(name)]
    except (FileNotFoundError, ModuleNotFoundError):
        return None


# %% [markdown]
# ## Sentences
#
# The grammar makes film reviews of two clauses, both of the same opinion: *the plot was not boring and the acting was superb*. A "not" may reverse the meaning of a clause.


# %%
def made_sentences(count, seed):
    """Sentences, and their opinion: 1 if good."""
    random = np.random.default_rng(seed)
    good, bad = ("superb", "moving", "funny", "clever", "great"), ("boring", "dull", "weak", "awful", "clumsy")
    sentences, labels = [], random.integers(0, 2, count)
    for label in labels:
        clauses = []
        for noun in random.choice(["plot", "acting", "music", "ending", "dialogue", "camera"], 2, replace=False):
            turned = random.random() < 0.5
            word = random.choice(good if label != turned else bad)
            verb = random.choice(["was", "is", "seemed"])
            clauses.append(f"the {noun} {verb} {'not ' if turned else random.choice(['', 'very ', 'so '])}{word}")
        sentences.append(random.choice([" and ", ", and ", " while "]).join(clauses))
    return sentences, labels.astype(np.int32)


sets = real("rt-polarity")
text_name = "film reviews" if sets else "MADE sentences"
if sets is None:
    parts = [made_sentences(count, seed) for seed, count in enumerate((300 if fast else 1500, 300, 300))]
    vocabulary = data.make_vocabulary(parts[0][0])
    sets = [
        data.Dataset(data.encode(lines, vocabulary, 16), labels, ("negative", "positive"), "made", split, vocabulary)
        for (lines, labels), split in zip(parts, ("train", "validation", "test"), strict=True)
    ]
train, validation, test = sets


def spelled(row):
    """A row of word numbers as text."""
    return " ".join(train.vocabulary[number] for number in row if number)


print(text_name + ":", len(train.labels), "to learn from, a vocabulary of", len(train.vocabulary), "words")
for row, label in zip(train.images[:4], train.labels[:4], strict=True):
    print(f"  {train.classes[label]}: {spelled(row)}")
    print("   ", row[:14], "...")

# %% [markdown]
# A network cannot read letters. Each word is a number $t_i$, and each number has a **vector** $v(t_i)$, at first a random one, that is learned like any other weight. A sentence of $L$ words becomes an input of shape $(L, d)$: one axis, $d$ channels. A filter of width 3 then looks at three words in a row,
#
# $$a_i = \operatorname{relu}\Big(b + \sum_{u=0}^{2} w_u \cdot v(t_{i+u})\Big), \qquad \hat a = \max_i a_i,$$
#
# and the maximum over all places says *how strongly the phrase that it looks for occurs anywhere in the sentence*. That is Kim's network (2014), `textcnn`: filters of widths 3, 4 and 5, their maxima, one dense layer.
#
# What should we compare it with? With something that cannot see phrases: a **bag of words**, which contains the words that occur but not their order, with a linear classifier on top.
#
# *Question: why can the bag of words not be right on the made sentences with exactly one "not"?*
#
# <details><summary>Answer</summary>"The plot was not boring and the acting was superb" has one good word, one bad word and a "not". "The plot was boring and the acting was not superb" has exactly the same words, and the opposite meaning. Which word stands behind the "not" is all that counts, and a bag has forgotten it.</details>

# %%
count_words = CountVectorizer(binary=True, token_pattern=r"\S+")
bags = [count_words.fit_transform(map(spelled, train.images)), count_words.transform(map(spelled, test.images))]
bag = LogisticRegression(max_iter=1000).fit(bags[0], train.labels).score(bags[1], test.labels)

model = models.create(
    "textcnn",
    num_classes=2,
    in_features=len(train.vocabulary),
    embedding=16 if test.name == "made" else 100,
    features=16 if test.name == "made" else 100,
    rngs=nnx.Rngs(0),
)
config = training.TrainConfig(epochs=6 if fast else 8, batch_size=20 if test.name == "made" else 50, optimizer="adam")
text_run = training.fit(model, train, validation, config, observer=None)
network = training.evaluate(model, test, text_run.scaling).accuracy
print(f"{text_name}: bag of words {bag:.1%}, convolutional network {network:.1%}, of {len(test.labels)} test sentences")
plots.learning_curves(text_run.history)

# %% [markdown]
# On the generated sentences the difference is large, because they were made to show it. On real reviews a count of words is hard to beat: single words decide most of them, and a few thousand sentences are few to learn phrases from. (Kim reports 76.1 % for this network on the whole set, and 79.0 % for naive Bayes over words and pairs of words; `experiments/textcnn_mr.py` repeats both.)
#
# ## What the filters look for
#
# The maximum over time tells not only *how much* but also *where*. For some filters, here are the phrases of the test sentences that excite them most. `weight` is what the filter says about the opinion, above zero for a good one.

# %%
width = 3
filters = model.convs[0]  # those of width 3, with a border of 2 words on each side
vectors = model.trained[...][test.images] * (test.images != 0)[..., None]
answers = np.asarray(ops.relu(filters(jnp.asarray(vectors))))  # (sentences, places, filters)
weights = np.asarray(model.head.kernel[...])[: answers.shape[-1]]
opinion = weights[:, 1] - weights[:, 0]

for number in [*np.argsort(opinion)[:3], *np.argsort(opinion)[-3:]]:
    best, phrases = answers[..., number].max(1), []
    for sentence in np.argsort(-best):
        place = answers[sentence, :, number].argmax() - (width - 1)
        phrase = spelled(test.images[sentence, max(0, place) : place + width])
        if phrase not in phrases:
            phrases.append(phrase)
        if len(phrases) == 4:
            break
    print(f"filter {number:3d}, weight {opinion[number]:+.2f}:", " | ".join(phrases))

# %% [markdown]
# And a sentence of your own. Words that never occurred among the training sentences become `<unknown>`.

# %%
yours = ["the plot was not boring and the acting is superb", "the plot is superb and the acting was not very boring"]
yours += ["the plot was boring and the acting is not superb"]
chances = training.predict(model, data.encode(yours, train.vocabulary, train.images.shape[1]), text_run.scaling)
for sentence, chance in zip(yours, chances, strict=True):
    print(f"{chance[1]:6.1%} positive: {sentence}")

# %% [markdown]
# ## Sounds
#
# A sound is a list of air pressures, here 8,000 in a second: far too many, and the ear does not hear them either. It hears how much of which *pitch* there is at which *time*. So the sound is cut into windows of 25 ms, one every 10 ms; each is taken apart into frequencies by the Fourier transform, and these are gathered in 40 bands that are narrow where the ear is fine, the **mel scale** $m(f) = 2595 \log_{10}(1 + f/700)$. Their energy, in decibels, is a kind of picture with 100 columns, time, and 40 channels.

# %%
RATE, WINDOW, HOP, FFT, BANDS = 8000, 200, 80, 256, 40


def mel_filters():
    """Triangles over the frequencies of the Fourier transform, `(FFT / 2 + 1, BANDS)`."""
    mel = np.linspace(*2595 * np.log10(1 + np.array([60, RATE / 2]) / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(FFT // 2 + 1)[:, None] * RATE / FFT
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(sounds):
    """Sounds `(N, RATE)` as decibels `(N, 100, BANDS)` below the loudest of each."""
    padded = np.pad(sounds, ((0, 0), (WINDOW // 2, WINDOW // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, :RATE:HOP]
    energy = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), FFT)) ** 2 @ mel_filters()
    decibels = 10 * np.log10(energy / energy.max((1, 2), keepdims=True) + 1e-8)
    return decibels.astype(np.float32)


# %% [markdown]
# The made sounds are tunes of two glides out of *up*, *down* and *level*, nine classes, each with overtones and noise, at a random pitch and speed, beginning at a random moment of the first fifth of a second. If the real recordings are there, the classes are the ten digits, by six speakers.

# %%
GLIDES = {"up": 1.5, "down": 1 / 1.5, "level": 1.0}
TUNES = tuple(f"{one}-{two}" for one in GLIDES for two in GLIDES)


def made_sounds(count, seed):
    """Sounds of a second, and the numbers of their tunes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(TUNES), count).astype(np.int32)
    sounds = 0.1 * random.normal(size=(count, RATE))
    for sound, label in zip(sounds, labels, strict=True):
        pitch, glides = random.uniform(250, 500), [GLIDES[name] for name in TUNES[label].split("-")]
        length = random.integers(RATE // 6, RATE // 4)  # of a glide
        one, two = (np.linspace(0, np.log(glide), length) for glide in glides)
        steps = np.concatenate([one, one[-1] + two])
        phase = 2 * np.pi * np.cumsum(pitch * np.exp(steps)) / RATE
        tone = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * np.hanning(len(phase)) ** 0.3
        start = random.integers(0, RATE // 5)
        sound[start : start + len(phase)] += random.uniform(0.5, 1) * tone
    return log_mel(sounds), labels


sets = real("fsdd")
sound_name = "spoken digits" if sets else "MADE tunes"
if sets is None:
    sets = [
        data.Dataset(*made_sounds(count, seed), TUNES, "made", split)
        for seed, (split, count) in enumerate({"train": 200 if fast else 1500, "test": 100 if fast else 300}.items())
    ]
heard, unheard = sets
print(sound_name + ":", len(heard.labels), "to learn from,", len(unheard.labels), "for the test")

chosen = [np.flatnonzero(heard.labels == label)[0] for label in (0, 1, 3, 7)]
figure = plots.style.canvas(9, 2.3, f"{sound_name}: time to the right, pitch upwards, loud is dark")
for axes, place in zip(figure.subplots(1, 4), chosen, strict=True):
    axes.imshow(heard.images[place].T, origin="lower", aspect="auto", cmap="Greys", extent=(0, 1, 0, BANDS))
    plots.style.plain(axes, "seconds", "mel band" if place == chosen[0] else "")
    plots.style.heading(axes, heard.classes[heard.labels[place]])
figure

# %% [markdown]
# ## The time-delay network
#
# In 1989 Waibel and others had a problem: nobody knows *when* in a recording a sound begins. Their answer was the **time-delay neural network**: units that look at a few frames, with the same weights at every time, and at the end a sum over time. This is a convolution in one axis, in the same year as LeCun's in two.
#
# `tdnn_wide` has three layers of width 3 with dilations 1, 2 and 4, so that a unit at the top sees $1 + 2\,(1 + 2 + 4) = 15$ frames, 170 ms, with few weights; then the mean over time. An ordinary network with one hidden layer of as many units is trained beside it.


# %%
class Dense(nnx.Module):
    """One hidden layer on everything at once: every frame has weights of its own."""

    def __init__(self, classes, rngs):
        self.hidden = nnx.Linear(100 * BANDS, 64, rngs=rngs)
        self.head = nnx.Linear(64, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(ops.relu(self.hidden(x.reshape(len(x), -1))))


tdnn = models.create("tdnn_wide", num_classes=len(heard.classes), in_features=BANDS, rngs=nnx.Rngs(0))
dense = Dense(len(heard.classes), nnx.Rngs(0))
config = training.TrainConfig(epochs=2 if fast else 15, batch_size=20 if heard.name == "made" else 64)
for name, network in {"time-delay": tdnn, "dense": dense}.items():
    sound_run = training.fit(network, heard, unheard, config, observer=None)
    weights = sum(part.size for part in jax.tree.leaves(nnx.state(network, nnx.Param)))
    accuracy = training.evaluate(network, unheard, sound_run.scaling).accuracy
    print(f"{sound_name}, {name}: {weights:,} weights, {accuracy:.1%} of the test sounds")

# %% [markdown]
# ## Later
#
# What if the sound comes later? All test sounds are moved by up to 300 ms; the last 300 ms, which are mostly silent, come to the front.

# %%
figure = plots.style.canvas(6, 2.6)
axes = figure.subplots()
delays = range(0, 31, 5)  # in frames of 10 ms
later = np.concatenate([np.roll(unheard.images, delay, axis=1) for delay in delays])
for (name, network), color, line in zip(
    {"time-delay": tdnn, "dense": dense}.items(), (plots.style.INK, plots.style.ACCENT), ("-", "--"), strict=True
):
    answers = training.predict(network, later, sound_run.scaling).argmax(-1).reshape(len(delays), -1)
    right = 100 * (answers == unheard.labels).mean(1)
    axes.plot([10 * delay for delay in delays], right, color=color, ls=line, marker="o", ms=4, label=name)
plots.style.plain(axes, "delay, ms", "test accuracy, %")
plots.style.heading(axes, f"{sound_name}, moved to later")
axes.set_ylim(0, 102)
axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# *Question: the mean over time forgets the order. How can the network tell "up-down" from "down-up"?*
#
# <details><summary>Answer</summary>The order within 15 frames is not forgotten: a unit that sees the moment of the turn knows it. A mean over units that fire at the turn is enough. Two words in a row, each longer than 170 ms, would indeed be mixed up; that takes longer filters, more layers, or a network with a memory.</details>
#
# When does the network hear the sound? Below are a test sound and the activations of the last convolution over time, the units sorted by the moment at which they are strongest. Many of them respond to one moment of the sound, one after the other, and stay near zero where there is only noise.

# %%
place = int(np.flatnonzero(unheard.labels == 1)[0])
_, stages = tdnn(jnp.asarray(sound_run.scaling(unheard.images[[place]])), capture=True)
maps = np.asarray(stages["conv3"][0]).T
maps = maps[maps.max(1) > 0]
figure = plots.style.canvas(9, 2.6)
left, right = figure.subplots(1, 2)
for axes, picture, title in (
    (left, unheard.images[place].T, f"{unheard.classes[unheard.labels[place]]}: mel bands"),
    (right, maps[np.argsort(maps.argmax(1))], "units of the last convolution"),
):
    axes.imshow(picture, origin="lower", aspect="auto", cmap="Greys", extent=(0, 1, 0, len(picture)))
    plots.style.plain(axes, "seconds")
    plots.style.heading(axes, title)
figure

# %% [markdown]
# ## Where next
#
# In full: `jaxcnn train textcnn --data rt-polarity` and `jaxcnn train tdnn_wide --data fsdd`; `experiments/textcnn_mr.py` and `experiments/tdnn_speech.py` measure both, with speakers that were never heard in training, which is much harder. Next, how to divide the work over many devices: [8. Many devices](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/08_many_devices.ipynb). To read: Kim (2014), *Convolutional neural networks for sentence classification*; Waibel et al. (1989), *Phoneme recognition using time-delay neural networks*.
