"""One process trains in a folder at a time; whoever reads it is not held up, and a dead process holds nothing."""

import errno
import os
import platform
import signal
import subprocess
import sys
import threading

import pytest
from flax import nnx

from jaxcnn import training
from jaxcnn.training import lock

CONFIG = training.TrainConfig(epochs=2, batch_size=6, log_every=1, checkpoint_every=2)
THIS = f"process {os.getpid()} on {platform.node()}"


def sit(small, folder, **options):
    options = {"observer": None} | options
    return training.fit(small.Linear(nnx.Rngs(0)), small.noise(20), None, CONFIG, folder=folder, **options)


def steps(folder) -> list[int]:
    return [row["step"] for row in training.read_log(folder / "metrics.jsonl")]


def at_step(step: int, act):
    def observe(row):
        if row["step"] == step:
            act()

    return observe


@pytest.mark.parametrize("options", [{"resume": True}, {"resume": True, "force": True}, {}], ids=str)
def test_a_second_run_in_a_folder_is_refused_while_the_first_goes_on(small, tmp_path, options):
    told = []

    def second():
        if not options:
            (tmp_path / "config.json").rename(tmp_path / "kept")  # as if the first were about to write it
            (tmp_path / "metrics.jsonl").rename(tmp_path / "log")
            (tmp_path / "checkpoints").rename(tmp_path / "there")
        try:
            sit(small, tmp_path, **options)
        except RuntimeError as error:
            told.append(str(error))
        if not options:
            (tmp_path / "kept").rename(tmp_path / "config.json")
            (tmp_path / "log").rename(tmp_path / "metrics.jsonl")
            (tmp_path / "there").rename(tmp_path / "checkpoints")

    sit(small, tmp_path, observer=at_step(1, second))
    assert told == [f"{tmp_path} must be trained in by one process at a time; {THIS} does so now."]
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_a_run_in_another_thread_is_refused_too(small, tmp_path):
    told = []

    def second():
        with pytest.raises(RuntimeError) as caught:
            sit(small, tmp_path, resume=True)
        told.append(str(caught.value))

    def in_a_thread():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    sit(small, tmp_path, observer=at_step(3, in_a_thread))
    assert len(told) == 1 and THIS in told[0]


def test_the_lock_ends_with_the_run_however_that_ends(small, tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sit(small, tmp_path, observer=at_step(3, fail))
    with pytest.raises(ValueError, match="already holds a run"):
        sit(small, tmp_path)
    (tmp_path / "metrics.jsonl").write_text("[]\n\n{}\n")
    with pytest.raises(ValueError, match="line 1 of"):
        sit(small, tmp_path, resume=True)
    (tmp_path / "metrics.jsonl").unlink()
    assert sit(small, tmp_path, resume=True).steps == 6
    assert (tmp_path / ".lock").read_text() == ""


def test_reading_goes_on_while_a_run_trains(small, tmp_path):
    found = []

    def read():
        training.restore_model(small.Linear(nnx.Rngs(1)), tmp_path)
        found.append((training.read_description(tmp_path)["training"]["epochs"], steps(tmp_path)))

    sit(small, tmp_path, observer=at_step(5, read))
    assert found == [(2, [1, 2, 3, 4, 5])]


HOLDER = """
import os, pathlib, sys, time, warnings
warnings.simplefilter("ignore")  # JAX warns of any fork
from jaxcnn.training.lock import FolderLock
held = FolderLock(pathlib.Path(sys.argv[1]))
child = os.fork() if sys.argv[2] == "fork" else 1
if not child:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(lock.fcntl is None, reason="needs flock")
@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_another_process_is_named_and_holds_nothing_once_it_is_dead(small, tmp_path, kind):
    """A worker that it forked may live on, with a copy of what was open."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(RuntimeError) as caught:
            sit(small, tmp_path)
        assert f"; process {process.pid} on {platform.node()} does so now." in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        process.kill()
        process.wait()
        if kind == "fork":
            os.kill(child, 0)  # it lives
        assert sit(small, tmp_path).steps == 6
    finally:
        if kind == "fork":
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_of_a_holder_that_died_nothing_is_left_in_the_name(tmp_path):
    (tmp_path / ".lock").write_text("process 4194304 on a host of a much longer name than any other of them all\n")
    held = lock.FolderLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"{THIS}\n"
    held.release()


def test_without_a_name_on_a_full_disk_the_lock_holds_as_well(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        held = lock.FolderLock(tmp_path)
    with pytest.raises(RuntimeError, match="; another process does so now."):
        lock.FolderLock(tmp_path)
    held.release()
    held.release()
    lock.FolderLock(tmp_path).release()


def test_a_forked_process_closes_no_file_that_came_after_a_lock(tmp_path):
    """The system gives the number of a lock that is released to whatever is opened next."""
    held = lock.FolderLock(tmp_path)
    number = held._descriptor
    held.release()
    with open(tmp_path / "next", "wb", buffering=0) as file:
        assert file.fileno() == number
        lock._leave_to_parent()  # what a forked process begins with
        file.write(b"whole")
    assert (tmp_path / "next").read_bytes() == b"whole"


@pytest.mark.parametrize("kind", ["Windows", "a file system"])
def test_where_there_are_no_locks_a_run_says_so_and_goes_on(small, tmp_path, monkeypatch, kind):
    class Without:
        LOCK_EX, LOCK_NB = 2, 4

        def flock(self, *_):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock, "fcntl", None if kind == "Windows" else Without())
    reason = "this system has no flock" if kind == "Windows" else "No locks available"
    told = f"{tmp_path} cannot be locked ({reason}); two runs that train in it would not notice each other."
    with pytest.warns(RuntimeWarning) as caught:
        assert sit(small, tmp_path).steps == 6
    assert [str(warning.message) for warning in caught] == [told]
    assert (tmp_path / ".lock").read_text() == ""
