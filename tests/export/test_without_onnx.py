"""Where jax2onnx is not installed."""

import sys

import pytest

from jaxcnn import export


def test_onnx_says_what_is_missing(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(RuntimeError, match=r"`export.onnx` needs jax2onnx: pip install 'jaxcnn\[onnx\]'."):
        export.onnx(digits.model, tmp_path / "net")
    assert not list(tmp_path.iterdir())
