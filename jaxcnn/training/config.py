"""The configuration of a training run."""

import dataclasses
import math
from typing import Literal, get_args, get_type_hints

from jaxcnn import geometry
from jaxcnn.data.augmentation import Augmentation
from jaxcnn.data.sampling import Sampling
from jaxcnn.training.class_weights import check_weights


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Every field is a plain value, and is saved with the run.

    Raises:
      ValueError: if a value is out of range.
    """

    epochs: int = 20
    """Passes over the training examples."""
    batch_size: int = 64
    """Examples per step. Those that do not fill a last batch are left out of the epoch, others in each epoch."""
    task: Literal["classification", "binary", "multi_label", "regression", "segmentation"] | None = None
    """Task; None means the task of the data set. `binary`: one output, for two classes.
    `segmentation`: a class for each pixel."""
    loss: (
        Literal["cross_entropy", "mean_squared_error", "half_squared_error", "huber", "dice", "cross_entropy_dice"]
        | None
    ) = None
    """Loss; None means the default of the task: cross-entropy, and the mean squared error for regression.
    In classification `mean_squared_error` compares the outputs with targets of +1 and -1.
    For segmentation also `dice`, or `cross_entropy_dice`, the sum of both."""
    pos_weight: tuple[float, ...] = ()
    """For `binary` and `multi_label`: factors of the losses where a label is 1; one, or one for each label."""
    class_weights: tuple[str, ...] = ()
    """Factors on the losses of classes. balanced: inverse to the number of training examples of each class. Or
    CLASS=FACTOR for some classes, others have 1. Or one factor for each class, in order."""
    sampling: Sampling = "uniform"
    """`uniform`: every example once in an epoch. `balanced`: every class equally often, rare examples several times."""
    scaling: Literal["standard", "symmetric"] = "standard"
    """`standard` gives every channel mean 0 and variance 1, `symmetric` maps bytes to [-1, 1]."""
    optimizer: Literal["adamw", "adam", "sgd", "lars", "muon", "adadelta"] = "adamw"
    """Optimizer, from optax. `muon` treats kernels as matrices, and trains biases and norms with `adamw`."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "constant", "step", "one_cycle"] = "cosine"
    """How the learning rate changes. `cosine`: falls to 0 at the last step. `step`: falls to a tenth at each milestone.
    `one_cycle`: rises for 30 % of the run, then falls by a cosine (Smith & Topin 2018)."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """For `step`: when the learning rate falls, as shares of the run after the warm-up."""
    warmup_steps: int = 0
    """Steps at the start, in which the learning rate rises from 0 to its peak."""
    warmup_epochs: float = 0.0
    """Epochs of this rise, added to its steps."""
    weight_decay: float = 1e-2
    """Decoupled decay for `adamw` and `muon`, L2 penalty for `sgd` and `lars`; `adam` and `adadelta` have none."""
    decay_all: bool = False
    """With `--decay-all` biases and norms decay too; with `--no-decay-all` only kernels do."""
    momentum: float = 0.9
    """Momentum of `sgd` and `lars`."""
    nesterov: bool = True
    """`--nesterov` gives `sgd` and `lars` Nesterov's momentum; `--no-nesterov` gives them plain momentum."""
    clip_norm: float | None = None
    """Largest L2 norm of the gradient; a larger gradient is scaled down to it. None: no limit."""
    accumulate: int = 1
    """Number of parts of a batch whose gradients are computed one after the other, to save memory.
    Batch normalization then uses the statistics of each part."""
    label_smoothing: float = 0.0
    """Share of every target that is spread evenly over all classes."""
    augment: tuple[str, ...] = ()
    """Random changes of the training pictures, in this order; for example: pad_crop=4 flip cutout=8."""
    freeze: tuple[str, ...] = ()
    """Parameters that do not train, as patterns of their paths; for example: conv1 'stage?/*/norm*'.
    Frozen batch normalization computes as in evaluation."""
    layer_rates: tuple[str, ...] = ()
    """Factors on the learning rate of some parameters, by patterns as in `freeze`; for example: 'conv*=0.1'.
    Where several patterns match, the last one counts."""
    ema_decay: float | None = None
    """Decay of moving averages of the parameters, for example 0.999; None keeps no averages.
    The averages are evaluated beside the parameters, and the run ends with them."""
    monitor: (
        Literal[
            "loss",
            "accuracy",
            "top5_accuracy",
            "exact_match",
            "label_accuracy",
            "auc",
            "average_precision",
            "f1",
            "rmse",
            "mae",
            "r2",
            "mean_iou",
            "pixel_accuracy",
        ]
        | None
    ) = None
    """Metric or loss on the held-out examples that decides which epoch is best; the checkpoint of that epoch is kept.
    None means the first metric of the task, for classification the accuracy."""
    patience: int | None = None
    """Stop after this many epochs without a better one, and end with the best. None: train all epochs."""
    restore_best: bool = False
    """`--restore-best` ends with the best epoch's parameters, `--no-restore-best` with the last one's."""
    seed: int = 0
    """Seed of the initialization, of the order of the examples and of their random changes."""
    log_every: int = 50
    """Steps between two rows of the log."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; every epoch ends with one too."""
    keep_checkpoints: int = 2
    """Number of checkpoints that are kept: the newest."""

    def __post_init__(self):
        """Checks every value.

        Raises:
          ValueError: if a value is out of range.
        """
        for name in ("class_weights", "milestones", "augment", "freeze", "layer_rates", "pos_weight"):
            value = getattr(self, name)
            alone = isinstance(value, str | int | float)
            object.__setattr__(self, name, (value,) if alone else tuple(value))  # JSON has lists only
        counts = ("epochs", "batch_size", "accumulate", "log_every", "checkpoint_every", "keep_checkpoints")
        for name in counts:
            geometry.integer(getattr(self, name), name)
        for name in ("warmup_steps", "seed"):
            geometry.integer(getattr(self, name), name, minimum=0)
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be positive; got {self.learning_rate}.")
        for name in ("warmup_epochs", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}.")
        for name in ("learning_rate", "weight_decay", "warmup_epochs"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be finite; got {getattr(self, name)}.")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"`clip_norm` must be positive and finite; got {self.clip_norm}.")
        if not all(0 < share < 1 for share in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"`milestones` must be increasing shares between 0 and 1; got {self.milestones}.")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1); got {getattr(self, name)}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must be between 0 and 1; got {self.ema_decay}.")
        if self.patience is not None:
            geometry.integer(self.patience, "patience")
        if self.batch_size % self.accumulate:
            raise ValueError(f"`accumulate` must divide the batch of {self.batch_size}; got {self.accumulate}.")
        object.__setattr__(self, "class_weights", tuple(map(str, self.class_weights)))
        check_weights(self.class_weights)
        Augmentation(self.augment)
        factors_of(self.layer_rates)
        if not all(0 < weight < math.inf for weight in self.pos_weight):
            raise ValueError(f"`pos_weight` must be positive and finite; got {self.pos_weight}.")
        for name in ("task", "loss", "sampling", "scaling", "optimizer", "schedule", "monitor"):
            hint = get_type_hints(type(self))[name]
            may_be_none = type(None) in get_args(hint)
            options = get_args(get_args(hint)[0] if may_be_none else hint)
            if getattr(self, name) not in ((*options, None) if may_be_none else options):
                raise ValueError(f"`{name}` must be one of {', '.join(options)}; got {getattr(self, name)!r}.")


def factors_of(rates: tuple[str, ...]) -> list[tuple[str, float]]:
    """Parses patterns and factors.

    Raises:
      ValueError: if a factor is missing, or is not positive and finite.
    """
    factors = []
    for rate in rates:
        pattern, _, text = rate.rpartition("=")
        try:
            factor = float(text)
        except ValueError:
            factor = math.nan
        if not pattern or not 0 < factor < math.inf:
            raise ValueError(f"`layer_rates` must be PATTERN=FACTOR with a positive factor; got {rate!r}.")
        factors.append((pattern, factor))
    return factors
