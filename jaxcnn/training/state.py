"""The state of a training, as a pytree of arrays."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class TrainState(NamedTuple):
    """Everything that changes in training; a pytree of arrays.

    Args:
      step: number of steps done.
      params: the parameters, an `nnx.State`.
      rest: the other variables: batch statistics, random streams.
      opt_state: the state of the optimizer.
      average: moving averages of the parameters and of the batch statistics; None without them.
    """

    step: jax.Array
    params: Any
    rest: nnx.State
    opt_state: Any
    average: tuple[Any, nnx.State] | None = None

    def trained(self) -> tuple[nnx.State, nnx.State]:
        """Returns parameters and other variables.

        Moving averages take their place where there are some.
        """
        if self.average is None:
            return self.params, self.rest
        params, statistics = self.average
        return params, nnx.merge_state(self.rest, statistics)


class Graphs(NamedTuple):
    """The static part of a network, in training and evaluation."""

    train: Any
    eval: Any


def path_of(path: Any) -> str:
    """Formats the path of a parameter as in configurations, `conv1/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def split(
    model: nnx.Module, frozen: Collection[str] = (), axis_name: str | None = None
) -> tuple[Graphs, nnx.State, nnx.State]:
    """Splits a network into static parts, parameters and other variables.

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


def first_state(
    params: nnx.State, rest: nnx.State, optimizer: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Makes the state before the first step.

    With `averaged`, it has moving averages that start at the parameters.
    """
    average = jax.tree.map(jnp.copy, (params, nnx.filter_state(rest, nnx.BatchStat))) if averaged else None
    return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), average)
