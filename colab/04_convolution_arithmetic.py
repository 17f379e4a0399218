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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/04_convolution_arithmetic.ipynb)
#
# # 4. Convolution arithmetic
#
# How large is the output? Which cells does it read? How many weights does it have, and how many multiplications does it cost? Everything about a convolution follows from one sum and one formula. Here you see both, with the numbers in the cells and then on a photograph. About one minute on a CPU, about one minute on a T4; nothing is trained.

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
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_sample_image

from jaxcnn import geometry, inspect, models, ops
from jaxcnn.inspect import plots

# %% [markdown]
# ## One sum
#
# A kernel $w$ of $k \times k$ weights lies on the input $x$. Each weight is multiplied by the cell below it, and the products are added. Then the kernel moves on:
#
# $$y_{ij} = \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} x_{i+u,\,j+v} \; w_{uv}.$$
#
# It is the *same* kernel in every place, so it finds its pattern anywhere: that is why a network needs so few weights, and why a shifted picture gives shifted maps. Here the kernel looks for bright cells on the right and dark ones on the left: a vertical edge.

# %%
x = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]])
w = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])

plots.sliding_steps(inspect.slide(x, w), [0, 1, 8])

# %% [markdown]
# All nine places, one after the other:

# %%
plots.sliding_animation(inspect.slide(x, w))

# %% [markdown]
# ## Padding
#
# An input of 25 cells has only nine places for the kernel: the output is smaller by $k - 1$ in each axis. After twenty such layers nothing would be left. Also, a cell in the corner is read once, and one in the middle nine times. So the input gets a border of zeros, $p$ cells on each side, or $p_\text{low}$ in front and $p_\text{high}$ behind:
#
# $$\text{output} = n + p_\text{low} + p_\text{high} - k + 1.$$
#
# `"VALID"` means no border. `"SAME"` means as much as keeps the size; with $k = 3$ that is 1 on each side.

# %%
plots.sliding_steps(inspect.slide(x, w, padding="SAME"), [0, 14])

# %% [markdown]
# The border has an effect. In the last column the kernel gives -2 and -3, strong edges from bright to dark; but there the picture only ends. So every network computes something different along the border.
#
# *Question: how much padding keeps the size with a kernel of 4? Where does it go?*
#
# <details><summary>Answer</summary>k - 1 = 3 cells in all, an odd number: one side gets 1, the other 2. "SAME" puts the extra cell behind, as TensorFlow and JAX do; "LECTURE" puts it in front. Two frameworks that differ in this give outputs that are shifted by a cell, and weights that fit one do not quite fit the other. With an odd kernel this question does not arise.</details>

# %%
for name in ("VALID", "SAME", "LECTURE"):
    ((low, high),) = geometry.resolve_padding(name, (8,), (4,))
    print(f"{name:8s} {low} in front, {high} behind, output {geometry.output_shape((8,), (4,), padding=name)[0]}")

# %% [markdown]
# ## Stride
#
# The window can take larger steps. With a stride of $s$ it stands only at every $s$-th place. If the last step does not fit, no window reads the cells that are left.
#
# $$\text{output} = \left\lfloor \frac{n + p_\text{low} + p_\text{high} - k}{s} \right\rfloor + 1$$

# %%
plots.sliding_steps(inspect.slide(x, w, strides=2, padding=1), [0, 1, 8])

# %% [markdown]
# ## Dilation
#
# To see more of the input without more weights, the taps of the kernel can be spread: with a dilation of $d$ they stand $d$ cells apart, and the kernel reaches over $(k - 1)\,d + 1$ cells. Replace $k$ by this, and the formula is complete:
#
# $$\text{output} = \left\lfloor \frac{n + p_\text{low} + p_\text{high} - (k - 1)\,d - 1}{s} \right\rfloor + 1$$

# %%
wide = np.arange(49).reshape(7, 7) % 5
plots.sliding_steps(inspect.slide(wide, w, kernel_dilation=2), [0, 4])

# %% [markdown]
# This one formula covers all cases. Here it is compared with the shapes that JAX itself finds, for more than a hundred combinations.

# %%
tried = 0
for n, k, s, p, d in itertools.product((5, 8, 28), (1, 2, 3, 5), (1, 2, 3), (0, 1), (1, 2)):
    reach = (k - 1) * d + 1
    if n + 2 * p < reach:
        continue  # the window does not fit
    size = (n + 2 * p - reach) // s + 1
    x_shape, w_shape = jax.ShapeDtypeStruct((1, n, 1), jnp.float32), jax.ShapeDtypeStruct((k, 1, 1), jnp.float32)
    by_jax = jax.eval_shape(
        lambda x, w, s=s, p=p, d=d: jax.lax.conv_general_dilated(
            x, w, (s,), [(p, p)], rhs_dilation=(d,), dimension_numbers=("NWC", "WIO", "NWC")
        ),
        x_shape,
        w_shape,
    )
    assert by_jax.shape[1] == size == geometry.output_shape((n,), (k,), strides=s, padding=p, window_dilation=d)[0]
    tried += 1
print("the formula is right in", tried, "cases of", tried)

# %% [markdown]
# *Question: a picture of 224x224, a kernel of 7x7, stride 2, padding 3, as in the first layer of a ResNet. How large is the output? Are there cells that no window reads?*
#
# <details><summary>Answer</summary>floor((224 + 6 - 7) / 2) + 1 = floor(111.5) + 1 = 112. The half says that something is left over: one row and one column. They lie in the padding, so nothing of the picture is lost.</details>
#
# ## Channels
#
# A color picture has three values in each cell, and a layer inside a network has dozens of **maps**. A kernel then has its own weights for each input map; it multiplies and adds over these too. $O$ kernels make $O$ output maps:
#
# $$y_{ijo} = b_o + \sum_{u,v} \sum_{c=1}^{C} x_{i+u,\,j+v,\,c} \; w_{uvco}.$$
#
# | | |
# | --- | --- |
# | input | `(N, H, W, C)`: examples, rows, columns, channels |
# | kernel | `(k, k, C, O)` |
# | output | `(N, H', W', O)` |
# | weights | $k^2\,C\,O$, and $O$ biases; the size of the picture does not matter |
# | multiplications | $H' W' \cdot k^2\,C\,O$: each weight is used once in every place |
#
# Below, one kernel of 5x5x3 blurs the red, subtracts the blue, and leaves the green: *how much redder than blue is it here?* The channels meet in the sum, and only one map comes out.

# %%
flower = load_sample_image("flower.jpg")[60:360:2, 150:550:2] / np.float32(
    255
)  # a photograph that comes with scikit-learn
kernel = np.zeros((5, 5, 3, 1), np.float32)
kernel[:, :, 0, 0], kernel[:, :, 2, 0] = 1 / 25, -1 / 25
redder = ops.conv(flower[None], kernel)[0, ..., 0]

figure = plots.style.canvas(9, 1.6)
for axes, image, title in zip(
    figure.subplots(1, 5),
    (flower, *np.moveaxis(flower, -1, 0), redder),
    ("picture", "red", "green", "blue", "sum: redder than blue"),
    strict=True,
):
    plots.style.show(axes, image, signed=title.startswith("sum"), levels=None if title.startswith("sum") else (0, 1))
    plots.style.heading(axes, title)
figure

# %%
print("kernel", kernel.shape, "has", kernel.size, "weights; multiplications:", f"{redder.size * kernel.size:,}")

# %% [markdown]
# The same arithmetic, for a whole network. `sees` is the **receptive field**, the square of input cells that one unit depends on. Each layer adds $k - 1$ steps, and the length of a step is the product of all strides below it: $r_l = r_{l-1} + (k_l - 1) \prod_{i<l} s_i$.

# %%
lenet = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
models.summary(lenet, (1, 28, 28, 1))

# %% [markdown]
# *Question: two convolutions of 3x3, one after the other, see as much as one of 5x5. With C channels everywhere: which has fewer weights? What else is different?*
#
# <details><summary>Answer</summary>2 x 9 C² = 18 C² against 25 C². And between the two there is room for one more activation function, so that the pair can compute what the single one cannot. This is the idea of VGG (2014).</details>
#
# ## Filters
#
# Before networks learned kernels, people designed them. A **blur** takes the mean of neighboring cells; its weights sum to 1, so that brightness stays. An **edge** filter takes a difference; its weights sum to 0, so that plain areas vanish. **Sharpening** is the picture plus its edges. A network's first layer finds filters like these by itself.

# %%
photograph = inspect.sample_picture("china")
plots.filtered_pictures(inspect.apply_filters(photograph))

# %% [markdown]
# The color shows the sign: an edge from dark to light and one from light to dark are not the same thing.
#
# *Question: the filter "Sobel, right" is the product of a column $(1, 2, 1)$ and a row $(-1, 0, 1)$. What does each of the two do? How many multiplications does it save to apply them one after the other?*
#
# <details><summary>Answer</summary>The row takes the difference of the right and the left neighbor: an edge. The column adds up three rows, the middle one twice: a small blur, against noise. 3 + 3 instead of 9 in each place; for a k x k filter 2k instead of k². Filters that are such products are called separable.</details>

# %%
column, row = np.array([[1.0], [2.0], [1.0]]), np.array([[-1.0, 0.0, 1.0]])
print(column @ row)
once = inspect.apply_filters(photograph, {"both": column @ row})[0].result
twice = inspect.apply_filters(inspect.apply_filters(photograph, {"row": row})[0].result, {"column": column})[0].result
print("largest difference:", float(np.abs(once - twice).max()))

# %% [markdown]
# ## Convolution or correlation?
#
# Mathematicians define the convolution with the kernel running *backwards*, $y_i = \sum_u x_{i-u}\,w_u$. What networks compute, and everything above, is strictly a **correlation**. For a kernel that is learned the difference does not matter: training would simply find the flipped one. A single bright cell shows it: the convolution puts the kernel there as it is, the correlation puts it there turned by 180 degrees.

# %%
plots.correlation_and_convolution(photograph[60:260, 200:400], np.array([[0, 0, 0], [-1, 0, 1], [-2, 0, 2]]))

# %% [markdown]
# Why flip it at all? Because then the order does not matter: blurring and then sharpening is the same as sharpening and then blurring, and both are one filter, the convolution of the two kernels. Correlations do not have this law. `flip_kernel` switches between the two, and you will meet the flipped kernel again in each backward pass.

# %%
a, b = np.array([[1.0, 2.0, 0.0]], np.float32), np.array([[0.0, 1.0, 3.0]], np.float32)


def both_ways(flip):
    full = {"padding": ((0, 0), (2, 2)), "flip_kernel": flip}
    return [ops.conv(p[None, ..., None], q[..., None, None], **full)[0, 0, :, 0] for p, q in ((a, b), (b, a))]


print("correlation:", *both_ways(False))
print("convolution:", *both_ways(True))

# %% [markdown]
# ## The matrix
#
# Every output is a weighted sum of inputs, so the whole layer is one matrix: $y = Wx$. Each row is one place of the window. A fully connected layer would have a free number in every cell of $W$; here many are zero (a unit sees only its neighborhood), and the others repeat (the same kernel in every place). That is the whole difference between the two kinds of layer.
#
# Going back, the errors $g$ of the output are carried to the input by the transpose, $W^\top g$: each weight that carried a value forward carries the error back. The last line shows **im2col**, how many libraries compute it: every window is copied into a row, and one product of matrices does the rest.

# %%
small = np.array([[1, 2, 0, 1], [0, 1, 3, 1], [2, 0, 1, 0], [1, 1, 0, 2]])
plots.convolution_as_matrix(small, np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]), [[1, 0], [0, 2]], padding="VALID")

# %% [markdown]
# One builds $W$ only to look at it or to check something. Here is a check: $W$ of a convolution with stride, padding and dilation, compared with the op and with its gradient.

# %%
random = np.random.default_rng(0)
kernel = random.normal(size=(3, 2, 2, 4)).astype(np.float32)
image = random.normal(size=(9, 8, 2)).astype(np.float32)
options = {"strides": (2, 1), "padding": ((1, 0), (2, 1)), "kernel_dilation": (1, 2)}

W = inspect.convolution_matrix(kernel, image.shape, **options)
y, pull_back = jax.vjp(lambda x: ops.conv(x[None], kernel, **options)[0], image)
g = random.normal(size=y.shape).astype(np.float32)
share = W.nnz / np.prod(W.shape)
print(f"W is {W.shape[0]}x{W.shape[1]}; {share:.1%} of it is not empty; {kernel.size} different weights")
np.testing.assert_allclose(W @ image.ravel(), y.ravel(), rtol=1e-4, atol=1e-5)
np.testing.assert_allclose(W.T @ g.ravel(), pull_back(g)[0].ravel(), rtol=1e-4, atol=1e-5)
print("forward is W, backward is its transpose")

# %% [markdown]
# The transpose can also be used as a layer of its own, to make a map *larger*: the **transposed convolution**. It spreads the input apart and slides the kernel over it.

# %%
plots.sliding_steps(inspect.slide(np.array([[1, 2], [3, 4]]), np.ones((3, 3)), strides=2, transposed=True), [0, 12, 24])

# %% [markdown]
# *Question: kernel 3, stride 2: the cells of the output above are sums of one, two or four terms, in a pattern like a chessboard. What does that do to pictures that a network makes? With which kernel size does it not happen?*
#
# <details><summary>Answer</summary>Pictures made this way often carry a chessboard pattern (Odena et al. 2016). If the stride divides the kernel size, as with 4 and 2, every cell is a sum of equally many terms.</details>
#
# ## Where next
#
# Why the flipped kernel comes back in the gradient is derived in [2. Gradients by hand](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/02_gradients_by_hand.ipynb); what happens when dozens of such layers are stacked, in [5. From plain to residual](https://colab.research.google.com/github/jaxcnn/jaxcnn/blob/main/colab/05_from_plain_to_residual.ipynb). The arithmetic of this page is `jaxcnn.geometry`; Dumoulin & Visin (2016), *A guide to convolution arithmetic for deep learning*, has all of its cases.
