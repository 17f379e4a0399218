"""`jaxcnn check` proves every op. Alone here: the page "Add an op" runs all other tests of the command."""

import pytest


@pytest.mark.slow  # ten minutes
def test_the_command_proves_every_op(spawn, tmp_path):
    process = spawn("check", cwd=tmp_path)
    out, err = process.communicate(timeout=3000)
    assert process.returncode == 0, out
    assert "FAILED" not in out and not err
