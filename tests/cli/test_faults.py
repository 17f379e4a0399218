"""Whatever happens to a run from outside, nothing is lost, and one sentence says what happened."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import models, training

# everything at once that a checkpoint must hold; a checkpoint after every step, so that most moments are within one
SETTINGS = (
    "--epochs 2 --batch-size 48 --log-every 1 --checkpoint-every 1 --keep-checkpoints 3 --augment pad_crop=2 mixup "
    "--ema-decay 0.9 --accumulate 2 --freeze dense/0/bias --optimizer sgd --clip-norm 1"
).split()
STEPS = 2 * (1438 // 48)
SPEED = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "host_memory"}


def rows(folder) -> list[dict]:
    found = training.read_log(folder / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in SPEED} for row in found]


def parameters(folder) -> dict:
    model = models.create("mlp", hidden=(8,), rngs=nnx.Rngs(9))
    training.restore_model(model, folder)
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model))}


def assert_same_run(found, expected) -> None:
    assert rows(found) == rows(expected)
    a, b = parameters(found), parameters(expected)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], strict=True, err_msg=str(path))


@pytest.fixture(scope="module")
def whole(jaxcnn, tiny, tmp_path_factory):
    """The folder of the run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert jaxcnn("train", *tiny, *SETTINGS, "--out", folder).status == 0
    assert len(rows(folder)) == STEPS
    return folder


def kill_and_resume(spawn, tiny, folder, kills: int, seed: int) -> int:
    """Kills a run again and again, at random moments after its first step; returns how many kills met it alive."""
    moments, met = random.Random(seed), 0
    command = ("train", *tiny, *SETTINGS, "--out", folder)
    for number in range(kills + 1):
        resume = ("--resume",) if (folder / "config.json").exists() else ()
        process = spawn(*command, *resume, cwd=folder.parent)
        if number == kills:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
            return met
        before = len(rows(folder))
        while process.poll() is None and len(rows(folder)) in (0, before):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.25))
        met += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return met


@pytest.mark.slow  # test_signals has a kill at one moment
def test_kills_at_random_moments_lose_nothing(spawn, tiny, whole, tmp_path):
    assert kill_and_resume(spawn, tiny, tmp_path / "run", 2, seed=1) > 0
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_nothing(spawn, tiny, whole, tmp_path):
    met = sum(kill_and_resume(spawn, tiny, tmp_path / str(number), 4, seed=number) for number in range(5))
    assert met >= 10
    for number in range(5):
        assert_same_run(tmp_path / str(number), whole)


def cut_short(file) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, os.remove], ids=["truncated", "flipped", "removed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(jaxcnn, tiny, whole, tmp_path, damage):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "evaluation.json").unlink()
    newest = folder / "checkpoints" / str(STEPS)
    damage(max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size))
    found = jaxcnn("train", *tiny, *SETTINGS, "--out", folder, "--resume")
    assert found.status == 0, found.err
    assert found.err.startswith(f"jaxcnn: checkpoint {STEPS} in {folder / 'checkpoints'} is damaged (")
    assert found.err.count("\n") == 1
    assert_same_run(folder, whole)
    assert (folder / "damaged" / str(STEPS)).is_dir(), "kept, to be looked at"
    assert (folder / "evaluation.json").exists()


def test_where_all_checkpoints_are_damaged_nothing_is_made_up(jaxcnn, tiny, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    for file in (folder / "checkpoints").rglob("*"):
        if file.is_file():
            cut_short(file)
    found = jaxcnn("train", *tiny, *SETTINGS, "--out", folder, "--resume")
    assert found.status == 2
    assert "must hold an undamaged checkpoint; all of" in found.err.splitlines()[-1]


def test_another_configuration_needs_force(jaxcnn, tiny, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    command = ("train", *tiny, *SETTINGS, "--out", folder, "--resume", "--epochs", "3", "--learning-rate", "0.001")
    refused = jaxcnn(*command)
    assert refused.status == 2
    assert "training.epochs was 2, now 3, training.learning_rate was 0.002, now 0.001." in refused.err
    assert jaxcnn(*command, "--force").status == 0
    assert rows(folder)[-1]["epoch"] == 3
    assert json.loads((folder / "config.json").read_text())["training"]["epochs"] == 3


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_ends_the_run_with_the_last_good_checkpoint_intact(spawn, tiny, small_disk):
    folder = small_disk / "run"
    settings = "--epochs 40 --batch-size 48 --log-every 10 --checkpoint-every 20 --keep-checkpoints 1000".split()
    process = spawn("train", *tiny, *settings, "--out", folder, cwd=small_disk)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2, out + err
    assert err.startswith("jaxcnn: ") and err.count("\n") == 1, err
    assert "No space left on device" in err and str(folder) in err
    assert parameters(folder), "the last good checkpoint can be read"


def pictures(root, count: int = 12) -> None:
    noise = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("one", "two"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:02}.jpg")


def test_a_corrupt_picture_stops_the_run_before_it_begins_or_is_counted(jaxcnn, tiny, tmp_path):
    pictures(tmp_path / "data")
    broken = tmp_path / "data" / "train" / "one" / "03.jpg"
    cut_short(broken)
    command = ("train", *tiny, "--data", f"folder:{tmp_path / 'data'}", "--epochs", "1", "--batch-size", "4")
    refused = jaxcnn(*command, "--out", tmp_path / "run")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert str(broken) in refused.err and "1 of 24" in refused.err and "--skip-corrupt" in refused.err
    assert not (tmp_path / "run").exists()
    found = jaxcnn(*command, "--out", tmp_path / "run", "--skip-corrupt")
    assert found.status == 0, found.err
    assert f"1 damaged training pictures were left out, the first is {broken}" in found.out


def test_a_picture_that_vanishes_is_named_and_the_checkpoint_stays(jaxcnn, tiny, tmp_path, monkeypatch):
    pytest.importorskip("grain")
    pictures(tmp_path / "data")
    gone = tmp_path / "data" / "train" / "two" / "05.jpg"
    fit = training.fit

    def later(*args, observer, **options):
        def observe(row):
            observer(row)
            with contextlib.suppress(FileNotFoundError):  # after the first epoch
                gone.unlink()

        return fit(*args, observer=observe, **options)

    monkeypatch.setattr(training, "fit", later)
    command = ("train", *tiny, "--data", f"folder:{tmp_path / 'data'}", "--epochs", "50", "--batch-size", "4")
    found = jaxcnn(*command, "--stream", "True", "--out", tmp_path / "run")
    assert found.status == 2 and found.err.count("\n") == 1, found.err
    assert str(gone) in found.err
    assert any(path.name.isdigit() for path in (tmp_path / "run" / "checkpoints").iterdir())


def test_a_loss_that_is_no_number_ends_the_run(jaxcnn, tiny, tmp_path):
    command = (
        "train",
        *tiny,
        "--epochs",
        "3",
        "--batch-size",
        "48",
        "--checkpoint-every",
        "5",
        "--out",
        tmp_path / "run",
    )
    found = jaxcnn(*command, "--optimizer", "sgd", "--learning-rate", "1e38", "--schedule", "constant")
    assert found.status == 2 and found.err.count("\n") == 1
    assert "must be finite" in found.err and "at step" in found.err
