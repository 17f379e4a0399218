"""How long `experiments/transfer_digits.py` trains on few digits; the rest is in `test_form.py`."""

import pytest

from experiments import transfer_digits


@pytest.mark.parametrize(("count", "epochs", "batch"), [(100, 60, 20), (500, 43, 64), (29404, 5, 64)])
def test_few_digits_are_passed_more_often(count, epochs, batch):
    class Some:
        labels = range(count)

    found = transfer_digits.config(Some, 0, 5, 300)
    assert (found.epochs, found.batch_size) == (epochs, batch)
