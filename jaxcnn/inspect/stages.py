"""What a network holds and does, stage by stage."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import geometry, layers, models
from jaxcnn.inspect.functions import Model, Program, evaluating, names_stages, program_of, with_names


def activations(model: Model, images: ArrayLike) -> dict[str, np.ndarray]:
    """What every stage computes for images, in evaluation mode.

    The stages of a function, or of a module that does not name them, are the values inside of it. Their names are those
    that it gives by `jax.ad_checkpoint.checkpoint_name(x, "edges")` and `jax.named_scope("edges")`, with the scopes
    round it, `"block/edges"`; a scope's value is what leaves it last. Linen, Haiku, Keras and Equinox name their
    layers' scopes. A name that comes again is `"edges:1"`. Every convolution, pool and ReLU has its place for a name,
    `"conv_2"`, `"max_pool_0"`, `"sum_pool_0"`, `"relu_1"`. What a loop or branch computes has none.

    Args:
      model: a network, or any function of images; left as it was.
      images: `(N, *input_shape)`, or as the function takes them, scaled.

    Returns:
      By stage, in the order of the call.

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
        found = _all_stages(program, state, jnp.asarray(images))
        return {name: np.asarray(array, np.float32) for name, array in zip(program.stages, found, strict=True)}
    module: Any = model
    graph, state = nnx.split(evaluating(module))
    names: list[str] = []  # in the order of the call, which JAX's own dictionaries do not keep

    @jax.jit
    def run(state: Any, images: jax.Array) -> list[jax.Array]:
        _, stages = nnx.merge(graph, state)(images, capture=True)
        names.extend(stages)
        return list(stages.values())

    found = run(state, jnp.asarray(images))
    return {name: np.asarray(array, np.float32) for name, array in zip(names, found, strict=True)}


@partial(jax.jit, static_argnums=0)
def _all_stages(program: Program, state: Any, images: jax.Array) -> list[jax.Array]:
    return program.stages_of(state, images, program.stages)


def first_kernel(model: nnx.Module, input_shape: Sequence[int]) -> np.ndarray | None:
    """The kernel `(kh, kw, C, O)` of the first convolution over two axes, masked if it is, or None.

    Args:
      model: the network.
      input_shape: that of one example.
    """
    found = {
        ".".join(map(str, path)): module
        for path, module in nnx.iter_modules(model)
        if isinstance(module, layers.Conv | nnx.Conv) and len(module.kernel_size) == 2
    }
    if not found:
        return None
    rows = models.summary(model, (1, *input_shape)).rows  # in the order of the call, which attributes are not in
    first = next((found[row.name] for row in rows if row.name in found), None)
    if first is None:
        return None
    kernel = np.asarray(first.kernel[...], np.float32)
    return kernel if first.mask is None else kernel * np.asarray(first.mask[...], np.float32)


class _End(nnx.Module):
    """Returns what it gets; seen by `models.summary`, it marks where a stage ends."""

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
    """What one unit of each stage sees of the input, by the arithmetic of its windows.

    Args:
      model: a network that names its stages.
      input_shape: that of one example, `(*spatial, C)`.

    Returns:
      By stage; without those for which space is gone.
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
    """How strongly the middle unit of a stage depends on each input cell, and what it could see at most."""

    strength: np.ndarray  # `(H, W)`, the mean magnitude of its gradient; the largest is 1
    center: tuple[float, ...]  # of the unit's receptive field, in input cells
    field: geometry.ReceptiveField

    @property
    def width(self) -> float:
        """The side of a square as large as the cells with over 4.55 % of the largest strength.

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
    """The part of its receptive field that a stage's middle unit really uses, measured by gradients.

    The input is noise, the gradient that of the unit's sum over channels, its magnitude averaged over trials.

    Args:
      model: a network that names its stages.
      input_shape: that of one example, `(H, W, C)`.
      stages: their names; by default all for which space is left.
      trials: number of random inputs.
      seed: of the noise.

    Returns:
      By stage.

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
        (found,) = jax.vmap(pull)(one_hot)
        return jnp.abs(found).sum(-1).mean(1)

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
