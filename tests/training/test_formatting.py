"""A row becomes a line, whatever it lacks."""

import pytest

from jaxcnn.training.formatting import epoch_line

EPOCH = {"kind": "epoch", "step": 22, "epoch": 1, "loss": 0.5, "accuracy": 0.25, "images_per_second": 1234.4}
HELD_OUT = {"eval_split": "test", "eval_loss": 0.75, "eval_accuracy": 0.5}


@pytest.mark.parametrize(
    "row, line",
    [
        (EPOCH, "epoch   1  loss 0.5000 accuracy 25.00%  1,234 images/s"),
        (
            EPOCH | HELD_OUT,
            "epoch   1  loss 0.5000 accuracy 25.00%  test loss 0.7500 accuracy 50.00%  1,234 images/s",
        ),
        (
            EPOCH | HELD_OUT | {"eval_top5_accuracy": 0.9, "ema_accuracy": 0.55},
            "epoch   1  loss 0.5000 accuracy 25.00%  test loss 0.7500 accuracy 50.00%"
            "  top-5 90.00%  averaged 55.00%  1,234 images/s",
        ),
        ({"epoch": 12, "loss": 0.5, "steps_per_second": 3.14159}, "epoch  12  loss 0.5000  3.14 steps/s"),
        ({"epoch": 3}, "epoch   3"),
        ({"epoch": 4, "images_per_second": 0.0, "steps_per_second": 0.0}, "epoch   4"),
    ],
)
def test_an_epoch_is_one_line(row, line):
    assert epoch_line(row) == line
