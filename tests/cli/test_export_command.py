"""`jaxcnn export`: a file, what it is worth, and three lines that run it."""

import re

import numpy as np
import pytest

from jaxcnn import data


def lines_of(outcome):
    """The Python that was printed, and what it prints."""
    code = outcome.out.partition("run it:\n")[2]
    return "\n".join(line.strip() for line in code.splitlines())


def test_a_run_becomes_a_file_that_the_printed_lines_run(jaxcnn, trained, tmp_path, capsys):
    out = tmp_path / "net.stablehlo"
    outcome = jaxcnn("export", trained[0], out)
    assert (outcome.status, outcome.err) == (0, "")
    told = rf"{re.escape(str(out))}: {out.stat().st_size:,} bytes, gives probabilities, "
    assert re.match(told + r"differs from the network by at most \d\.\de-\d\d\n", outcome.out)
    space = {}
    exec(lines_of(outcome), space)
    capsys.readouterr()
    images = data.load("digits", "test").images[:20]
    found = np.asarray(space["network"].call(images))
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert (tmp_path / "net.stablehlo.json").exists()


def test_bytes_tell_what_they_cost(jaxcnn, trained, tmp_path):
    outcome = jaxcnn("export", trained[0], tmp_path / "net.stablehlo", "--weights", "int8", "--classes-only")
    assert (outcome.status, outcome.err) == (0, "")
    assert "gives classes" in outcome.out
    line = r"^accuracy on digits test: (\S+) % with float weights, (\S+) % with int8 \(([+-]\S+)\)$"
    before, after, change = map(float, re.search(line, outcome.out, flags=re.MULTILINE).groups())
    assert change == pytest.approx(after - before, abs=0.011) and before > 50


def test_a_run_becomes_an_onnx_file(jaxcnn, trained, tmp_path, capsys):
    pytest.importorskip("jax2onnx")
    outcome = jaxcnn("export", trained[0], tmp_path / "net.onnx", "--fold-batch-norm")
    assert (outcome.status, outcome.err) == (0, "")
    exec(lines_of(outcome), {})
    assert capsys.readouterr().out.startswith("[[")


def test_another_ending_is_refused(jaxcnn, trained, tmp_path):
    outcome = jaxcnn("export", trained[0], tmp_path / "net.pb")
    message = f"`out` must end in .stablehlo or .onnx; got {tmp_path / 'net.pb'}."
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"jaxcnn: {message}\n")
    assert not list(tmp_path.iterdir())


def test_a_file_may_take_pictures_of_any_size(jaxcnn, trained, tmp_path, capsys):
    outcome = jaxcnn("export", trained[0], tmp_path / "net.stablehlo", "--with-preprocessing")
    assert (outcome.status, outcome.err) == (0, "")
    code = "\n".join(line.strip() for line in outcome.out.partition("any size:\n")[2].splitlines())
    exec(code, space := {})
    assert "(1, 480, 480, 1)" in code and capsys.readouterr().out
    digit = data.load("digits", "test").images[:1]
    for times in (1, 2, 3):
        large = digit.repeat(times, 1).repeat(times, 2)
        found = np.asarray(space["network"].call(large))
        assert found.argmax() == np.asarray(space["network"].call(digit)).argmax()
