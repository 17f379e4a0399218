"""What a training run is asked to do, and the optimiser that it describes."""

import dataclasses
import math
from typing import Literal, get_args, get_type_hints

import jax
import optax


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train; every field is a plain value, saved beside the run."""

    epochs: int = 20
    """Passes over the training examples."""
    batch_size: int = 64
    """Examples per step."""
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    """`mean_squared_error` is between outputs and targets of +-1."""
    scaling: Literal["standard", "symmetric"] = "standard"
    """`standard` gives every channel mean 0 and variance 1, `symmetric` maps bytes to [-1, 1]."""
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    """`sgd` is with Nesterov's momentum."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over the steps; `cosine` falls to 0 at the last one."""
    warmup_steps: int = 0
    """Steps over which the learning rate first rises from 0."""
    weight_decay: float = 1e-2
    """Decoupled decay for `adamw`, L2 penalty for `sgd`; kernels only, never biases or norms. Not for others."""
    momentum: float = 0.9
    """Momentum, for `sgd`."""
    label_smoothing: float = 0.0
    """Share of every target that is spread over all classes."""
    seed: int = 0
    """Seed of initialisation and of the order of examples."""
    log_every: int = 50
    """Steps between rows of the log."""
    checkpoint_every: int = 500
    """Steps between checkpoints; there is one after every epoch too."""
    keep_checkpoints: int = 2
    """How many checkpoints stay, the newest ones."""

    def __post_init__(self):
        """Checks every value.

        Raises:
          ValueError: if a value is out of range.
        """
        positive = ("epochs", "batch_size", "learning_rate", "log_every", "checkpoint_every", "keep_checkpoints")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive; got {getattr(self, name)}.")
        for name in ("warmup_steps", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}.")
        for name in ("learning_rate", "weight_decay"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be finite; got {getattr(self, name)}.")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1); got {getattr(self, name)}.")
        for name in ("loss", "scaling", "optimizer", "schedule"):
            options = get_args(get_type_hints(type(self))[name])
            if getattr(self, name) not in options:
                raise ValueError(f"`{name}` must be one of {', '.join(options)}; got {getattr(self, name)!r}.")


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Raises:
      ValueError: if the warm-up is longer than the run.
    """
    if config.warmup_steps >= total_steps:
        raise ValueError(f"`warmup_steps` must be below the {total_steps} steps in all; got {config.warmup_steps}.")
    rest = total_steps - config.warmup_steps
    flat = config.schedule == "constant"
    body = (
        optax.constant_schedule(config.learning_rate)
        if flat
        else optax.cosine_decay_schedule(config.learning_rate, rest)
    )
    if not config.warmup_steps:
        return body
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, body], [config.warmup_steps])


def make_optimizer(config: TrainConfig, total_steps: int) -> optax.GradientTransformation:
    """The optimiser that the configuration describes, its schedule inside."""
    schedule = make_schedule(config, total_steps)
    if config.optimizer == "adamw":
        return optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)
    if config.optimizer == "adam":
        return optax.adam(schedule)
    if config.optimizer == "adadelta":
        return optax.adadelta(schedule, rho=0.95)
    decay = optax.add_decayed_weights(config.weight_decay, mask=_kernels)
    return optax.chain(decay, optax.sgd(schedule, momentum=config.momentum, nesterov=True))


def _kernels(params):
    """True for what is multiplied by inputs, False for biases and norms."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
