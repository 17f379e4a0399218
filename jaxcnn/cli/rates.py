"""`jaxcnn train --find-lr`."""

from pathlib import Path
from typing import Any

from flax import nnx

from jaxcnn import training
from jaxcnn.data import Dataset, Scaling

_LINES = 12  # of the table


def print_rates(
    model: nnx.Module,
    train: Dataset,
    config: training.TrainConfig,
    picture: Path,
    *,
    scaling: Scaling | None,
    layout: training.Layout,
) -> None:
    """Runs a range test, then prints and draws its results.

    The results are the losses and a suggested rate.

    Args:
      model: the network, which stays unchanged.
      train: training examples.
      config: how to train.
      picture: PNG file to write.
      scaling: scaling of the inputs, as in `training.fit`.
      layout: the devices.

    Raises:
      ValueError: if the loss falls nowhere.
    """
    from jaxcnn.inspect import plots

    result = training.find_learning_rate(model, train, config, scaling=scaling, layout=layout)
    if not training.is_first():
        return
    print(f"{'learning rate':>13}  mean loss")
    for at in range(0, len(result.rates), max(1, len(result.rates) // _LINES)):
        print(f"{result.rates[at]:>13.2g}  {result.smooth[at]:>9.4f}")
    print(f"the loss is lowest at {result.lowest:g}{_end(result)}, and falls fastest at {result.suggested:g}")
    print(f"picture {plots.save(plots.rate_range(result), picture)}")
    print(f"to use this rate: --learning-rate {result.suggested:g}")


def _end(result: Any) -> str:
    return f", diverges at {result.rates[-1]:.2g}" if result.diverged else ""
