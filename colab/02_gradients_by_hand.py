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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/02_gradients_by_hand.ipynb)
#
# # 2. Gradients by hand
#
# A network learns by following gradients. JAX can derive them itself; here you derive them with a pencil. After each derivation a call **proves** it: it compares the full matrix of derivatives with finite differences and with JAX's own, and tests the second derivative, `jit`, `vmap` and several devices. At the end you prove a rule of your own. About one minute on a CPU, about one minute on a T4.

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
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import check, ops

jax.config.update("jax_num_cpu_devices", 4)  # a CPU poses as four devices, so that spreading a batch is examined too
random = np.random.default_rng(0)


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


# %% [markdown]
# ## What a rule is
#
# A network is a chain $x \to y = f(x) \to \dots \to L$. Backpropagation hands the op $f$ the **error** $e = \partial L/\partial y$ of its output, and asks for the error of its input:
#
# $$\frac{\partial L}{\partial x_q} = \sum_j e_j \, \frac{\partial y_j}{\partial x_q}.$$
#
# A rule only has to compute this sum over the column $q$ of the Jacobian. It never builds the Jacobian itself; only a proof does.
#
# ## ReLU
#
# $y = \max(x, 0)$. Each output reads one input, with slope 1 above zero and 0 below: $dx = e \cdot [x > 0]$. At zero itself there is a kink; the convention is slope 0.

# %%
x = np.array([-2.0, -0.5, 0.5, 3.0], np.float32)
print(check.check_vjp(ops.relu, x, reference=partial(ops.relu, rule="autodiff")))

# %% [markdown]
# The left column names what was proven. The kit cannot see kinks: give it a point where the function is differentiable, more than 0.002 away from any kink.
#
# ## Convolution
#
# In one axis, with one channel, stride 1 and no padding (what frameworks call convolution is, strictly, correlation):
#
# $$y_j = \sum_t x_{j+t} \, w_t.$$
#
# **Toward the input.** Which outputs read $x_q$? Those with $j + t = q$, each through the tap $t = q - j$:
#
# $$dx_q = \sum_t e_{q-t} \, w_t.$$
#
# The index runs the other way: it is the same operation on the errors *with the kernel flipped*, on a border of $k - 1$ zeros.
#
# **Toward the kernel.** Every output reads $w_t$, so $dw_t = \sum_j x_{j+t} \, e_j$: the correlation of the input with the errors.

# %%
x, w, e = normal(8), normal(3), normal(6)

y, pull_back = jax.vjp(lambda x, w: ops.conv(x[None, :, None], w[:, None, None], padding="VALID")[0, :, 0], x, w)
dx, dw = pull_back(e)

np.testing.assert_allclose(dx, np.correlate(e, w[::-1], "full"), rtol=1e-5, atol=1e-6)
np.testing.assert_allclose(dw, np.correlate(x, e, "valid"), rtol=1e-5, atol=1e-6)
print("two convolutions make the gradient")

# %% [markdown]
# The same as a matrix: the convolution is $y = Wx$ with the kernel on the diagonals, and the rule multiplies by $W^\top$. This is the Jacobian that the kit looks at, cell by cell.

# %%
import matplotlib.pyplot as plt

W = jax.jacobian(lambda x: ops.conv(x[None, :, None], w[:, None, None], padding="VALID")[0, :, 0])(x)
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
reach = float(np.abs(W).max())
for axis, matrix, title in zip(axes, (W, W.T), ("forward: W", "backward: W transposed"), strict=True):
    axis.imshow(matrix, cmap="RdBu_r", vmin=-reach, vmax=reach)
    axis.set_title(title)
    axis.set_xlabel("reads")
    axis.set_ylabel("writes")

# %% [markdown]
# **Strides, padding, dilation, groups.** A stride of $s$ means that the errors stand $s$ cells apart: the errors are dilated. Padding at the front of the input becomes $k - 1 - p$ of padding at the front of the errors. Where the last windows do not reach the end of the input, the trailing cells get zero. The whole derivation is above the rule in `jaxcnn/ops/conv/rule.py`.
#
# *Question: the input has 8 cells, the kernel 3, the stride 2. How many outputs are there, and which cells get no gradient?*
#
# <details><summary>Answer</summary>floor((8 - 3) / 2) + 1 = 3 outputs, at 0, 2, 4; the last reads cells 4 to 6. Cell 7 is read by none: its gradient is 0.</details>
#
# The convolution is linear in $x$ and linear in $w$, which gives one more proof, the *adjoint identity*: $\langle y, e \rangle = \langle x, dx \rangle = \langle w, dw \rangle$.

# %%
conv = partial(ops.conv, strides=2, padding=((0, 1), (2, 0)), feature_group_count=2)
reference = partial(conv, rule="autodiff")
check.assert_vjp(conv, normal(4, 5, 4, 2), normal(3, 2, 1, 4), reference=reference, multilinear=(0, 1), batched=(0,))
print("proven")

# %% [markdown]
# ## Max-pooling
#
# $y_j = \max_{q \in \text{window } j} x_q$. If the largest cell (the winner) grows a little, the output grows as much; if another cell grows a little, nothing happens. So the winner gets all of the error and the others get none. An input may win in several windows; then its errors add up. Of equal values the first, in row-major order, wins.

# %%
x = jnp.array([[1.0, 3.0, 2.0, 2.0], [0.0, 1.0, 2.0, 5.0]])
y, pull_back = jax.vjp(lambda x: ops.max_pool(x[None, ..., None], (2, 2), strides=1)[0, ..., 0], x)
print("pooled\n", y, "\nrouted back\n", pull_back(jnp.array([[10.0, 20.0, 30.0]]))[0])

# %%
distinct = (random.permutation(4 * 6 * 5 * 2).reshape(4, 6, 5, 2) * 0.1).astype(np.float32)  # no ties: no kinks
pool = partial(ops.max_pool, window_shape=3, strides=2, padding="SAME")
check.assert_vjp(pool, distinct, reference=partial(pool, rule="autodiff"), batched=(0,))
print("proven")

# %% [markdown]
# ## Softmax and cross-entropy
#
# With $p = \operatorname{softmax}(z)$ and the true class $c$, the loss is $L = -\log p_c = \log\sum_k e^{z_k} - z_c$. Then
#
# $$\frac{\partial L}{\partial z_k} = \frac{e^{z_k}}{\sum_j e^{z_j}} - [k = c] = p_k - [k = c]:$$
#
# the probability that the network gave, minus the one that it should have given.

# %%
loss, labels = ops.softmax_cross_entropy, np.array([0, 2, 1, 3])
check.assert_vjp(loss, normal(4, 5), labels, reference=partial(loss, rule="autodiff"), batched=(0, 1))
print("proven")

# %% [markdown]
# ## Batch normalization
#
# $\hat x = (x - \mu)/\sigma$ over the batch, $y = \gamma \hat x + \beta$. Moving one $x_i$ also moves $\mu$ and $\sigma$, so every output depends on every input of its channel. With $g = \gamma e$ the terms collect to
#
# $$dx = \frac{1}{\sigma}\Big(g - \operatorname{mean}(g) - \hat x \operatorname{mean}(g \hat x)\Big), \qquad d\gamma = \sum e\,\hat x, \qquad d\beta = \sum e.$$
#
# So the error loses its mean and its part along $\hat x$: these are the two directions in which the output cannot change.

# %%
norm = ops.batch_norm
check.assert_vjp(norm, normal(8, 3), normal(3), normal(3), reference=partial(norm, rule="autodiff"))
print("proven")

# %% [markdown]
# ## Your own rule
#
# Swish is $y = x\,s(x)$ with the logistic function $s$. Here is a first attempt at its rule, which forgets that $s$ depends on $x$ too.


# %%
@jax.custom_vjp
def swish(x):
    return x * jax.nn.sigmoid(x)


swish.defvjp(lambda x: (swish(x), x), lambda x, e: (e * jax.nn.sigmoid(x),))

report = check.check_vjp(swish, normal(4), reference=jax.nn.swish, kinds=("differences", "reference", "value"))
print(report)
assert not report.passed

# %% [markdown]
# The message shows the place, what your rule gives there, and what is right. The product rule says $y' = s + x\,s(1 - s) = s + y(1 - s)$.
#
# *Question: which arrays must the forward keep for this rule? Could it keep one only?*
#
# <details><summary>Answer</summary>x alone is enough: s and y follow from it, at the price of computing s again. Keeping less is often faster, because memory is slower than arithmetic.</details>


# %%
def swish_back(x, e):
    s = jax.nn.sigmoid(x)
    return (e * (s + x * s * (1 - s)),)


swish.defvjp(lambda x: (swish(x), x), swish_back)
check.assert_vjp(swish, normal(4, 3), reference=jax.nn.swish, batched=(0,))
print("proven")

# %% [markdown]
# You can give the kit any `jax.custom_vjp` function; on the command line `jaxcnn check` runs it on every op of the library.
#
# ## Where next
#
# Gradients by the picture instead of the weights: [3. What a CNN sees](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/03_what_a_cnn_sees.ipynb). A rule that is *not* the derivative, on purpose, proven and trained with: [9. Your own rule](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/09_your_own_rule.ipynb).
