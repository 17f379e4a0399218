"""The step of `fit`.

It has augmentation, accumulation, frozen parameters, bounds, moving averages and many devices.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.batches import Batch
from jaxcnn.data.dataset import Scaling
from jaxcnn.training.objective import Objective
from jaxcnn.training.parallel import Layout, is_key
from jaxcnn.training.speed import step_flops
from jaxcnn.training.state import Graphs, TrainState, path_of
from jaxcnn.training.step import Metrics, descend, differentiate


class PartResults(NamedTuple):
    """The results of a batch, or of its parts so far.

    They are sums of mean gradients and losses, and the other variables.
    """

    gradient: Any
    loss: jax.Array
    counts: Any  # sums of the task
    rest: nnx.State


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """The constant part of a training step.

    Args:
      graphs: the static part of the network.
      optimizer: the optimizer.
      scaling: the scaling of the network's inputs.
      objective: the loss that is minimized, and the task's sums.
      augmentation: random changes of the pictures, drawn from `seed`, the step and the example.
      seed: seed of the augmentation.
      classes: number of outputs, for the targets of the augmentation.
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
        """Compiles `(state, parts of the batch) -> (state, metrics)`.

        The state is donated. The metrics are the mean `loss`, the `counts` of the task, the norm of the gradient before
        the update, and whether the parameters are finite after it. The loss is that of the outputs, without those of
        auxiliary heads.
        """
        compiled = self.layout.compile
        if self.accumulate == 1:
            whole = compiled(self._whole, batch=1, donate=0)
            return CompiledStep(
                lambda state, parts: whole(state, parts[0]),
                lambda state, parts: self._flops(whole.lower(state, parts[0])),
            )
        # one call for each part: XLA's convolutions on CPU are many times slower inside a loop (jax issue 12868)
        first = compiled(self._gradient, batch=1)
        following = compiled(self._added, batch=2, donate=0)
        last = compiled(self._update, donate=0)

        def step(state: TrainState, parts: Sequence[Batch]) -> tuple[TrainState, Metrics]:
            sums = first(state, parts[0])
            for part in parts[1:]:
                sums = following(sums, state, part)
            return last(state, sums)

        def flops(state: TrainState, parts: Sequence[Batch]) -> float | None:
            counted = self._flops(first.lower(state, parts[0]))
            return None if counted is None else counted * self.accumulate  # the update is small beside it

        return CompiledStep(step, flops)

    def _flops(self, lowered: Any) -> float | None:
        return step_flops(lowered, self.layout.data_devices if self.layout.kind == "pmap" else 1)

    def _whole(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return self._update(state, self._gradient(state, batch))

    def _added(self, sums: PartResults, state: TrainState, batch: Batch) -> PartResults:
        more = self._gradient(state._replace(rest=sums.rest), batch)
        gradient = jax.tree.map(jnp.add, sums.gradient, more.gradient)
        counts = jax.tree.map(jnp.add, sums.counts, more.counts)
        return PartResults(gradient, sums.loss + more.loss, counts, more.rest)

    def _gradient(self, state: TrainState, batch: Batch) -> PartResults:
        axis = self.layout.axis_name

        def loss_of(model: nnx.Module, shown: tuple[Any, Any]) -> tuple[jax.Array, dict[str, Any]]:
            images, targets = shown
            minimized, loss, outputs = self.objective.of(model, self.scaling(images), targets)
            task = self.objective.task
            return minimized, {
                "loss": loss,
                "counts": task.counts(outputs, targets if task.counts_mixed else batch.labels),
            }

        shown = self._augmented(state, batch)
        slope = differentiate(self.graphs.train, loss_of, state, shown, _different_keys(state.rest, axis))
        gradient, loss, counts = slope.gradient, slope.metrics["loss"], slope.metrics["counts"]
        if axis is not None:
            loss, gradient = jax.lax.pmean((loss, gradient), axis)
            counts = jax.lax.psum(counts, axis)
        if self.frozen:  # what is not asked for is not computed
            gradient = jax.tree_util.tree_map_with_path(
                lambda path, leaf: jnp.zeros_like(leaf) if path_of(path) in self.frozen else leaf, gradient
            )
        return PartResults(gradient, loss, counts, slope.rest)

    def _augmented(self, state: TrainState, batch: Batch) -> tuple[Any, Any]:
        if self.augmentation is None:
            return batch.images, batch.labels
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)
        shares = self.objective.task.shown(batch.labels, self.classes)
        return self.augmentation(key, state.step // self.epoch_steps, batch.ids, batch.images, shares)

    def _update(self, state: TrainState, sums: PartResults) -> tuple[TrainState, Metrics]:
        gradient = sums.gradient
        if self.accumulate > 1:
            gradient = jax.tree.map(lambda leaf: leaf / self.accumulate, gradient)
        new = descend(self.optimizer, state, gradient, sums.rest, sums.loss / self.accumulate)
        with jax.numpy_dtype_promotion("standard"):
            new = new._replace(params=_bounded(new.params, self.max_norms))
        if state.average is not None and self.decay is not None:
            values = (new.params, nnx.filter_state(new.rest, nnx.BatchStat))
            new = new._replace(average=_nearer(state.average, values, self.decay, state.step))
        finite = functools.reduce(jnp.logical_and, [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params)])
        metrics = {
            "loss": sums.loss / self.accumulate,
            "counts": sums.counts,
            "gradient_norm": optax.tree.norm(gradient),
            "parameters_finite": finite,
        }
        return new, metrics


class CompiledStep(NamedTuple):
    """A compiled step, and a function that counts its operations."""

    run: Callable[[TrainState, Sequence[Batch]], tuple[TrainState, Metrics]]
    flops: Callable[[TrainState, Sequence[Batch]], float | None]  # floating-point operations over all devices


def _different_keys(rest: nnx.State, axis: str | None) -> nnx.State:
    """Makes random streams differ between devices of a mapped axis.

    So dropout drops different units on each.
    """
    if axis is None:
        return rest
    place = jax.lax.axis_index(axis)
    return jax.tree.map(lambda leaf: jax.random.fold_in(leaf, place) if is_key(leaf) else leaf, rest)


def _nearer(average: Any, values: Any, decay: float, step: jax.Array) -> Any:
    """Updates moving averages.

    The decay is smaller in the first steps, so that the initial values soon vanish. Unlike `optax.incremental_update`,
    this keeps the dtype of every leaf, and leaves equal values as they are.
    """
    done = step.astype(jnp.float32)
    share = 1 - jnp.minimum(decay, (1 + done) / (10 + done))
    return jax.tree.map(lambda old, new: old + share.astype(old.dtype) * (new - old), average, values)


def _bounded(params: Any, max_norms: Mapping[str, float]) -> Any:
    """Scales columns of parameters down to their largest L2 norm."""

    def bound(path: Any, leaf: jax.Array) -> jax.Array:
        limit = max_norms.get(path_of(path))
        if limit is None:
            return leaf
        norms = jnp.sqrt(jnp.sum(jnp.square(leaf), axis=tuple(range(leaf.ndim - 1)), keepdims=True))
        return leaf * jnp.minimum(1, limit / jnp.maximum(norms, 1e-12)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(bound, params)
