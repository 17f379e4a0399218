"""The optimizer of a training run, with its schedule."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import jax
import optax
import optax.contrib

from jaxcnn.training.config import TrainConfig, factors_of
from jaxcnn.training.state import path_of


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Makes the learning rate as a function of the step.

    Args:
      config: the configuration.
      total_steps: number of steps of the run.

    Returns:
      The schedule.

    Raises:
      ValueError: if the warm-up is longer than the run.
    """
    rising = config.warmup_steps + round(config.warmup_epochs * total_steps / config.epochs)
    if rising >= total_steps:
        raise ValueError(f"`warmup_steps` must be below the {total_steps} steps in total; got {rising}.")
    rest, peak = total_steps - rising, config.learning_rate
    if config.schedule == "constant":
        body = optax.constant_schedule(peak)
    elif config.schedule == "step":
        body = optax.piecewise_constant_schedule(peak, {round(share * rest): 0.1 for share in config.milestones})
    elif config.schedule == "one_cycle":
        body = optax.cosine_onecycle_schedule(rest, peak)
    else:
        body = optax.cosine_decay_schedule(peak, rest)
    if rising:
        body = optax.join_schedules([optax.linear_schedule(0.0, peak, rising), body], [rising])

    def rate(step):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes, also where the user has forbidden it
            return body(step)

    return rate


def make_optimizer(config: TrainConfig, total_steps: int, frozen: Collection[str] = ()) -> optax.GradientTransformation:
    """Makes the optimizer that the configuration describes, with its schedule.

    Args:
      config: the configuration.
      total_steps: number of steps of the run.
      frozen: paths of parameters that are not trained.

    Returns:
      The optimizer.

    Raises:
      ValueError: if the warm-up is longer than the run.
    """
    optimizer = _unclipped(config, make_schedule(config, total_steps))
    if config.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    if frozen:

        def labels(params):
            return jax.tree_util.tree_map_with_path(lambda path, _: path_of(path) in frozen, params)

        optimizer = optax.partition({False: optimizer, True: optax.set_to_zero()}, labels)
    return optax.chain(optimizer, _scaled(config)) if config.layer_rates else optimizer


def frozen_paths(config: TrainConfig, params: Any) -> frozenset[str]:
    """Finds the paths of the parameters that the configuration freezes.

    Raises:
      ValueError: if a pattern matches no parameter, or no parameter remains to train.
    """
    paths = _paths(params)
    frozen = {path for pattern in config.freeze for path in _found("freeze", pattern, paths)}
    if frozen and len(frozen) == len(paths):
        raise ValueError(f"`freeze` must leave a parameter to train; got {', '.join(config.freeze)}.")
    return frozenset(frozen)


def rates_by_path(config: TrainConfig, params: Any) -> dict[str, float]:
    """Computes every parameter's factor of the learning rate, by path.

    Raises:
      ValueError: if a pattern matches no parameter.
    """
    paths = _paths(params)
    rates = dict.fromkeys(paths, 1.0)
    for pattern, factor in factors_of(config.layer_rates):
        rates |= dict.fromkeys(_found("layer_rates", pattern, paths), factor)
    return rates


def _paths(params: Any) -> list[str]:
    return [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _found(field: str, pattern: str, paths: list[str]) -> list[str]:
    """The parameters that a pattern matches.

    It matches their own path, or that of a module around them.
    """
    matching = [path for path in paths if fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*")]
    if not matching:
        names = ", ".join(dict.fromkeys(path.split("/")[0] for path in paths))
        raise ValueError(f"`{field}` must name parameters, which begin with {names}; got {pattern!r}.")
    return matching


def _scaled(config: TrainConfig) -> optax.GradientTransformation:
    """Multiplies the updates by the factors of the layers.

    The updates of all optimizers are linear in the learning rate. The transformation has no state; that of
    `optax.partition` would differ from the state in the checkpoints of older runs.
    """

    def init(params):
        rates_by_path(config, params)  # refuses patterns that name nothing, before anything is trained
        return optax.EmptyState()

    def update(updates, state, params=None):
        rates = rates_by_path(config, updates)
        return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * rates[path_of(path)], updates), state

    return optax.GradientTransformation(init, update)


def _unclipped(config: TrainConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    decayed = (lambda params: jax.tree.map(lambda leaf: True, params)) if config.decay_all else _kernels
    if config.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=config.weight_decay, mask=decayed)
    if config.optimizer == "adam":
        return optax.adam(rate)
    if config.optimizer == "adadelta":
        return optax.adadelta(rate, rho=0.95)
    if config.optimizer == "muon":
        return optax.contrib.muon(
            rate,
            weight_decay=config.weight_decay,
            weight_decay_mask=decayed,
            adam_weight_decay=config.weight_decay if config.decay_all else 0.0,
            muon_weight_dimension_numbers=_matrices,
        )
    if config.optimizer == "lars":
        return optax.lars(
            rate,
            config.weight_decay,
            decayed,
            trust_ratio_mask=_kernels,
            momentum=config.momentum,
            nesterov=config.nesterov,
        )
    decay = optax.add_decayed_weights(config.weight_decay, mask=decayed)
    return optax.chain(decay, optax.sgd(rate, momentum=config.momentum, nesterov=config.nesterov))


def _kernels(params):
    """True for kernels, False for biases and norms."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _matrices(params):
    """How `muon` reads each kernel as a matrix, `(other axes, outputs)`.

    None for biases and norms.
    """

    def matrix(leaf):
        if leaf.ndim < 2:
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree.map(matrix, params)
