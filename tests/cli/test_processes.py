"""Several processes, each with devices of its own, train as one does."""

import json
import os
import shutil
import signal
import socket
import time

import numpy as np
import pytest

TRAIN = ("train", "lenet5", "--data", "digits", "--batch-size", "64", "--log-every", "10")  # 22 steps an epoch
SHORT, LONG = (*TRAIN, "--epochs", "5"), (*TRAIN, "--epochs", "20")  # the second to be ended before its end


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start_two(spawn, folder, *options, train=LONG):
    """Two processes of two devices."""
    where = ("--coordinator", f"localhost:{free_port()}", "--processes", "2")
    return [
        spawn(*train, *options, "--out", folder, *where, "--process", i, cwd=folder.parent, devices=2) for i in (0, 1)
    ]


def rows(folder) -> list[dict]:
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_checkpoint(folder, processes, step: int) -> None:
    end = time.monotonic() + 300
    while not (folder / "checkpoints" / str(step)).exists():
        assert time.monotonic() < end and all(process.poll() is None for process in processes)
        time.sleep(0.1)


@pytest.mark.slow
def test_two_processes_train_as_one_does(spawn, tmp_path):
    processes = start_two(spawn, tmp_path / "two", train=SHORT)
    told = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert "4 cpu devices of 2 processes" in told[0][0] and "test accuracy" in told[0][0]
    assert "accuracy" not in told[1][0], "only the first process speaks"
    alone = spawn(*SHORT, "--out", tmp_path / "one", cwd=tmp_path)
    alone.communicate(timeout=400)
    assert alone.returncode == 0
    found, expected = (rows(tmp_path / name) for name in ("two", "one"))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for key, tolerance in (("loss", 1e-3), ("gradient_norm", 2e-2)):
        values = [[row[key] for row in some if key in row] for some in (found, expected)]
        np.testing.assert_allclose(*values, rtol=tolerance, err_msg=key)  # float32 rounding, after 110 steps
    two, one = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("two", "one"))
    assert two["count"] == one["count"] == 180
    assert abs(two["accuracy"] - one["accuracy"]) < 1.5 / 180 and one["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jit", "fsdp", "pmap"])
def test_two_processes_with_random_streams_go_on_to_the_same_loss(spawn, tmp_path, kind):
    train = ("train", "allcnn", "--data", "digits", "--epochs", "2", "--batch-size", "64", "--checkpoint-every", "20")
    options = ("--parallel", kind, "--model-options", "widths=4,8", "--ema-decay", "0.9")
    folder, losses = tmp_path / "run", []
    for more in ((), ("--resume",)):
        processes = start_two(spawn, folder, *options, *more, train=train)
        told = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], told
        assert "test accuracy" in told[0][0] and (folder / "report.html").exists()
        losses.append([(row["step"], row["loss"]) for row in rows(folder)])
        newest = max(int(path.name) for path in (folder / "checkpoints").iterdir())
        shutil.rmtree(folder / "checkpoints" / str(newest))  # as if the end had not been reached
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_dies_the_other_ends_and_one_goes_on(spawn, tmp_path, victim):
    folder = tmp_path / "run"
    processes = start_two(spawn, folder, "--checkpoint-every", "20")
    wait_for_checkpoint(folder, processes, 40)
    processes[victim].kill()
    processes[victim].communicate()
    died = time.monotonic()
    out, err = processes[1 - victim].communicate(timeout=120)
    assert time.monotonic() - died < 60
    assert processes[1 - victim].returncode not in (0, None)
    assert "another" in out + err and ("process" in out + err or "task" in out + err), out + err
    kept = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    assert kept >= 40
    alone = spawn(*LONG, "--checkpoint-every", "20", "--out", folder, "--resume", cwd=tmp_path)
    out, err = alone.communicate(timeout=400)
    assert alone.returncode == 0, out + err
    assert [row["step"] for row in rows(folder)] == sorted({*range(10, 441, 10), *range(22, 441, 22)})


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_with_a_checkpoint(spawn, tmp_path):
    folder = tmp_path / "run"
    processes = start_two(spawn, folder, "--checkpoint-every", "20")
    wait_for_checkpoint(folder, processes, 20)
    os.kill(processes[1].pid, signal.SIGTERM)
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert "go on with" in told[0][0]
