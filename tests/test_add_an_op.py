"""What the page "Add an op" shows works as it is shown: done in a copy, step by step."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|diff|console)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def patched(text: str, diff: str) -> str:
    """The text with one part replaced, which must be there once."""
    before = "".join(line[1:] for line in diff.splitlines(True) if line[0] != "+")
    after = "".join(line[1:] for line in diff.splitlines(True) if line[0] != "-")
    assert text.count(before) == 1, before
    return text.replace(before, after)


@pytest.fixture
def copy(tmp_path):
    for name in ("jaxcnn", "experiments", "tests", "docs", "colab"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():  # the pages link to some of them
            shutil.copy(file, tmp_path)
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess:
    program, *arguments = shlex.split(line)
    module = {"jaxcnn": "jaxcnn", "pytest": "pytest"}[program]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_every_step_works(copy):
    commands = []
    for kind, path, body in BLOCK.findall((ROOT / "docs" / "add_an_op.md").read_text()):
        if kind == "console":
            commands += [line for line in body.splitlines() if line.startswith(("jaxcnn check", "pytest"))]
        elif kind == "python":
            (copy / path).write_text(body)
        else:
            (copy / path).write_text(patched((copy / path).read_text(), body))
    assert len(commands) == 4
    for line in dict.fromkeys(commands):
        done = run(line, copy)
        assert done.returncode == 0, (line, done.stdout[-3000:], done.stderr[-3000:])
        assert "proven" in done.stdout or "passed" in done.stdout


@pytest.mark.slow
def test_a_forgotten_step_is_told(copy):
    """The name is exported, and nothing else done."""
    page = (ROOT / "docs" / "add_an_op.md").read_text()
    blocks = [(kind, path, body) for kind, path, body in BLOCK.findall(page) if path][:3]
    for kind, path, body in blocks:
        text = body if kind == "python" else patched((copy / path).read_text(), body)
        (copy / path).write_text(text.replace("    Example:\n", "    Once:\n"))
    tests = "tests/cli/test_check_command.py tests/ops/test_examples.py tests/experiments/test_hand_vs_autodiff.py"
    done = run(f"pytest -q -o addopts= {tests} -k 'proven or example or place'", copy)
    assert done.returncode == 1
    for failed in ("test_every_op_is_proven", "test_examples", "test_every_op_has_a_place"):
        assert failed in done.stdout, done.stdout[-3000:]
