"""Runs that are killed, interrupted or ended from outside, in processes of their own."""

import shlex
import signal
import subprocess
import time

import numpy as np
import pytest
from flax import nnx

from jaxcnn import models, training

PATIENCE = 120  # seconds until a process is given up
SETTINGS = "--epochs 1 --batch-size 16 --log-every 1 --checkpoint-every 7".split()
STEPS = 1438 // 16


@pytest.fixture(scope="module")
def whole(spawn, tiny, tmp_path_factory):
    """The folder of the run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    finish(spawn("train", *tiny, *SETTINGS, "--out", "run", cwd=folder))
    return folder / "run"


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:  # what hangs must not outlive its test, in whose process others count their children
        process.kill()
        process.wait()
    return process.returncode, out, err


def rows(folder):
    return list(training.read_log(folder / "metrics.jsonl"))


SPEED = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "host_memory"}


def timeless(folder):
    return [{key: value for key, value in row.items() if key not in SPEED} for row in rows(folder)]


def wait_for_step(process: subprocess.Popen, folder, step: int) -> None:
    """Returns as soon as the log has reached a step."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := rows(folder)) or seen[-1]["step"] < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def parameters(folder) -> dict:
    model = models.create("mlp", hidden=(8,), rngs=nnx.Rngs(9))
    training.restore_model(model, folder)
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model))}


def assert_same_run(found, expected):
    assert timeless(found) == timeless(expected)
    a, b = parameters(found), parameters(expected)
    assert a.keys() == b.keys() and len(a) == 4
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], strict=True, err_msg=str(path))


def test_the_undisturbed_run_is_complete(whole):
    assert [row["step"] for row in rows(whole)] == list(range(1, STEPS + 1))


def test_a_killed_run_is_resumed_to_the_same_bits(spawn, tiny, whole, tmp_path):
    train = ["train", *tiny, *SETTINGS, "--out", "run"]
    process = spawn(*train, cwd=tmp_path)
    wait_for_step(process, tmp_path / "run", 20)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    assert 20 <= rows(tmp_path / "run")[-1]["step"] < STEPS
    assert not (tmp_path / "run" / "evaluation.json").exists()
    status, _, err = finish(spawn(*train, "--resume", cwd=tmp_path))
    assert (status, err) == (0, "")
    assert_same_run(tmp_path / "run", whole)
    assert (tmp_path / "run" / "evaluation.json").read_text() == (whole / "evaluation.json").read_text()


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(spawn, tiny, whole, tmp_path):
    process = spawn("train", *tiny, *SETTINGS, cwd=tmp_path)
    folder = tmp_path / "runs" / "mlp-digits-seed0"
    wait_for_step(process, folder, 20)
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert (status, err) == (130, "")
    step = rows(folder)[-1]["step"]
    assert step < STEPS
    stopped = f"stopped at step {step} with a checkpoint; go on with: "
    last = out.splitlines()[-1]
    assert last.startswith(stopped)
    assert (folder / "checkpoints" / str(step)).is_dir()
    program, *arguments = shlex.split(last.removeprefix(stopped))
    assert program == "jaxcnn" and "--resume" in arguments
    status, out, err = finish(spawn(*arguments, cwd=tmp_path))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "report runs/mlp-digits-seed0/report.html"
    assert_same_run(folder, whole)


def test_a_polite_end_saves_too(spawn, tiny, tmp_path):
    process = spawn("train", *tiny, *SETTINGS, "--out", "run", cwd=tmp_path)
    wait_for_step(process, tmp_path / "run", 10)
    process.send_signal(signal.SIGTERM)
    status, out, err = finish(process)
    assert (status, err) == (0, "")
    step = rows(tmp_path / "run")[-1]["step"]
    command = out.splitlines()[-1].removeprefix(f"stopped at step {step} with a checkpoint; go on with: jaxcnn ")
    assert shlex.split(command) == ["train", *tiny, *SETTINGS, "--out", "run", "--resume"]


def test_ctrl_c_before_the_first_step_is_one_line(spawn, tiny, tmp_path):
    """Twice in a row, as impatient people do: whatever was under way, there is no traceback."""
    process = spawn("train", *tiny, *SETTINGS, "--epochs", "100", "--out", "run", cwd=tmp_path)
    assert process.stdout.readline().startswith("training mlp") or process.poll() is None
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status == 130
    assert "Traceback" not in err and err.count("\n") <= 1
