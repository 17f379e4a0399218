"""A step of training: a pure function of state and batch.

It is the core of `fit`, and of a loop of one's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxcnn.training.parallel import is_key
from jaxcnn.training.state import TrainState, first_state

Metrics = dict[str, jax.Array]
Loss = Callable[[Any, Any], Any]


class Slope(NamedTuple):
    """The gradient of a loss, and further results."""

    gradient: Any  # as the parameters
    loss: jax.Array
    metrics: Metrics
    rest: nnx.State  # the other variables, after the call of the network


def init_state(model: nnx.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """Makes the state before the first step.

    Args:
      model: the network; it is left in training mode. The state holds copies of its variables.
      optimizer: an optimizer of optax.

    Returns:
      The state: step, parameters, other variables, and the state of the optimizer.
    """
    model.train()
    _, params, rest = nnx.split(model, nnx.Param, ...)
    state = first_state(params, rest, optimizer)
    return jax.tree.map(jnp.copy, state)  # no array twice, and none of the network's, so that a step may donate them


def make_step(
    model: nnx.Module, loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Makes a step of training, for a loop of your own.

    Args:
      model: the network; it is left in training mode, and only its structure is used.
      loss: a function `(model, batch)` that returns the loss, a scalar; or a pair of the loss and a dictionary of
        further metrics. It may change the variables of the network, as batch normalization does, but not add any.
      optimizer: an optimizer of optax.

    Returns:
      A pure function `(state, batch) -> (state, metrics)`. The metrics are `loss`, `gradient_norm` and those of the
      loss. Compile it with `jax.jit(step, donate_argnums=0)`.

    Raises:
      ValueError: in the step, if the loss returns something else, or metrics with one of these two names.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from flax import nnx
      >>> from jaxcnn import models, ops, training
      >>> model = models.create("lenet5", rngs=nnx.Rngs(0))
      >>> def loss(model, batch):
      ...     images, labels = batch
      ...     return ops.softmax_cross_entropy(model(images), labels).mean()
      >>> optimizer = optax.adam(1e-3)
      >>> state = training.init_state(model, optimizer)
      >>> step = jax.jit(training.make_step(model, loss, optimizer), donate_argnums=0)
      >>> batch = jnp.ones((8, 28, 28, 1)), jnp.zeros(8, jnp.int32)
      >>> for _ in range(3):
      ...     state, metrics = step(state, batch)
      >>> int(state.step), sorted(metrics)
      (3, ['gradient_norm', 'loss'])
      >>> training.load_state(model, state)
    """
    model.train()
    graph, _, _ = nnx.split(model, nnx.Param, ...)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        slope = differentiate(graph, loss, state, batch)
        metrics = {"loss": slope.loss, "gradient_norm": optax.tree.norm(slope.gradient)}
        if taken := sorted(metrics.keys() & slope.metrics.keys()):
            raise ValueError(
                f"`loss` must give its metrics other names than {' and '.join(metrics)}; got {taken[0]!r}."
            )
        return descend(optimizer, state, slope.gradient, slope.rest, slope.loss), metrics | slope.metrics

    return step


def load_state(model: nnx.Module, state: TrainState) -> None:
    """Loads a state into a network, and sets evaluation mode.

    Args:
      model: the network from which the state was made.
      state: a state; if it has moving averages, these are taken.
    """
    nnx.update(model, *jax.tree.map(jnp.copy, state.trained()))  # the next step may donate those of the state
    model.eval()


def differentiate(graph: Any, loss: Loss, state: TrainState, batch: Any, rest: nnx.State | None = None) -> Slope:
    """Computes the gradient of a loss with respect to parameters.

    The loss is `loss(model, batch)`.

    Args:
      graph: the static part of the network.
      loss: as in `make_step`.
      state: the state of the training.
      batch: the second argument of the loss.
      rest: the variables besides parameters; by default those of the state.
    """
    rest = state.rest if rest is None else rest

    def of(params: nnx.State) -> Any:
        model = nnx.merge(graph, params, rest, copy=True)
        returned = loss(model, batch)
        value, metrics = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, {})
        if isinstance(value, tuple) or jnp.shape(value) or not isinstance(metrics, Mapping):
            kinds = ", ".join(map(_kind, returned if isinstance(returned, tuple) else (returned,)))
            raise ValueError(f"`loss` must return a scalar, or a pair of a scalar and a dictionary; got {kinds}.")
        return value, (metrics, nnx.split(model, nnx.Param, ...)[2])

    (value, (metrics, after)), gradient = jax.value_and_grad(of, has_aux=True)(state.params)
    after = jax.tree.map(lambda new, old: old if is_key(old) else new, after, state.rest)
    return Slope(gradient, value, metrics, after)


def descend(
    optimizer: optax.GradientTransformation, state: TrainState, gradient: Any, rest: nnx.State, loss: jax.Array
) -> TrainState:
    """Takes one step of the optimizer, which may read the loss.

    Moving averages stay as they are.
    """
    update = optax.with_extra_args_support(optimizer).update
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes, also where the user has forbidden it
        updates, opt_state = update(gradient, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
    return state._replace(step=state.step + 1, params=params, rest=rest, opt_state=opt_state)


def _kind(part: Any) -> str:
    try:
        return str(jax.typeof(part))
    except TypeError:
        return type(part).__name__
