"""The log survives being cut anywhere; files are replaced whole or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import training

ROWS = [{"kind": "step", "step": 1, "loss": 0.5}, {"kind": "epoch", "step": 2, "loss": 0.25, "eval_split": "test"}]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)


def test_rows_are_read_in_order(tmp_path):
    (tmp_path / "log").write_text(TEXT)
    assert list(training.read_log(tmp_path / "log")) == ROWS


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_log_has_no_rows(tmp_path, text):
    (tmp_path / "log").write_text(text)
    assert list(training.read_log(tmp_path / "log")) == []


def test_a_missing_log_has_no_rows(tmp_path):
    assert list(training.read_log(tmp_path / "log")) == []


@given(st.integers(0, len(TEXT)))
def test_a_cut_log_gives_exactly_its_whole_rows(tmp_path_factory, length):
    file = tmp_path_factory.mktemp("cut") / "log"
    file.write_text(TEXT[:length])
    whole = [row for row, end in zip(ROWS, ends(), strict=True) if length >= end]
    assert list(training.read_log(file)) == whole


def ends():
    """Where each row is complete, its line end not counted."""
    first = len(json.dumps(ROWS[0]))
    return first, first + 1 + len(json.dumps(ROWS[1]))


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "file"
    training.write_atomically(file, "old")
    training.write_atomically(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_text(tmp_path):
    file = tmp_path / "file"
    training.write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        training.write_atomically(file, "new \ud800")
    assert file.read_text() == "old"
