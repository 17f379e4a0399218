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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/09_your_own_rule.ipynb)
#
# # 9. Your own rule
#
# A backward pass need not be the derivative of the forward pass. That sounds like a mistake. But this is how people train networks with *binary* activations, differentiate random samples, and reverse gradients to make two networks compete. Here you write such a rule, **prove** that it does what you meant and that no transformation of JAX breaks it, train with it, and compare: a small research project. About two minutes on a CPU, about two minutes on a T4.

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
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcnn import check, data, layers, ops, training
from jaxcnn.inspect import plots

jax.config.update("jax_num_cpu_devices", 4)  # a CPU poses as four devices, so that spreading a batch is examined too
training.keep_compiled(tempfile.mkdtemp())  # many trainings follow, of few programs
fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works

# %% [markdown]
# ## The question
#
# An activation that is only $+1$ or $-1$ is cheap: it takes one bit, and a multiplication by it is no multiplication. So let
#
# $$y = \operatorname{sign}(x) = \begin{cases} +1 & x \ge 0 \\ -1 & x < 0. \end{cases}$$
#
# Its derivative is 0 wherever it has one. The rule of calculus, $dx = e \cdot 0$, gives every layer below an error of zero. *Can a network with such activations still learn?*
#
# The idea of Hinton, and of Bengio, Léonard and Courville (2013): in the backward pass, **pretend**. Replace the derivative by that of a function $s$ that looks like the step from far away:
#
# $$dx = e \cdot s'(x).$$
#
# | rule | pretends that the step is | $s'(x)$ |
# | --- | --- | --- |
# | zero | what it is | $0$ |
# | straight through | the identity | $1$ |
# | clipped | the identity between -1 and 1, flat beyond | $[\lvert x \rvert \le 1]$ |
# | smooth | $\tanh(\beta x)$ | $\beta\,(1 - \tanh^2 \beta x)$ |
#
# Three of them are known. The fourth is yours.

# %%
x = np.linspace(-3, 3, 601)
pretended = {
    "zero": (np.sign(x), np.zeros_like(x)),
    "straight through": (x, np.ones_like(x)),
    "clipped": (np.clip(x, -1, 1), (abs(x) <= 1).astype(float)),
    "smooth, β = 2": (np.tanh(2 * x), 2 * (1 - np.tanh(2 * x) ** 2)),
}
figure = plots.style.canvas(9, 3.4)
grid = figure.subplots(2, 4, sharex=True, sharey="row")
for (name, (value, slope)), (above, below) in zip(pretended.items(), grid.T, strict=True):
    above.plot(x, np.sign(x), color=plots.style.FAINT, lw=3)
    above.plot(x, value, color=plots.style.ACCENT, lw=1.2)
    below.plot(x, slope, color=plots.style.INK, lw=1.2)
    plots.style.heading(above, name)
    plots.style.plain(above, "", "gray: forward;\ncolored: pretended" if name == "zero" else "")
    plots.style.plain(below, "x", "factor on the error" if name == "zero" else "")
    above.set_ylim(-1.6, 1.6)
figure

# %% [markdown]
# ## The rule
#
# `jax.custom_vjp` takes a function and two more. The first does the forward pass and also returns what the backward pass will need, the **residuals**. The second gets the residuals and the error of the output, and returns the error of each input. $\beta$ is a setting and not an array, hence `nondiff_argnums`.


# %%
def sign(x):
    return jnp.where(x >= 0, 1, -1).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def smooth_sign(x, beta):
    """The sign; backwards, it pretends to be tanh(beta x)."""
    return sign(x)


def smooth_sign_forward(x, beta):
    return sign(x), x


def smooth_sign_backward(beta, x, error):
    t = jnp.tanh(beta * x)
    return (error * beta * (1 - t**2),)


smooth_sign.defvjp(smooth_sign_forward, smooth_sign_backward)
print(jax.vmap(jax.grad(lambda x: smooth_sign(x, 2.0)))(jnp.array([-1.0, 0.0, 1.0])))

# %% [markdown]
# ## The proof that must fail
#
# `check.check_vjp` computes the full matrix of derivatives by finite differences and compares the rule with it. Ours should fail: the kit finds that the backward pass is not the derivative.

# %%
points = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)  # none of them within 0.002 of the step
assert np.abs(points).min() > 0.01

rule = partial(smooth_sign, beta=2.0)
report = check.check_vjp(rule, points, kinds=("differences",), name="smooth_sign")
print(report)
assert not report.passed

# %% [markdown]
# ## The proof that must hold
#
# What do we claim, then? That forward it *is* the sign, backward it *is* the derivative of $\tanh(\beta x)$. One expression that JAX differentiates itself can do both, with `stop_gradient`, which is the identity forward and 0 backward:
#
# $$\underbrace{\tanh(\beta x)}_{\text{has the gradient}} + \operatorname{stop}\big(\underbrace{\operatorname{sign}(x) - \tanh(\beta x)}_{\text{corrects the value}}\big).$$
#
# That is our reference. And because we will really use the rule, everything else is tested too: the value under differentiation, half precision, `jit`, `vmap`, `scan`, `remat`, and the batch spread over devices in five ways.
#
# *Question: why write a rule at all, if the expression with `stop_gradient` does the same?*
#
# <details><summary>Answer</summary>It computes the tanh in the forward pass, where it is not needed, and keeps what its derivative needs. It is not even exactly the sign: tanh + (sign - tanh) is rounded. The rule keeps x alone; it could keep less, see below. And a rule may be something that no expression has as its derivative.</details>


# %%
def by_jax(x, beta):
    pretended = jnp.tanh(beta * x)
    return pretended + jax.lax.stop_gradient(sign(x) - pretended)


kinds = tuple(kind for kind in check.KINDS if kind not in ("differences", "second_order"))
report = check.check_vjp(
    rule, points, reference=partial(by_jax, beta=2.0), batched=(0,), kinds=kinds, name="smooth_sign"
)
print(report)
assert report.passed

# %% [markdown]
# `differences` and `second_order` are left out on purpose: both compare with the derivative of the forward pass, and that is exactly what we do not want. Everything that is claimed is proven.
#
# The other rules, in the same way; `ops.signum(x, rule="straight_through")` of the library is the clipped one, but for the point 0, where its value is 0.


# %%
def make_rule(factor):
    """A sign with a factor on the error as its backward rule."""

    @jax.custom_vjp
    def ruled(x):
        return sign(x)

    ruled.defvjp(lambda x: (sign(x), x), lambda x, error: (error * factor(x).astype(error.dtype),))
    return ruled


rules = {
    "zero": make_rule(jnp.zeros_like),
    "straight through": make_rule(jnp.ones_like),
    "clipped": make_rule(lambda x: jnp.abs(x) <= 1),
    "smooth": rule,
    "tanh, not binary": ops.tanh,
}
library = partial(ops.signum, rule="straight_through")
assert check.check_vjp(rules["clipped"], points, reference=library, kinds=("reference", "value", "dtypes")).passed
print("the clipped rule is the library's")

# %% [markdown]
# ## The experiment
#
# *Hypothesis:* a rule that lets errors pass near the step and stops them far from it learns best; the identity everywhere is too crude, and with zero only the last layer learns. *Proxy:* a small network on the 1,797 digits. So that its convolutions matter, its last layer sees no places, only the means of 32 maps. *Protocol:* only the activation differs; three seeds; 360 digits are kept for the test and looked at once. The last row uses $\tanh$ both ways and is no binary network, but tells what one bit costs.


# %%
class Binary(nnx.Module):
    """Two stages of convolution, batch normalization, activation; the mean over space of the last maps; ten outputs."""

    def __init__(self, activation, rngs):
        self.convs = nnx.List(layers.Conv(i, o, (5, 5), rngs=rngs) for i, o in ((1, 8), (8, 32)))
        self.norms = nnx.List(layers.BatchNorm(o, rngs=rngs) for o in (8, 32))
        self.head = nnx.Linear(32, 10, rngs=rngs)
        self.activation = activation

    def __call__(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = ops.avg_pool(self.activation(norm(conv(x))), 2)
        return self.head(ops.global_avg_pool(x))


def shrunk(part):
    return part._replace(images=part.images[:, 4:24, 4:24])


train, one, two = (shrunk(data.load("digits", split)) for split in ("train", "validation", "test"))
test = one._replace(images=np.concatenate([one.images, two.images]), labels=np.concatenate([one.labels, two.labels]))
config = {"epochs": 1 if fast else 12, "batch_size": 64, "learning_rate": 5e-3}
one_device = training.Layout(devices=jax.devices()[:1])
shown = ("zero", "smooth") if fast else tuple(rules)
results, curves, trained = {}, {}, {}
for name in shown:
    results[name], curves[name] = [], []
    for seed in (0,) if fast else (0, 1, 2):
        network = Binary(rules[name], nnx.Rngs(seed))
        how = training.TrainConfig(seed=seed, **config)
        run = training.fit(network, train, config=how, observer=None, layout=one_device)
        results[name].append(training.evaluate(network, test, run.scaling, layout=one_device).accuracy)
        curves[name].append([row["loss"] for row in run.history])
        trained[name] = network
    print(f"{name:17s} test accuracy", " ".join(f"{value:.1%}" for value in results[name]))

# %%
figure = plots.style.canvas(9, 3.2)
left, right = figure.subplots(1, 2)
for number, (name, found) in enumerate(curves.items()):
    left.plot(
        range(1, len(found[0]) + 1),
        np.mean(found, 0),
        color=plots.style.SERIES[number],
        ls=plots.style.DASHES[number],
        label=name,
    )
plots.style.plain(left, "epoch")
plots.style.heading(left, "training loss (nats), mean over seeds")
left.set_yscale("log")
left.legend(frameon=False, fontsize=8)
for number, name in enumerate(results):
    errors = [100 * (1 - value) for value in results[name]]
    right.plot(errors, [number] * len(errors), "o", ms=5, color=plots.style.SERIES[number], alpha=0.7)
right.set_yticks(range(len(results)), list(results))
right.invert_yaxis()
right.set_xlim(left=0)
plots.style.plain(right, "test error, %")
plots.style.heading(right, "each seed")
figure

# %% [markdown]
# With zero, about six digits in ten are right; straight through, seven; clipped and smooth, nine, as many as with $\tanh$. The hypothesis holds: it is not enough that errors pass, they must pass where a small change can change the output. A unit far from the step will not flip, and an error that reaches it all the same pushes it without end.
#
# Between the clipped rule and ours, three seeds show no difference: the points of each lie among those of the other. *That is a result too*, and it should be told like one. And one bit instead of a real number costs no accuracy that an experiment of this size could show.
#
# *Question: with the rule "zero", what exactly can the network still learn? Why is it better than guessing at all?*
#
# <details><summary>Answer</summary>The dense layer at the end, which has no sign above it. It learns to classify from the means of 32 random binary maps, as its convolutions stay what they were at the start. (Their decay apart: AdamW shrinks them a little, which batch normalization undoes.) Random features are far better than guessing. With a last layer that sees every cell of the maps, the difference to the learned ones would nearly vanish on these digits: whoever wants to see whether a rule works must ask a question that random features cannot answer.</details>
#
# ## What it sees, in one bit
#
# The maps after the first sign, for one digit: white is $+1$, black is $-1$. Above, the kernels are as they were drawn, since no error ever reached them; below, they have learned, from the same start. They did not become other kernels; their edges moved a little, and that was enough.

# %%
digit = jnp.asarray(run.scaling(test.images[:1]))
maps = []
for name in ("zero", "smooth"):
    network = trained[name]
    seen = sign(network.norms[0](network.convs[0](digit)))[0]
    maps += [test.images[0] / 127.5 - 1, *np.moveaxis(np.asarray(seen), -1, 0)]
plots.style.tiles(
    maps,
    columns=9,
    size=0.85,
    rows=["zero", "smooth"],
    levels=(-1, 1),
    title="a digit, and the eight binary maps of the first layer",
)

# %% [markdown]
# ## Your turn
#
# 1. *Memory.* The backward pass needs one number for each $x$, in full precision. The clipped rule needs one **bit**: return `jnp.abs(x) <= 1` as the residual instead of `x`. Prove it again; nothing else should change.
# 2. *Another shape.* Try $s'(x) = \max(0, 1 - \lvert x \rvert)$, or let $\beta$ grow during training.
# 3. *Weights of one bit.* Use the rule on the kernels instead of the activations: `ops.conv(x, smooth_sign(kernel, 2.0))`.
#
# *Question: in exercise 1, does the rule remain right under `jax.grad(jax.grad(...))`?*
#
# <details><summary>Answer</summary>Differentiating twice means differentiating the backward pass, a function of the residuals and the error. By the residual there is nothing to differentiate any more, it is a bit; and also before, [|x| <= 1] had the derivative 0. For the clipped rule nothing changes. For the smooth rule it would: its factor depends on x, and the second derivative is that of tanh.</details>
#
# ## Where next
#
# Your rule in a network of Equinox, Keras, Haiku or Linen: [10. Your network by hand](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/10_your_network_by_hand.ipynb). `jaxcnn check` proves all rules of the library in the same way; `experiments/` holds one script for each claim of the course, in the form used here: hypothesis, proxy, protocol, expected, result. Write one for your rule. To read: Bengio et al. (2013), *Estimating or propagating gradients through stochastic neurons*; Hubara et al. (2016), *Binarized neural networks*; and again [2. Gradients by hand](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/02_gradients_by_hand.ipynb).
