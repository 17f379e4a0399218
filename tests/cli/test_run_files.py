"""What a run writes: by one trainer at a time, and with one sentence where a disk is full."""

import contextlib
import errno
import io
import os
import platform
import re
import time
from pathlib import Path

import pytest

from jaxcnn import training
from jaxcnn.cli import main

SHORT = "--epochs 2 --batch-size 200 --log-every 1 --checkpoint-every 3".split()
FULL = Path("/dev/full")  # takes nothing, as a full disk
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs the /dev/full of Linux")


def steps(folder) -> list[int]:
    return [row["step"] for row in training.read_log(folder / "metrics.jsonl")]


def test_two_trainers_on_one_folder(spawn, jaxcnn, tiny, tmp_path):
    """The second is refused, readers are not; a killed one leaves the folder free."""
    pytest.importorskip("fcntl")
    folder, train = tmp_path / "run", ("train", *tiny, *SHORT, "--epochs", "3000", "--checkpoint-every", "50")
    process = spawn(*train, "--out", folder, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not any(path.name.isdigit() for path in (folder / "checkpoints").glob("*")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.01)
        second = jaxcnn(*train, "--out", folder, "--resume")
        rule = f"{folder} must be trained in by one process at a time"
        assert second.err == f"jaxcnn: {rule}; process {process.pid} on {platform.node()} does so now.\n"
        assert second.status == 2
        read = jaxcnn("eval", folder)
        assert (read.status, read.err) == (0, "") and "accuracy" in read.out
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    seen = steps(folder)
    assert seen == list(range(1, len(seen) + 1)), "the rows of one run"
    found = jaxcnn(*train, "--out", folder, "--resume", "--force", "--epochs", "1")
    assert found.status == 0, found.err


@needs_full
@pytest.mark.parametrize(("name", "what"), [("report.html", "report"), ("evaluation.json", "result")])
def test_a_full_disk_at_the_end(jaxcnn, tiny, tmp_path, name, what):
    (tmp_path / f"{name}.draft").symlink_to(FULL)
    found = jaxcnn("train", *tiny, *SHORT, "--out", tmp_path)
    why = f"No space left on device, the last good checkpoint is step 14 in {tmp_path}."
    assert (found.status, found.err) == (2, f"jaxcnn: {tmp_path / name} must take the {what}; {why}\n")
    assert jaxcnn("train", *tiny, *SHORT, "--out", tmp_path, "--resume").status == 0
    assert (tmp_path / name).exists()


@needs_full
def test_a_full_disk_behind_the_standard_output(capsys):
    with FULL.open("w") as full, contextlib.redirect_stdout(full):
        assert main(["recipes"]) == 2
    assert capsys.readouterr().err == "jaxcnn: the standard output: No space left on device.\n"


class Filling(io.StringIO):
    """A standard output on a disk that is full once an epoch has passed."""

    def write(self, text: str) -> int:
        if text.startswith("epoch"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_run_whose_output_finds_no_room_tells_where_to_go_on(jaxcnn, tiny, tmp_path, capsys):
    command = ("train", *tiny, *SHORT, "--out", tmp_path / "run")
    with contextlib.redirect_stdout(Filling()):
        assert main([str(word) for word in command]) == 2
    why = r"No space left on device, the last good checkpoint is step [36] in \S+/run\."
    assert re.fullmatch(f"jaxcnn: the standard output must take a line; {why}\n", capsys.readouterr().err)
    assert jaxcnn(*command, "--resume").status == 0


@needs_full
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--out", "answers.csv", "picture.png"),
        ("features", "--at", "pool2", "--out", "features.npz"),
        ("features", "--at", "pool2", "--out", "features.csv"),
        ("check", "--op", "sigmoid", "--jobs", "1", "--json", "found.json"),
    ],
    ids=lambda command: "-".join(command[:5:4]),
)
def test_what_other_commands_write_is_named(jaxcnn, trained, alone, command):
    from PIL import Image

    Image.new("L", (8, 8)).save("picture.png")
    name = next(word for word in command if word.split(".")[-1] in ("csv", "npz", "json"))
    for draft in (f"{name}.draft", f".{name}.part"):
        Path(draft).symlink_to(FULL)
    first, *rest = command
    run = () if first == "check" else (trained[0],)
    found = jaxcnn(first, *run, *rest)
    assert (found.status, found.err) == (2, f"jaxcnn: {name}: No space left on device.\n")
