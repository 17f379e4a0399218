"""The activations of stages, and a score's gradient by a stage."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend import core
from jax.typing import ArrayLike

from jaxcnn.inspect.functions import Model, Program
from jaxcnn.inspect.scores import Apart, chosen, in_batches, taken_apart
from jaxcnn.inspect.stages import stages_of
from jaxcnn.training.objective import at_least_float32

Shapes = Mapping[str, tuple[int, ...]]


def stage_shapes(model: Model, images: ArrayLike) -> Shapes:
    """Returns the shape of each stage's activations, by name.

    The shapes have the batch, and are in the order of the call.

    Raises:
      ValueError: if the network refuses the images.
    """
    return {name: tuple(stage.shape) for name, stage in stages_of(model, jnp.asarray(images)).items()}


def shapes_of(apart: Apart, model: Model, images: ArrayLike) -> Shapes:
    """Returns the same for a network that is already split.

    A function is not traced again.
    """
    program = apart[0]
    if isinstance(program, Program):
        return {name: stage.shape for name, stage in program.stages.items()}
    return stage_shapes(model, images)


def full_name(shapes: Shapes, at: str) -> str:
    """Completes the name of a stage from its end.

    For instance `conv` becomes `block/conv`, if only one name has this end.
    """
    ends = [name for name in shapes if name.endswith(f"/{at}")]
    return ends[0] if at not in shapes and len(ends) == 1 else at


def expect_stage(shapes: Shapes, at: str) -> tuple[int, ...]:
    """Returns the shape of a stage.

    Raises:
      ValueError: if there is no such stage.
    """
    if at not in shapes:
        raise ValueError(f"`at` must be one of {', '.join(shapes)}; got {at!r}.")
    return shapes[at]


def map_stages(shapes: Shapes, rank: int) -> list[str]:
    """Returns the stages with spatial maps that are not pools.

    The maps have the rank of the images.
    """
    return [name for name, shape in shapes.items() if len(shape) == rank and not name.startswith("pool")]


def last_operation(shapes: Shapes, rank: int) -> str:
    """Returns a function's last convolution or ReLU with spatial maps.

    Raises:
      ValueError: if there is none.
    """
    operations = [name for name in map_stages(shapes, rank) if re.fullmatch(r"(conv|relu)_\d+", name)]
    if not operations or rank < 3:
        raise ValueError(f"`model` must have a stage with maps over space; it has {', '.join(shapes) or 'none'}.")
    return operations[-1]


def last_maps(shapes: Shapes, rank: int) -> str:
    """Returns the last of `map_stages`.

    Raises:
      ValueError: if there is none.
    """
    maps = map_stages(shapes, rank)
    if not maps or rank < 3:
        raise ValueError(f"`model` must have a stage with maps over space; it has {', '.join(shapes)}.")
    return maps[-1]


@partial(jax.jit, static_argnums=(0, 3))
def stage_of(graph: Any, state: Any, images: jax.Array, at: str) -> jax.Array:
    """Computes one stage's activations in a network that is split."""
    if isinstance(graph, Program):
        return graph.stages_of(state, images, [at])[0]
    return nnx.merge(graph, state)(images, capture=True)[1][at]


@partial(jax.jit, static_argnums=(0, 3))
def _stages_of(graph: Any, state: nnx.State, images: jax.Array, at: tuple[str, ...]) -> dict[str, jax.Array]:
    activations = nnx.merge(graph, state)(images, capture=True)[1]
    return {name: activations[name].astype(jnp.float32) for name in at}


def features_at(
    model: nnx.Module, images: np.ndarray, at: Iterable[str], batch_size: int = 64
) -> dict[str, np.ndarray]:
    """Computes the activations of some stages, each `(N, *stage)`, in batches."""
    shapes, names = stage_shapes(model, images[:1]), tuple(dict.fromkeys(at))
    for name in names:
        expect_stage(shapes, name)
    apart = taken_apart(model)
    return in_batches(lambda part: _stages_of(*apart, part, names), images, batch_size)


# The gradient by an activation A inside a network: its trace, the list of primitive operations that one call is, has a
# variable that is A. Where that variable is not computed but given, the trace is the scores as a function of A. The
# trace of a function has it already, maybe inside of a call.


@partial(jax.jit, static_argnums=(0, 4))
def stage_and_gradient(
    graph: Any, state: Any, images: jax.Array, targets: jax.Array, at: str
) -> tuple[jax.Array, jax.Array]:
    """Computes a stage's activations, and the score's gradient by them.

    The score is each image's target logit.
    """
    if isinstance(graph, Program):
        stage = graph.stages_of(state, images, [at])[0]
        return stage, jax.grad(lambda stage: _total(graph.from_stage(state, images, at, stage), targets))(stage)

    def call(state: nnx.State, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, stages = nnx.merge(graph, state)(images, capture=True)
        return stages[at], logits

    inputs = jax.tree.leaves((state, images))
    traced = jax.make_jaxpr(call)(state, images)
    stage, _ = core.jaxpr_as_fun(traced)(*inputs)
    after = core.jaxpr_as_fun(_from_first_output(traced))
    return stage, jax.grad(lambda stage: _total(after(*inputs, stage)[1], targets))(stage)


def _total(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return chosen(at_least_float32(logits), targets).sum()


def _from_first_output(traced: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """The same trace, whose first output is an argument.

    The argument replaces that output wherever it is read.
    """
    jaxpr = traced.jaxpr
    given = jaxpr.outvars[0]
    unread = core.DropVar(given.aval)
    equations = [e.replace(outvars=[unread if v is given else v for v in e.outvars]) for e in jaxpr.eqns]
    names = jaxpr.debug_info.arg_names
    told = jaxpr.debug_info if names is None else jaxpr.debug_info._replace(arg_names=(*names, "stage"))
    return core.ClosedJaxpr(
        jaxpr.replace(invars=[*jaxpr.invars, given], eqns=equations, debug_info=told), traced.consts
    )
