"""Pure steps: one of training, one of evaluation, one of prediction."""

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.batches import Batch
from jaxcnn.data.dataset import Scaling
from jaxcnn.data.streams import Stream


class TrainState(NamedTuple):
    """All that changes in training; a pytree of arrays."""

    step: jax.Array  # steps done
    params: Any  # nnx.State
    rest: nnx.State  # batch statistics, random streams
    opt_state: optax.OptState


class Objective(NamedTuple):
    """What training makes small."""

    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    label_smoothing: float = 0.0
    auxiliaries: Mapping[str, float] = {}  # stages that are logits too, and the weights of their losses

    def losses(self, logits: jax.Array, labels: ArrayLike) -> jax.Array:
        """One loss for each example."""
        if self.loss == "cross_entropy":
            return ops.softmax_cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return ops.mean_squared_error(logits, 2 * jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype) - 1)


_PLAIN, _FREE = Objective(), types.MappingProxyType({})


class Graphs(NamedTuple):
    """The static part of a network, in its two modes."""

    train: Any
    eval: Any


def split(model: nnx.Module) -> tuple[Graphs, nnx.State, nnx.State]:
    """Takes a network apart, once: what is static in training and in evaluation, parameters, the rest.

    The states are copies, so that steps may donate them and the network stays usable.
    """
    model.eval()
    eval_graph, _ = nnx.split(model)
    model.train()
    train_graph, params, rest = nnx.split(model, nnx.Param, ...)
    params, rest = jax.tree.map(jnp.copy, (params, rest))
    return Graphs(train_graph, eval_graph), params, rest


def init_state(params: nnx.State, rest: nnx.State, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params))


def make_train_step(
    graphs: Graphs,
    optimizer: optax.GradientTransformation,
    scaling: Scaling,
    objective: Objective = _PLAIN,
    max_norms: Mapping[str, float] = _FREE,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Compiles `(state, batch) -> (state, metrics)`; the state is donated.

    The metrics are the mean `loss`, the number of `correct` examples and the gradient's norm before the update, and
    whether the parameters are finite after it. The loss is that of the logits alone, without auxiliary ones.
    `max_norms` bounds the L2 norm of the columns of parameters, given by their paths.
    """

    def loss_of(params: nnx.State, rest: nnx.State, batch: Batch):
        model = nnx.merge(graphs.train, params, rest, copy=True)
        images = scaling(batch.images)
        logits, stages = model(images, capture=True) if objective.auxiliaries else (model(images), {})
        logits = logits.astype(jnp.float32)
        loss = objective.losses(logits, batch.labels).mean()
        total = loss
        for name, weight in objective.auxiliaries.items():
            total += weight * objective.losses(stages[name].astype(jnp.float32), batch.labels).mean()
        _, _, rest = nnx.split(model, nnx.Param, ...)
        correct = jnp.sum(_right(logits, batch.labels))
        return total, (rest, loss, correct)

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(state: TrainState, batch: Batch):
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (_, (rest, loss, correct)), gradient = gradient_of(state.params, state.rest, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes, also where the user has forbidden it
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = _bounded(optax.apply_updates(state.params, updates), max_norms)
        finite = functools.reduce(jnp.logical_and, [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)])
        norm = optax.tree.norm(gradient)
        metrics = {"loss": loss, "correct": correct, "gradient_norm": norm, "parameters_finite": finite}
        return TrainState(state.step + 1, params, rest, opt_state), metrics

    return train_step


def _bounded(params: Any, max_norms: Mapping[str, float]) -> Any:
    """Scales down the columns of some parameters whose L2 norm is above a bound."""

    def bound(path: Any, leaf: jax.Array) -> jax.Array:
        limit = max_norms.get(jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value"))
        if limit is None:
            return leaf
        norms = jnp.sqrt(jnp.sum(jnp.square(leaf), axis=tuple(range(leaf.ndim - 1)), keepdims=True))
        return leaf * jnp.minimum(1, limit / jnp.maximum(norms, 1e-12)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(bound, params)


def make_eval_step(
    graphs: Graphs, scaling: Scaling, objective: Objective = _PLAIN
) -> Callable[..., dict[str, jax.Array]]:
    """Compiles `(params, rest, batch) -> sums` of loss and correct answers, weighted by the batch's weights."""

    @jax.jit
    def eval_step(params: nnx.State, rest: nnx.State, batch: Batch):
        logits = nnx.merge(graphs.eval, params, rest, copy=True)(scaling(batch.images)).astype(jnp.float32)
        losses = objective.losses(logits, batch.labels)
        right = _right(logits, batch.labels) & (batch.weights > 0)
        return {"loss": jnp.sum(losses * batch.weights), "correct": jnp.sum(right)}

    return eval_step


def _right(logits: jax.Array, labels: ArrayLike) -> jax.Array:
    labels = jnp.asarray(labels)
    return jnp.argmax(logits, -1).astype(labels.dtype) == labels


def predict(model: nnx.Module, images: np.ndarray | Stream, scaling: Scaling, batch_size: int = 256) -> np.ndarray:
    """Class probabilities of images, in batches.

    Args:
      model: the network; it is used in evaluation mode and left as it was.
      images: `(N, H, W, C)` uint8.
      scaling: the scaling that the network was trained with.
      batch_size: images per call.

    Returns:
      `(N, classes)` float32.
    """
    graphs, params, rest = split(nnx.clone(model))

    @jax.jit
    def probabilities(params: nnx.State, rest: nnx.State, batch: jax.Array):
        return jax.nn.softmax(nnx.merge(graphs.eval, params, rest, copy=True)(scaling(batch)).astype(jnp.float32))

    size = min(batch_size, max(1, len(images)))
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.pad(part, [(0, size - len(part)), *[(0, 0)] * (images.ndim - 1)])
        parts.append(np.asarray(probabilities(params, rest, filled))[: len(part)])
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
