"""Files are replaced whole or not at all; what the system refuses ends a run with one sentence."""

import errno
import json
import os
from pathlib import Path

import jax
import pytest
from flax import nnx

from jaxcnn import training
from jaxcnn.training import files

CONFIG = training.TrainConfig(epochs=2, batch_size=6, log_every=1, checkpoint_every=2)
FULL = Path("/dev/full")  # takes nothing, as a full disk
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs the /dev/full of Linux")


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


@needs_full
def test_what_a_full_disk_refuses_is_named_and_leaves_no_draft(tmp_path):
    file = tmp_path / "file"
    training.write_atomically(file, "old")
    (tmp_path / "file.draft").symlink_to(FULL)
    with pytest.raises(OSError) as caught:
        training.write_atomically(file, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(file))
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def raised(error: BaseException) -> str:
    with pytest.raises(type(error) if not files.system_says(error) else training.CheckpointError) as caught:
        with files.writing("here", "it", lambda: "so far"):
            raise error
    return str(caught.value)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_errors_of_the_system_are_told_also_in_the_words_of_a_library():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    told = "here must take it; No space left on device, so far."
    assert raised(full) == raised(caused(ValueError("what Orbax says"), full)) == told
    assert raised(ValueError('RESOURCE_EXHAUSTED: Failed to write: No space left on device [errno="28"]')) == told
    assert (
        raised(PermissionError(errno.EACCES, "Permission denied", "x"))
        == "here must take it; Permission denied, so far."
    )
    assert raised(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")).startswith("here must take it; Cannot")
    assert raised(ValueError("something else")) == "something else"
    assert raised(training.CheckpointError("said already.")) == "said already."


def sit(small, folder, **options):
    options = {"observer": None} | options
    return training.fit(
        small.Linear(nnx.Rngs(0)), small.noise(20), small.noise(7, "test"), CONFIG, folder=folder, **options
    )


def fills(file):
    """An observer that lets the disk be full for a file once two steps are done and saved."""

    def observe(row):
        if row["step"] == 3:
            while not (file.parent / "checkpoints" / "2").exists():
                pass
            file.unlink()
            file.symlink_to(FULL)

    return observe


def ended(small, folder, **options) -> str:
    with pytest.raises(training.CheckpointError) as caught:
        sit(small, folder, **options)
    return str(caught.value)


@needs_full
def test_the_configuration(small, tmp_path):
    (tmp_path / "config.json.draft").symlink_to(FULL)
    why = "must take the configuration; No space left on device, no checkpoint was written before."
    assert ended(small, tmp_path) == f"{tmp_path / 'config.json'} {why}"
    assert sit(small, tmp_path).steps == 6


@needs_full
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "metrics.csv"])
def test_what_is_written_anew_on_resume(small, tmp_path, name):
    sit(small, tmp_path, sinks=["csv"])
    before = (tmp_path / name).read_bytes()
    (tmp_path / f"{name}.draft").symlink_to(FULL)
    what = "configuration" if name == "config.json" else "log"
    why = f"must take the {what}; No space left on device, the last good checkpoint is step 6 in {tmp_path}."
    assert ended(small, tmp_path, sinks=["csv"], resume=True) == f"{tmp_path / name} {why}"
    assert (tmp_path / name).read_bytes() == before
    assert sit(small, tmp_path, sinks=["csv"], resume=True).steps == 6


@needs_full
@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv"])
def test_a_row(small, tmp_path, name):
    file = tmp_path / name
    told = ended(small, tmp_path, sinks=["csv"], observer=fills(file))
    last = told.rpartition("step ")[2].partition(" ")[0]
    assert (
        told
        == f"{file} must take a row; No space left on device, the last good checkpoint is step {last} in {tmp_path}."
    )
    assert (tmp_path / "checkpoints" / last).is_dir()
    file.unlink()
    assert sit(small, tmp_path, sinks=["csv"], resume=True).steps == 6


def test_a_row_for_tensorboard(small, tmp_path, monkeypatch):
    writer = pytest.importorskip("tensorboardX").RecordWriter
    write = writer.write

    def full(self, data):
        if b"train/loss" in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(writer, "write", full)
    told = ended(small, tmp_path, sinks=["tensorboard"])
    why = "must take a row; No space left on device, no checkpoint was written before."
    assert told == f"{tmp_path / 'tensorboard'} {why}"


@pytest.mark.parametrize("moment", ["at once", "in the background"])
def test_a_checkpoint(small, tmp_path, monkeypatch, moment):
    import orbax.checkpoint as ocp

    name = "save" if moment == "at once" else "wait_until_finished"
    act, calls = getattr(ocp.CheckpointManager, name), []

    def full(self, *arguments, **options):
        if name == "save":
            calls.append(arguments)
        if len(calls) > 1 or name != "save" and self.all_steps() and max(self.all_steps()) > 2:
            raise ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='ENOSPC']")
        return act(self, *arguments, **options)

    monkeypatch.setattr(ocp.CheckpointManager, name, full)
    told = ended(small, tmp_path)
    last = told.rpartition("step ")[2].partition(" ")[0]
    why = f"must take a checkpoint; No space left on device, the last good checkpoint is step {last} in {tmp_path}."
    assert told == f"{tmp_path / 'checkpoints'} {why}"
    assert (tmp_path / "checkpoints" / last).is_dir()


def test_a_trace(small, tmp_path, monkeypatch):
    stop = jax.profiler.stop_trace

    def full():
        stop()
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: No space left on device")

    monkeypatch.setattr(jax.profiler, "stop_trace", full)
    told = ended(small, tmp_path, profile=1)
    assert told.startswith(
        f"{tmp_path / 'profile'} must take a trace; No space left on device, the last good checkpoint "
    )


def test_a_folder_that_cannot_be_made(small, tmp_path):
    (tmp_path / "file").write_text("x")
    why = "must take a run; Not a directory, no checkpoint was written before."
    assert ended(small, tmp_path / "file" / "run") == f"{tmp_path / 'file' / 'run'} {why}"
    assert ended(small, tmp_path / "file").startswith(f"{tmp_path / 'file'} must take a run; File exists")


def test_after_a_full_disk_the_log_has_no_half_row(small, tmp_path):
    sit(small, tmp_path)
    log = tmp_path / "metrics.jsonl"
    log.write_text(log.read_text()[:-20])
    assert sit(small, tmp_path, resume=True).steps == 6
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5]
