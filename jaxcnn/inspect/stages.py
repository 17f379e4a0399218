"""A network's activations, first kernel and receptive fields, by stage."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry, layers, models
from jaxcnn.inspect.functions import Model, Program, evaluating, names_stages, program_of, with_names
from jaxcnn.inspect.scores import taken_apart


def activations(model: Model, images: ArrayLike) -> dict[str, np.ndarray]:
    """Computes the activations of every stage, in evaluation mode.

    The stages of a function, or of a module that does not name them, are values inside it. Their names are those of
    `jax.ad_checkpoint.checkpoint_name(x, "edges")` and of `jax.named_scope("edges")`, with the scopes around it, as
    `"block/edges"`; the value of a scope is the last value that leaves it. Linen, Haiku, Keras and Equinox name the
    scopes of their layers. A repeated name becomes `"edges:1"`. Every convolution, pool and ReLU also has a numbered
    name: `"conv_2"`, `"max_pool_0"`, `"sum_pool_0"`, `"relu_1"`. Values inside loops and branches have no names.

    Args:
      model: a network, or any function of images; it stays unchanged.
      images: scaled inputs of the network, `(N, *input_shape)` or in the layout of the function.

    Returns:
      The activations by stage, in the order of the call.

    Raises:
      ValueError: if the network refuses the images.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxcnn import inspect
      >>> def network(images):
      ...   with jax.named_scope("edges"):
      ...     maps = jax.nn.relu(jax.lax.conv(images, jnp.ones((4, 3, 3, 3)), (1, 1), "VALID"))
      ...   return maps.mean((2, 3))
      >>> list(inspect.activations(network, jnp.ones((2, 3, 8, 8))))
      ['conv_0', 'relu_0', 'edges']
    """
    if not names_stages(model):
        program, state = program_of(with_names(model), jnp.asarray(images))
        values = _all_stages(program, state, jnp.asarray(images))
        return {name: np.asarray(array, np.float32) for name, array in zip(program.stages, values, strict=True)}
    module: Any = model
    graph, state = nnx.split(evaluating(module))
    names: list[str] = []  # in the order of the call, which JAX's own dictionaries do not keep

    @jax.jit
    def run(state: Any, images: jax.Array) -> list[jax.Array]:
        _, stages = nnx.merge(graph, state)(images, capture=True)
        names.extend(stages)
        return list(stages.values())

    values = run(state, jnp.asarray(images))
    return {name: np.asarray(array, np.float32) for name, array in zip(names, values, strict=True)}


@partial(jax.jit, static_argnums=0)
def _all_stages(program: Program, state: Any, images: jax.Array) -> list[jax.Array]:
    return program.stages_of(state, images, program.stages)


def first_kernel(model: nnx.Module, input_shape: Sequence[int]) -> np.ndarray | None:
    """Returns the kernel of the first convolution over two axes.

    Args:
      model: the network.
      input_shape: shape of one example.

    Returns:
      `(kh, kw, C, O)`, times its mask if it has one; or None if there is no such convolution.
    """
    kernels = {
        "/".join(map(str, path)): module
        for path, module in nnx.iter_modules(model)
        if isinstance(module, layers.Conv | nnx.Conv) and len(module.kernel_size) == 2
    }
    if not kernels:
        return None
    rows = models.summary(model, (1, *input_shape)).rows  # in the order of the call, which attributes are not in
    first = next((kernels[row.name] for row in rows if row.name in kernels), None)
    if first is None:
        return None
    kernel = np.asarray(first.kernel[...], np.float32)
    return kernel if first.mask is None else kernel * np.asarray(first.mask[...], np.float32)


class _End(nnx.Module):
    """Returns its input.

    It marks the end of a stage in `models.summary`.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class _Marked(nnx.Module):
    """A network with a mark at the end of every stage."""

    def __init__(self, model: Any, names: Sequence[str]):
        self.model = model
        self.ends = nnx.List([_End() for _ in names])
        self.input_dtype = getattr(model, "input_dtype", jnp.float32)

    def __call__(self, images: jax.Array) -> list[jax.Array]:
        _, stages = self.model(images, capture=True)
        return [end(stage) for end, stage in zip(self.ends, stages.values(), strict=True)]


def receptive_fields(model: nnx.Module, input_shape: Sequence[int]) -> dict[str, geometry.ReceptiveField]:
    """Computes the receptive field of one unit of each stage.

    The windows of the layers give it.

    Args:
      model: a network that names its stages.
      input_shape: shape of one example, `(*spatial, C)`.

    Returns:
      The fields by stage, without stages that have no spatial axes.
    """
    if not names_stages(model):
        return {}
    copy: Any = evaluating(model)
    dtype = getattr(model, "input_dtype", jnp.float32)
    shape = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    names: list[str] = []  # in the order of the call, which JAX's own dictionaries do not keep
    jax.eval_shape(lambda images: names.extend(copy(images, capture=True)[1]), shape)
    rows = models.summary(_Marked(copy, names), (1, *input_shape)).rows
    ends = [row for row in rows if row.kind == _End.__name__]
    return {name: row.field for name, row in zip(names, ends, strict=True) if row.field is not None}


class EffectiveField(NamedTuple):
    """The measured dependence of a stage's middle unit on the input.

    It is given for each cell of the input.

    Args:
      strength: `(H, W)`, the mean magnitude of its gradient; the largest is 1.
      center: center of the unit's receptive field, in input cells.
      field: the receptive field of the stage.
    """

    strength: np.ndarray
    center: tuple[float, ...]
    field: geometry.ReceptiveField

    @property
    def width(self) -> float:
        """The side of the effective field as a square.

        The square has the area of the cells above 4.55 % of the largest strength.

        Source: Luo et al. 2016, section 4.
        """
        return float(np.sqrt((self.strength > 1 - 0.9545).sum()))


def effective_fields(
    model: nnx.Module,
    input_shape: Sequence[int],
    stages: Sequence[str] | None = None,
    *,
    trials: int = 16,
    seed: int = 0,
) -> dict[str, EffectiveField]:
    """Measures the part of its receptive field that a unit reads.

    It is the part on which the middle unit of a stage really depends. The gradient of the unit's sum over channels is
    computed for inputs of noise; its magnitude is averaged over trials.

    Args:
      model: a network that names its stages.
      input_shape: shape of one example, `(H, W, C)`.
      stages: names of the stages; by default all with spatial axes.
      trials: number of random inputs.
      seed: seed of the noise.

    Returns:
      The effective fields by stage.

    Source: Luo, Li, Urtasun & Zemel 2016.
    """
    fields = receptive_fields(model, input_shape) if len(input_shape) == 3 else {}
    chosen = [name for name in fields if stages is None or name in stages]
    if not chosen:
        return {}
    copy = evaluating(model)
    graph, state = nnx.split(copy)
    random = np.random.default_rng(seed).standard_normal((trials, *input_shape))
    noise = jnp.asarray(random, getattr(model, "input_dtype", jnp.float32))

    @jax.jit
    def gradients(state: Any, noise: jax.Array) -> jax.Array:
        def units(noise: jax.Array) -> list[jax.Array]:
            captured: Any = nnx.merge(graph, state)(noise, capture=True)[1]
            return [captured[name][:, *_middle(captured[name].shape)].sum() for name in chosen]

        values, pull = jax.vjp(units, noise)
        one_hot = list(jnp.eye(len(chosen), dtype=values[0].dtype))  # a row for each stage, and compiled once for all
        (gradient,) = jax.vmap(pull)(one_hot)
        return jnp.abs(gradient).sum(-1).mean(1)

    shapes = jax.eval_shape(lambda x: copy(x, capture=True)[1], noise)
    measured = {}
    for name, strength in zip(chosen, np.asarray(gradients(state, noise), np.float32), strict=True):
        field = fields[name]
        unit = _middle(shapes[name].shape)
        center = tuple(c + u * j for c, u, j in zip(field.start, unit, field.jump, strict=True))
        measured[name] = EffectiveField(strength / (strength.max() or 1.0), center, field)
    return measured


def _middle(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n // 2 for n in shape[1:-1])


def stages_of(model: Model, inputs: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Finds a network's stages and their shapes, without computing anything.

    The network is taken in evaluation mode.

    Args:
      model: a network, or any function of images, whose stages are named as in `activations`.
      inputs: images, or their type.

    Returns:
      Shape and dtype of each stage, by name.

    Raises:
      ValueError: if the network refuses the inputs, or a function does not return logits.
    """
    if not names_stages(model):
        program, _ = program_of(with_names(model), inputs)
        return {name: jax.ShapeDtypeStruct(stage.shape, stage.dtype) for name, stage in program.stages.items()}
    graph, state = taken_apart(model)
    leaves, tree = jax.tree.flatten((state, jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)))
    return dict(_traced(graph, tree, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)))


@lru_cache(maxsize=64)
def _traced(graph: Any, tree: Any, types: tuple[jax.ShapeDtypeStruct, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """The traced stages; cached, since tracing a deep network takes long."""

    def capture(state: Any, inputs: jax.Array) -> list[jax.Array]:
        captured = nnx.merge(graph, state)(inputs, capture=True)[1]
        names.extend(captured)  # a dictionary would come back in the order of its names
        return list(captured.values())

    names: list[str] = []
    shapes = jax.eval_shape(capture, *jax.tree.unflatten(tree, types))
    return dict(zip(names, shapes, strict=True))
