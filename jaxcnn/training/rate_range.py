"""Finds a learning rate by a range test.

The rate grows over a few steps until the loss diverges.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxcnn import geometry
from jaxcnn.data.batches import batches_ahead
from jaxcnn.data.dataset import Dataset, Scaling
from jaxcnn.training.config import TrainConfig
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.parallel import Layout
from jaxcnn.training.setup import prepare
from jaxcnn.training.trainer import on_devices

_SMOOTHING = 0.9  # share of the mean loss before in that after a step
_DIVERGED = 3.0  # the loss, by that before the first step, from which on nothing more is learned
_SKIPPED = 5  # steps at either end that say little: the mean is of few steps, or the loss already turns


class RateRange(NamedTuple):
    """The losses of steps with growing learning rates.

    Args:
      rates: `(steps,)` learning rates.
      losses: `(steps,)` losses of the batches, each before the step with its rate.
      smooth: `(steps,)` moving means of the losses.
      suggested: the rate at which the smooth loss falls fastest by the logarithm of the rate.
      lowest: the rate at which the smooth loss is lowest.
      diverged: whether the loss grew without bound before the largest rate was reached.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggested: float
    lowest: float
    diverged: bool


def find_learning_rate(
    model: nnx.Module,
    train: Dataset,
    config: TrainConfig | None = None,
    *,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 120,
    scaling: Scaling | None = None,
    layout: Layout | None = None,
) -> RateRange:
    """Runs the learning-rate range test.

    The rate grows from step to step by a constant factor. Everything but the learning rate and its schedule is as `fit`
    does it with the configuration: optimizer, batch size, augmentation, frozen parameters. The batches are those of the
    first steps of the run.

    Args:
      model: the network; it stays unchanged.
      train: training examples.
      config: how to train; by default `TrainConfig()`.
      low: the first learning rate.
      high: the last learning rate.
      steps: number of steps; fewer are made if the loss diverges.
      scaling: scaling of the inputs, as in `fit`.
      layout: the devices, as in `fit`.

    Returns:
      Rates, losses and the suggested rate.

    Raises:
      ValueError: if a rate is out of range, there are too few steps, the arguments do not fit together, or the loss
        falls nowhere.

    Example:
      >>> from flax import nnx
      >>> from jaxcnn import data, models, training
      >>> model = models.create("lenet5", num_classes=10, in_features=1, rngs=nnx.Rngs(0))
      >>> test = training.find_learning_rate(model, data.load("digits", "train"), steps=40)
      >>> 1e-4 < test.suggested < 0.1
      True

    Source: Smith 2017, Cyclical learning rates for training neural networks, section 3.3; the factor in place of his
    linear growth, and the steepest fall as the choice, are fastai's (Howard & Gugger 2020, section 4).
    """
    geometry.integer(steps, "steps", minimum=4 * _SKIPPED)
    if not 0 < low < high < math.inf:
        raise ValueError(f"`low` must be positive and below `high`; got {low} and {high}.")
    config, layout = config or TrainConfig(), layout or Layout()
    flat = dataclasses.replace(config, schedule="constant", learning_rate=low, warmup_steps=0, warmup_epochs=0.0)
    setup, state = prepare(model, train, None, flat, scaling, layout)
    growth = math.log(high / low) / (steps - 1)
    # the updates of every optimizer are linear in its learning rate
    grow = optax.scale_by_schedule(lambda count: jnp.exp(jnp.float32(growth) * jnp.asarray(count, jnp.float32)))
    optimizer = optax.chain(make_optimizer(flat, steps, setup.step.frozen), grow)
    state = state._replace(opt_state=layout.place(optimizer.init(state.params)))
    step = dataclasses.replace(setup.step, optimizer=optimizer).compiled()
    losses: list[float] = []
    rows = layout.rows(config.batch_size, config.accumulate)
    with batches_ahead(train, config.batch_size, config.seed, 0, steps, rows=rows, sampling=config.sampling) as batches:
        for parts in on_devices(batches, config.accumulate, layout):
            state, metrics = step.run(state, parts)
            loss = float(metrics["loss"])
            if not math.isfinite(loss):
                break
            losses.append(loss)
            if len(losses) > _SKIPPED and _smoothed(losses)[-1] > _DIVERGED * losses[0]:
                break
    return _judged(low * np.exp(growth * np.arange(len(losses))), np.array(losses), len(losses) < steps)


def _judged(rates: np.ndarray, losses: np.ndarray, diverged: bool) -> RateRange:
    """Finds where the smooth loss falls steepest before its lowest value.

    Raises:
      ValueError: if the loss falls nowhere.
    """
    smooth = _smoothed(losses)
    lowest = int(np.argmin(smooth)) if len(smooth) else 0
    if lowest <= _SKIPPED:
        first = f"{losses[0]:.4g} to {smooth[-1]:.4g} in {len(losses)} steps" if len(losses) else "no finite loss"
        raise ValueError(f"`low` must be a learning rate from which on the loss falls; got {first}.")
    slopes = np.gradient(smooth[: lowest + 1])
    steepest = _SKIPPED + int(np.argmin(slopes[_SKIPPED:]))
    return RateRange(rates, losses, smooth, _rounded(rates[steepest]), _rounded(rates[lowest]), diverged)


def _smoothed(losses: list[float] | np.ndarray) -> np.ndarray:
    """Exponential moving means, without the bias of the first steps."""
    means, mean = [], 0.0
    for number, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        means.append(mean / (1 - _SMOOTHING**number))
    return np.array(means)


def _rounded(rate: float) -> float:
    """To two digits: the test is not more exact than that."""
    return float(f"{rate:.1e}")
