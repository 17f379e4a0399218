"""What `experiments/transfer_digits.py` does with its values; `-m slow` runs it on the embedded digits."""

import json

import pytest

from experiments import transfer_digits


def test_values_of_every_seed_become_means_and_spreads():
    runs = {seed: {"frozen": {"100": 90.0 + seed, "all": 99.0}} for seed in (0, 2)}
    found = transfer_digits.summarised(runs)["frozen"]
    assert found["100"] == {"values": [90.0, 92.0], "mean": 91.0, "standard_deviation": 1.4142}
    assert found["all"]["standard_deviation"] == 0


def test_every_kind_of_learning_is_in_the_table():
    rows = {
        row: {"100": {"mean": 91.0, "standard_deviation": 1.5}, "all": {"mean": 99.0, "standard_deviation": None}}
        for row in transfer_digits.NAMES
    }
    head, _, *lines = transfer_digits.table({"rows": rows, "seeds": [0, 1]}).splitlines()
    assert head == "| test accuracy, %, 2 seeds | 100 digits | all |"
    assert lines[0] == "| transfer, convolutions frozen | 91.00 ± 1.50 | 99.00 |" and len(lines) == 9


@pytest.mark.parametrize(("count", "epochs", "batch"), [(100, 60, 20), (500, 43, 64), (29404, 5, 64)])
def test_few_digits_are_passed_more_often(count, epochs, batch):
    class Some:
        labels = range(count)

    found = transfer_digits.config(Some, 0, 5, 300)
    assert (found.epochs, found.batch_size) == (epochs, batch)


@pytest.mark.slow
def test_it_runs(tmp_path):
    assert transfer_digits.main(["--quick", "--seeds", "0", "--out", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["rows"]["frozen"]["all"]["values"][0] > 60
    assert (tmp_path / "found.png").stat().st_size > 10_000
