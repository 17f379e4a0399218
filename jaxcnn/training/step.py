"""A step of training, as a pure function of state and batch."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike

from jaxcnn import ops
from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.batches import Batch
from jaxcnn.data.dataset import Scaling
from jaxcnn.training.parallel import Layout, is_key
from jaxcnn.training.speed import step_flops

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything that changes in training; a pytree of arrays."""

    step: jax.Array  # steps done
    params: Any  # nnx.State
    rest: nnx.State  # batch statistics, random streams
    opt_state: optax.OptState
    average: tuple[Any, nnx.State] | None = None  # moving averages of parameters and of batch statistics


class Objective(NamedTuple):
    """The loss that training minimizes."""

    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    label_smoothing: float = 0.0
    auxiliaries: Mapping[str, float] = {}  # stages that are also logits, and the weights of their losses

    def losses(self, logits: jax.Array, targets: ArrayLike) -> jax.Array:
        """Computes one loss per example; targets are labels, or one row of class probabilities per example."""
        if jnp.ndim(targets) > 1:
            targets = jnp.asarray(targets, logits.dtype)
        if self.loss == "cross_entropy":
            return ops.softmax_cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if jnp.ndim(targets) == 1:
            targets = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
        return ops.mean_squared_error(logits, 2 * jnp.asarray(targets) - 1)


class Graphs(NamedTuple):
    """The static part of a network, in training and in evaluation mode."""

    train: Any
    eval: Any


class Sums(NamedTuple):
    """The sums over the parts of a batch, and the other variables after them."""

    gradient: Any
    loss: jax.Array
    correct: jax.Array
    rest: nnx.State


def path_of(path: Any) -> str:
    """Formats the path of a parameter as in configurations, `conv1/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def split(
    model: nnx.Module, frozen: Collection[str] = (), axis_name: str | None = None
) -> tuple[Graphs, nnx.State, nnx.State]:
    """Splits a network into its static part in both modes, its parameters, and its other variables.

    The states are copies, so that steps may donate them and the network stays usable.

    Args:
      model: the network; it is left in training mode.
      frozen: paths of parameters that are not trained; modules that have only such parameters compute as in
        evaluation.
      axis_name: mapped axis over which batch statistics are computed.

    Returns:
      The static parts, the parameters, and the other variables.
    """
    model.eval()
    eval_graph, _ = nnx.split(model)
    model.train()
    for path, module in list(nnx.iter_modules(model)) if frozen else ():
        inside = nnx.to_flat_state(nnx.state(module, nnx.Param))
        if inside and all("/".join(map(str, (*path, *name))) in frozen for name, _ in inside):
            module.eval()
    if axis_name is not None:
        model.set_attributes(axis_name=axis_name, raise_if_not_found=False)
    train_graph, params, rest = nnx.split(model, nnx.Param, ...)
    if axis_name is not None:
        model.set_attributes(axis_name=None, raise_if_not_found=False)
    params, rest = jax.tree.map(jnp.copy, (params, rest))
    return Graphs(train_graph, eval_graph), params, rest


def init_state(
    params: nnx.State, rest: nnx.State, optimizer: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Makes the state before the first step; with `averaged`, with moving averages that start at the parameters."""
    average = jax.tree.map(jnp.copy, (params, nnx.filter_state(rest, nnx.BatchStat))) if averaged else None
    return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), average)


def ended_with(state: TrainState) -> tuple[nnx.State, nnx.State]:
    """Returns the final parameters, the moving averages if there are some, and the other variables."""
    if state.average is None:
        return state.params, state.rest
    params, statistics = state.average
    return params, nnx.merge_state(state.rest, statistics)


@dataclasses.dataclass(frozen=True)
class Step:
    """The constant part of a training step.

    Args:
      graphs: the static part of the network.
      optimizer: the optimizer.
      scaling: the scaling of the network's inputs.
      objective: the loss that is minimized.
      augmentation: random changes of the pictures, drawn from `seed`, the step and the example.
      seed: seed of the augmentation.
      classes: number of classes, for the targets of the augmentation.
      epoch_steps: number of steps in an epoch.
      max_norms: bounds on the L2 norms of the columns of parameters, by path.
      frozen: paths of parameters that are not trained.
      decay: decay of the moving averages per step; it is smaller in the first steps.
      accumulate: number of parts in which the gradient of a batch is computed, one after the other, to save memory.
      layout: the devices.
    """

    graphs: Graphs
    optimizer: optax.GradientTransformation
    scaling: Scaling
    objective: Objective = Objective()
    augmentation: Augmentation | None = None
    seed: int = 0
    classes: int = 0
    epoch_steps: int = 1
    max_norms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    frozen: Collection[str] = ()
    decay: float | None = None
    accumulate: int = 1
    layout: Layout = dataclasses.field(default_factory=Layout)

    def compiled(self) -> "CompiledStep":
        """Compiles `(state, parts of the batch) -> (state, metrics)`; the state is donated.

        The metrics are the mean `loss`, the number of `correct` examples, the norm of the gradient before the update,
        and whether the parameters are finite after it. The loss is that of the logits, without those of auxiliary
        heads.
        """
        compiled = self.layout.compile
        if self.accumulate == 1:
            whole = compiled(lambda batch, _, state: self._update(state, self._gradient(batch, state, state.rest)))
            return CompiledStep(
                lambda state, parts: whole(parts[0], None, state),
                lambda state, parts: self._flops(whole.lower(parts[0], None, state)),
            )
        # one call for each part: XLA's convolutions on CPU are many times slower inside a loop (jax issue 12868)
        first = compiled(lambda batch, state, _: self._gradient(batch, state, state.rest))
        next_one = compiled(lambda batch, state, sums: _added(sums, self._gradient(batch, state, sums.rest)))
        last = compiled(lambda _, sums, state: self._update(state, sums), batched=False)

        def step(state: TrainState, parts: Sequence[Batch]) -> tuple[TrainState, Metrics]:
            sums = first(parts[0], state, None)
            for part in parts[1:]:
                sums = next_one(part, state, sums)
            return last(None, sums, state)

        def flops(state: TrainState, parts: Sequence[Batch]) -> float | None:
            found = self._flops(first.lower(parts[0], state, None))
            return None if found is None else found * self.accumulate  # the update is small beside it

        return CompiledStep(step, flops)

    def _flops(self, lowered: Any) -> float | None:
        return step_flops(lowered, self.layout.data_devices if self.layout.kind == "pmap" else 1)

    def _gradient(self, batch: Batch, state: TrainState, rest: nnx.State) -> Sums:
        axis = self.layout.axis_name
        images, targets = batch.images, batch.labels
        if self.augmentation is not None:
            key = jax.random.fold_in(jax.random.key(self.seed), state.step)
            shares = jax.nn.one_hot(targets, self.classes, dtype=jnp.float32)
            images, targets = self.augmentation(key, state.step // self.epoch_steps, batch.ids, images, shares)

        def loss_of(params: nnx.State):
            model = nnx.merge(self.graphs.train, params, _apart(rest, axis), copy=True)
            inputs = self.scaling(images)
            auxiliaries = self.objective.auxiliaries
            logits, stages = model(inputs, capture=True) if auxiliaries else (model(inputs), {})
            logits = at_least_float32(logits)
            loss = self.objective.losses(logits, targets).mean()
            total = loss
            for name, weight in auxiliaries.items():
                if not weight:  # 0 times a loss without bound would be NaN
                    continue
                total += weight * self.objective.losses(at_least_float32(stages[name]), targets).mean()
            _, _, left = nnx.split(model, nnx.Param, ...)
            return total, (left, loss, jnp.sum(is_right(logits, batch.labels)))

        (_, (left, loss, correct)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        left = jax.tree.map(lambda new, old: old if is_key(old) else new, left, rest)
        if axis is not None:
            loss, gradient = jax.lax.pmean((loss, gradient), axis)
            correct = jax.lax.psum(correct, axis)
        if self.frozen:  # what is not asked for is not computed
            gradient = jax.tree_util.tree_map_with_path(
                lambda path, leaf: jnp.zeros_like(leaf) if path_of(path) in self.frozen else leaf, gradient
            )
        return Sums(gradient, loss, correct, left)

    def _update(self, state: TrainState, sums: Sums) -> tuple[TrainState, Metrics]:
        gradient = sums.gradient
        if self.accumulate > 1:
            gradient = jax.tree.map(lambda leaf: leaf / self.accumulate, gradient)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes, also where the user has forbidden it
            updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
            params = _bounded(optax.apply_updates(state.params, updates), self.max_norms)
        average = state.average
        if average is not None and self.decay is not None:
            average = _nearer(average, (params, nnx.filter_state(sums.rest, nnx.BatchStat)), self.decay, state.step)
        finite = functools.reduce(jnp.logical_and, [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)])
        metrics = {
            "loss": sums.loss / self.accumulate,
            "correct": sums.correct,
            "gradient_norm": optax.tree.norm(gradient),
            "parameters_finite": finite,
        }
        return TrainState(state.step + 1, params, sums.rest, opt_state, average), metrics


class CompiledStep(NamedTuple):
    """A compiled step, and a function that counts its operations."""

    run: Callable[[TrainState, Sequence[Batch]], tuple[TrainState, Metrics]]
    flops: Callable[[TrainState, Sequence[Batch]], float | None]  # floating-point operations over all devices


def _added(sums: Sums, more: Sums) -> Sums:
    gradient = jax.tree.map(jnp.add, sums.gradient, more.gradient)
    return Sums(gradient, sums.loss + more.loss, sums.correct + more.correct, more.rest)


def _apart(rest: nnx.State, axis: str | None) -> nnx.State:
    """Makes random streams differ between devices of a mapped axis, so that dropout drops different units on each."""
    if axis is None:
        return rest
    place = jax.lax.axis_index(axis)
    return jax.tree.map(lambda leaf: jax.random.fold_in(leaf, place) if is_key(leaf) else leaf, rest)


def _nearer(average: Any, values: Any, decay: float, step: jax.Array) -> Any:
    """Updates moving averages; the decay is smaller in the first steps, so that the initial values soon vanish."""
    done = step.astype(jnp.float32)
    share = 1 - jnp.minimum(decay, (1 + done) / (10 + done))
    return jax.tree.map(lambda old, new: old + share.astype(old.dtype) * (new - old), average, values)


def _bounded(params: Any, max_norms: Mapping[str, float]) -> Any:
    """Scales down the columns of parameters whose L2 norm is above its bound."""

    def bound(path: Any, leaf: jax.Array) -> jax.Array:
        limit = max_norms.get(path_of(path))
        if limit is None:
            return leaf
        norms = jnp.sqrt(jnp.sum(jnp.square(leaf), axis=tuple(range(leaf.ndim - 1)), keepdims=True))
        return leaf * jnp.minimum(1, limit / jnp.maximum(norms, 1e-12)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(bound, params)


def at_least_float32(logits: jax.Array) -> jax.Array:
    """Converts logits for losses, since 16-bit floats are too coarse for a sum of exponentials."""
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)


def is_right(logits: jax.Array, labels: ArrayLike) -> jax.Array:
    """Whether the largest logit is that of the label, for each example."""
    return jnp.argmax(logits, -1).astype(jnp.int32) == jnp.asarray(labels).astype(jnp.int32)  # bytes count to 255 only
