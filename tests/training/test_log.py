"""The log survives being cut anywhere, and what is no row of it is named."""

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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"kind": "step", "st', "must be JSON; Unterminated string starting at: line 1 column 18 (char 17)."),
        (b"\x00\x00\x00", "must be JSON; Expecting value: line 1 column 1 (char 0)."),
        (b'{"kind": "\xff"}', "must be UTF-8; invalid start byte at byte 11."),
        (b"[1, 2]", "must be a row, which has a `kind` and a `step`; got [1, 2]."),
        (b"7", "must be a row, which has a `kind` and a `step`; got 7."),
        (b"null", "must be a row, which has a `kind` and a `step`; got null."),
        (b'{"kind": "step"}', 'must be a row, which has a `kind` and a `step`; got {"kind": "step"}.'),
        (b'{"kind": 1, "step": 1}', 'must be a row, which has a `kind` and a `step`; got {"kind": 1, "step": 1}.'),
        (b'{"kind": "step", "step": "1"}', "must be a row, which has a `kind` and a `step`; got "),
        (b'{"kind": "step", "step": true}', "must be a row, which has a `kind` and a `step`; got "),
        (b'{"kind": "step", "step": 1.5}', "must be a row, which has a `kind` and a `step`; got "),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, told):
    file = tmp_path / "log"
    first, second, _ = TEXT.encode().split(b"\n")
    file.write_bytes(b"\n".join([first, line, second, b""]))
    with pytest.raises(ValueError) as caught:
        list(training.read_log(file))
    assert str(caught.value).startswith(f"line 2 of {file} {told}")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("line", [b"[1, 2]", b'{"kind": "\xff"}', b'{"kind": "step"}'])
def test_a_last_line_that_was_not_cut_short_is_named_too(tmp_path, line):
    file = tmp_path / "log"
    file.write_bytes(TEXT.encode() + line)
    with pytest.raises(ValueError, match="line 3 of .* must be"):
        list(training.read_log(file))


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_only_a_last_line_that_is_broken_is_left_out(tmp_path, end):
    (tmp_path / "log").write_text(TEXT.replace("\n", "\n\n") + '{"kind": "step", "st' + end)
    assert list(training.read_log(tmp_path / "log")) == ROWS


def test_a_log_is_split_at_line_ends_alone(tmp_path):
    row = {"kind": "step", "step": 1, "note": "a\u2028b\x85c"}
    (tmp_path / "log").write_text(json.dumps(row, ensure_ascii=False) + "\n" + TEXT, encoding="utf-8")
    assert list(training.read_log(tmp_path / "log")) == [row, *ROWS]


def ends():
    """Where each row is complete, its line end not counted."""
    first = len(json.dumps(ROWS[0]))
    return first, first + 1 + len(json.dumps(ROWS[1]))
