"""The bar of a terminal tells what rows hold, and lives with what they lack."""

import pytest
from rich.console import Console

from jaxcnn.cli import progress
from jaxcnn.cli.progress import Observer, Working, duration, observing, state, working

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


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_elsewhere_a_line_every_thirty_seconds_tells_the_time_left(clock, capsys):
    work = Working("epoch -", 1000, 0, Console(force_terminal=False))
    observer = Observer(work)
    clock.now += 60  # of the compiler, which says nothing of the rest
    observer.tick()
    capsys.readouterr()
    for _ in range(100):
        clock.now += 1
        observer.tick()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        f"{done} of 1,000  {left}" for done, left in ((31, "16 min left"), (61, "16 min left"), (91, "15 min left"))
    ]
    observer(STEP | {"kind": "epoch", "step": 101, "eval_loss": 1.0, "eval_split": "validation"})
    assert capsys.readouterr().out.startswith("epoch   1  loss 0.5000")
    for _ in range(29):  # after the line of the epoch too
        clock.now += 1
        observer.tick()
    assert capsys.readouterr().out == ""
    clock.now += 1
    observer.tick()
    assert capsys.readouterr().out.startswith(
        "epoch 1  131 of 1,000  loss 0.5000 accuracy 25.00%  1,234 images/s  14 min"
    )


def test_a_run_that_goes_on_counts_from_where_it_was(clock, capsys):
    with observing(100, done=50) as observer:
        observer.tick()
        for _ in range(35):
            clock.now += 1
            observer.tick()
    assert capsys.readouterr().out == "epoch -  81 of 100  19 s left\n"


def test_progress_beside_results_is_on_stderr(clock, capsys):
    with working("images", 10) as work:
        clock.now += 31
        work.advance(4)
        clock.now += 100
        work.advance(6)  # at the end there is nothing to say
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "images  4 of 10  46 s left\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (59.7, "1 min"), (3599, "1 h 00 min"), (5400, "1 h 30 min"), (260000, "3 days")],
)
def test_times_in_words(seconds, text):
    assert duration(seconds) == text
