"""The bar of a terminal tells what rows hold, and lives with what they lack."""

import pytest

from jaxcnn.cli.progress import observing, state

STEP = {"kind": "step", "step": 5, "epoch": 1, "loss": 0.5, "accuracy": 0.25, "images_per_second": 1234.4}


@pytest.mark.parametrize(
    "row, text",
    [
        (STEP, "loss 0.5000 accuracy 25.00%  1,234 images/s"),
        (
            STEP | {"input_wait": 0.128, "flops_utilization": 0.41},
            "loss 0.5000 accuracy 25.00%  1,234 images/s  input wait 13% MFU 41%",
        ),
        ({"kind": "step", "step": 5, "steps_per_second": 0.5}, "0.50 steps/s"),
        ({"kind": "step", "step": 5}, ""),
    ],
)
def test_the_bar_tells_what_a_row_holds(row, text):
    assert state(row) == text


def test_a_terminal_s_bar_takes_rows_that_lack_fields(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the stream for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with observing(10) as observe:
        observe({"kind": "step", "step": 4})
        observe(STEP | {"step": 10, "input_wait": 0.5})
    out = capsys.readouterr().out
    assert "10/10" in out and "input wait 50%" in out


def test_elsewhere_steps_are_silent(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with observing(10) as observe:
        observe(STEP)
    assert capsys.readouterr().out == ""
