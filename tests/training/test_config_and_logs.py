"""Optimizers resume to the bit, kills in any epoch are mended, and what diverges leaves a finite checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, models, training
from jaxcnn.cli.runs import open_run


def arrays(model) -> dict:
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model))}


def assert_same_bits(found, expected):
    a, b = arrays(found), arrays(expected)
    assert a.keys() == b.keys() and a
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], strict=True, err_msg=str(path))


def timeless(folder) -> list[dict]:
    speed = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "host_memory"}
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key not in speed} for row in rows]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam", "schedule": "constant"},
        {"optimizer": "adamw", "warmup_steps": 6, "label_smoothing": 0.1},
        {"optimizer": "muon", "schedule": "one_cycle", "clip_norm": 1.0},
        {"optimizer": "lars", "schedule": "step", "nesterov": False},
        {"optimizer": "adadelta", "decay_all": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_optimizer_resumes_within_an_epoch_to_the_same_bits(tmp_path, options):
    train = data.load("digits").take(40)
    config = training.TrainConfig(epochs=2, batch_size=8, learning_rate=0.01, log_every=2, **options)

    def sit(name, steps=99, resume=False):
        model = models.create("mlp", hidden=(8,), rngs=nnx.Rngs(0))
        asked = iter(range(1, 100))
        training.fit(
            model,
            train,
            train,
            config,
            folder=tmp_path / name,
            resume=resume,
            observer=None,
            should_stop=lambda: next(asked) == steps,
        )
        return model

    whole = sit("whole")
    sit("cut", steps=3)
    assert_same_bits(sit("cut", resume=True), whole)
    found = [row for row in timeless(tmp_path / "cut") if row["step"] != 3]  # a stop writes a row of its own
    assert found == timeless(tmp_path / "whole")


def test_a_network_that_diverges_names_the_step_and_leaves_a_finite_checkpoint(tmp_path):
    train = data.load("digits").take(64)
    config = training.TrainConfig(
        epochs=30, batch_size=8, optimizer="sgd", learning_rate=1e6, checkpoint_every=1, log_every=1
    )
    with pytest.raises(training.NonFiniteError) as caught:
        training.fit(models.LeNet5(rngs=nnx.Rngs(0)), train, None, config, folder=tmp_path, observer=None)
    good = timeless(tmp_path)[-1]["step"]
    assert f"at step {good + 1}" in str(caught.value) and f"step {good} in {tmp_path}" in str(caught.value)
    restored = models.LeNet5(rngs=nnx.Rngs(1))
    training.restore_model(restored, tmp_path)
    assert all(np.isfinite(array).all() for array in arrays(restored).values())


def start(folder, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "jaxcnn", "train", "--epochs", "4", "--checkpoint-every", "9", "--log-every", "3"]
    return subprocess.Popen(
        [*command, "--out", str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled")},
    )


def finish(process: subprocess.Popen) -> int:
    out, _ = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), out
    return process.returncode


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_bits_and_the_log_of_a_whole_one(tmp_path):
    """Killed within the first and within the third of four epochs of 22 steps."""
    assert finish(start(tmp_path / "whole")) == 0
    for step, more in ((12, ()), (54, ("--resume",))):
        process = start(tmp_path / "cut", *more)
        deadline = time.monotonic() + 120
        while not any(row["step"] >= step for row in training.read_log(tmp_path / "cut" / "metrics.jsonl")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.005)
        process.kill()
        assert finish(process) == -signal.SIGKILL
    assert finish(start(tmp_path / "cut", "--resume")) == 0
    assert_same_bits(open_run(tmp_path / "cut").model, open_run(tmp_path / "whole").model)
    assert timeless(tmp_path / "cut") == timeless(tmp_path / "whole")
    assert timeless(tmp_path / "whole")[-1]["step"] == 4 * 22
