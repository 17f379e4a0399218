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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/08_many_devices.ipynb)
#
# # 8. Many devices
#
# A network that takes a week on one device takes a day on eight, if the work can be divided. JAX divides it almost without your help: you say where the arrays are, and the compiler finds out which devices must communicate. On this page one machine acts as four devices, so that you can see every step; the same lines run on four GPUs, on a TPU, or over many machines. **It will not get faster here**: the four devices share the cores of one machine. What can be shown is that the results are the same. About two minutes on a CPU, about two minutes on a T4 (by its CPU).

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
# The number of simulated devices must be set before JAX starts, so this cell comes before the first `import jax`. If JAX was imported in this notebook before, restart it. On a machine with several real devices, leave out this cell.

# %%
import os

flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
os.environ["XLA_FLAGS"] = " ".join([*flags, "--xla_force_host_platform_device_count=4"])
os.environ["JAX_PLATFORMS"] = "cpu"

# %%
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from jaxcnn import data, layers, ops, training
from jaxcnn.inspect import plots

fast = bool(os.environ.get("FAST"))  # FAST=1: a short run, to see that everything works
print(jax.device_count(), "devices:", *jax.devices())
assert jax.device_count() > 1, "JAX had started before; restart the notebook"

# %% [markdown]
# ## Why a batch can be divided
#
# The loss of a batch is a mean over its examples, and so is its gradient. Cut the batch of $B$ into $n$ equal parts $P_1, \dots, P_n$, and the mean of the parts' gradients is the gradient of the whole:
#
# $$\nabla L = \frac{1}{B}\sum_{i=1}^{B} \nabla \ell_i = \frac{1}{n}\sum_{d=1}^{n} \underbrace{\frac{n}{B}\sum_{i \in P_d} \nabla \ell_i}_{\text{computed by device } d}.$$
#
# So each device takes a part, computes its gradient with its own copy of the weights, and then all take the mean of what they found, the **all-reduce**. After that every device makes the same step, and the copies stay equal. This is data parallelism. Compute time falls like $1/n$; the all-reduce moves $2\,(n-1)/n$ times the size of the weights over the wire of each device: that size once for two devices, not quite twice for a thousand. So large batches and small networks are the easiest to divide.
#
# *Question: for which layer of a network is this argument wrong, as its output for one example depends on the others?*
#
# <details><summary>Answer</summary>Batch normalization. Mean and variance of a part are not those of the batch; with few examples on each device they are much noisier. One can compute them over all devices, with one more all-reduce in each layer, or accept the difference. jaxcnn computes them over all devices, so the number of devices changes the result only by rounding.</details>
#
# ## Where an array lies
#
# A **mesh** gives the devices names along axes, and a **sharding** says which axis of an array is cut along which axis of the mesh. Nothing else about the array changes: it keeps its whole shape, and every function works on it.

# %%
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
split, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())

random = np.random.default_rng(0)
images = random.normal(size=(32, 16, 16, 3)).astype(np.float32)
kernel = random.normal(size=(3, 3, 3, 8)).astype(np.float32)
images_split, kernel_whole = jax.device_put(images, split), jax.device_put(kernel, whole)

for name, array in {"images": images_split, "kernel": kernel_whole}.items():
    print(name, array.shape, "in pieces of", array.sharding.shard_shape(array.shape))
    for piece in array.addressable_shards:
        print("   ", piece.device, "has", piece.index[0])

# %% [markdown]
# ## The compiler divides the work
#
# A loss, written as for one device. `jax.jit` sees where its arguments are and divides the work accordingly; the hand-written gradient of the convolution is divided like everything else.


# %%
@jax.jit
def step(kernel, images):
    def loss(kernel):
        maps = ops.relu(ops.conv(images, kernel, padding="SAME"))
        return jnp.mean(ops.max_pool(maps, 2) ** 2)

    return jax.value_and_grad(loss)(kernel)


alone = step(kernel, images)
together = step(kernel_whole, images_split)
print("loss on one device", float(alone[0]), "on four", float(together[0]))
print("largest difference of the gradients:", float(jnp.abs(alone[1] - np.asarray(together[1])).max()))
assert np.allclose(alone[1], together[1], rtol=1e-4, atol=1e-6)

# %% [markdown]
# Equal up to rounding: sums of floating-point numbers depend a little on their order. Did the devices really talk? The compiled program says so. These are its collective operations, with the shapes that were sent:

# %%
program = step.lower(kernel_whole, images_split).compile().as_text()
for found in sorted(set(re.findall(r"= (.*?) (all-reduce|all-gather|reduce-scatter|collective-permute)\(", program))):
    print(found[1], "of", re.sub(r"\{[^}]*\}", "", found[0]))

# %% [markdown]
# A number, the loss, and one array of the shape of the kernel, its gradient: exactly the formula above. The images never travel. Nobody wrote this; it follows from where the arguments lie.
#
# *Question: what would have to be sent if, instead of the images, the kernel were cut, each device holding two of the eight outputs?*
#
# <details><summary>Answer</summary>Every device would need all images, and would compute two maps of each. The gradient of its part of the kernel it could compute alone; only the loss would be summed. The next layer, though, reads all eight maps, so that these would have to be gathered. This is how AlexNet was divided over two GPUs in 2012; `--model-devices` does it.</details>
#
# ## By hand
#
# One can also write what *one device* does, and name the communication oneself. `jax.pmap` runs a function on every device, with an axis for the devices in front of the batch; `jax.lax.pmean` is the all-reduce. (`jax.shard_map` is the newer form of the same, for arrays with shardings.)


# %%
def one_device(kernel, images):
    def loss(kernel):
        maps = ops.relu(ops.conv(images, kernel, padding="SAME"))
        return jnp.mean(ops.max_pool(maps, 2) ** 2)

    value, gradient = jax.value_and_grad(loss)(kernel)
    return jax.lax.pmean(value, "data"), jax.lax.pmean(gradient, "data")


mapped = jax.pmap(one_device, "data", in_axes=(None, 0), out_axes=None)
by_hand = mapped(kernel, images.reshape(4, 8, *images.shape[1:]))
print("largest difference to the compiler's division:", float(np.abs(by_hand[1] - np.asarray(together[1])).max()))
assert np.allclose(by_hand[1], together[1], rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## A whole training
#
# `training.fit` takes a `Layout`, which says what each device holds:
#
# | `Layout` | batch | weights | state of the optimizer | who communicates |
# | --- | --- | --- | --- | --- |
# | `"jit"` | cut | whole, on each | whole, on each | the compiler |
# | `"fsdp"` | cut | large ones cut | large ones cut | the compiler |
# | `"pmap"` | cut | whole, on each | whole, on each | written by hand |
#
# `"fsdp"`, *fully sharded data parallel*, is for networks that do not fit on one device. AdamW keeps two more numbers for each weight; all three are cut, and a layer's weights are gathered for the moment in which they are needed.
#
# Here are the same network, the same seed and the same batches on one device and in these three ways. This network has batch normalization in every layer, where mistakes are easy to make.


# %%
class Small(nnx.Module):
    """Three convolutions with batch normalization, the mean over space, ten outputs."""

    def __init__(self, width, rngs):
        widths = (1, width, 2 * width, 4 * width)
        self.units = nnx.List(
            layers.ConvUnit(i, o, 3, 2, rngs=rngs) for i, o in zip(widths[:-1], widths[1:], strict=True)
        )
        self.head = nnx.Linear(widths[-1], 10, rngs=rngs)

    def __call__(self, x):
        for unit in self.units:
            x = unit(x)
        return self.head(ops.global_avg_pool(x))


digits = data.load("digits", "train").take(256 if fast else 1437)
ways = {
    "one device": training.Layout(devices=jax.devices()[:1]),
    "jit": training.Layout("jit"),
    "fsdp": training.Layout("fsdp"),
    "pmap": training.Layout("pmap"),
}
config = training.TrainConfig(epochs=1 if fast else 5, batch_size=64)
trained, losses, seconds = {}, {}, {}
for name, layout in ways.items():
    network = Small(16, nnx.Rngs(0))
    begun = time.perf_counter()
    run = training.fit(network, digits, config=config, layout=layout, observer=None)
    seconds[name] = time.perf_counter() - begun
    trained[name], losses[name] = nnx.state(network), [row["loss"] for row in run.history]
    print(f"{name:11s} {layout!s:28s} losses", *(f"{loss:.6f}" for loss in losses[name]))

# %% [markdown]
# The losses agree to several digits. And the weights, after all these steps? Rounding grows a little with each step, so that the last digits differ:

# %%
reference = jax.tree.leaves(trained["one device"])
for name in ("jit", "fsdp", "pmap"):
    pairs = list(zip(reference, jax.tree.leaves(trained[name]), strict=True))
    largest = max(float(jnp.abs(jnp.asarray(a, jnp.float32) - jnp.asarray(b, jnp.float32)).max()) for a, b in pairs)
    print(f"{name:5s} largest difference of any weight or running statistic: {largest:.1e}")

# %% [markdown]
# ## What each device holds
#
# The same in bytes, for a wider network with six million weights: `Layout.place` puts a state where the layout wants it. Here are the weights and AdamW's two averages.

# %%
params = nnx.state(Small(256, nnx.Rngs(0)), nnx.Param)
state = {"weights": params, "first average": params, "second average": params}
held = {}
for name, layout in ways.items():
    if name == "pmap":
        continue  # as jit
    placed = jax.tree.leaves(layout.place(state))
    held[name] = sum(array.addressable_shards[0].data.nbytes for array in placed) / 2**20

figure = plots.style.canvas(7, 1.9, "weights and optimizer state on each device, MiB")
axes = figure.subplots()
bars = axes.barh(list(held)[::-1], list(held.values())[::-1], color=plots.style.FAINT)
axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8, color=plots.style.INK)
plots.style.plain(axes)
axes.set_xlim(0, 1.12 * max(held.values()))
figure

# %% [markdown]
# And the time?

# %%
for name, value in seconds.items():
    print(f"{name:11s} {value:5.1f} s, compiling included")

# %% [markdown]
# *Question: four devices were not nearly four times as fast as one. Is that an argument against them?*
#
# <details><summary>Answer</summary>No: here the four share the same cores, so they gain nothing, and communication costs extra time. On four real devices the computation takes a quarter of the time. Whether this is worth it depends on the batch on each device: it must be large enough that computing takes longer than sending the gradient.</details>
#
# ## Where next
#
# On the command line: `--parallel jit`, `fsdp` or `pmap`, and `--coordinator` for several machines; a run that was stopped goes on with `--resume` on any number of devices. `experiments/scaling.py` measures it. The next page is for research: [9. Your own rule](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/09_your_own_rule.ipynb). To read: Goyal et al. (2017), *Accurate, large minibatch SGD: training ImageNet in 1 hour*; Rajbhandari et al. (2020), *ZeRO*.
