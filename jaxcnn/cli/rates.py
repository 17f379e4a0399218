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

    found = training.find_learning_rate(model, train, config, scaling=scaling, layout=layout)
    if not training.is_first():
        return
    print(f"{'learning rate':>13}  mean loss")
    for at in range(0, len(found.rates), max(1, len(found.rates) // _LINES)):
        print(f"{found.rates[at]:>13.2g}  {found.smooth[at]:>9.4f}")
    print(f"the loss is lowest at {found.lowest:g}{_end(found)}, and falls fastest at {found.suggested:g}")
    print(f"picture {plots.save(plots.rate_range(found), picture)}")
    print(f"to use this rate: --learning-rate {found.suggested:g}")


def _end(found: Any) -> str:
    return f", diverges at {found.rates[-1]:.2g}" if found.diverged else ""
