"""`eval`, `models`, `doctor` and the help: the answers of a run and of the installation."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest

from jaxcnn import models, training
from jaxcnn.ops import native


def test_eval_repeats_the_result_of_the_training(jaxcnn, trained):
    folder, _ = trained
    found = json.loads((folder / "evaluation.json").read_text())
    right = round(found["accuracy"] * 180)
    outcome = jaxcnn("eval", folder)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(
        f"digits test: accuracy {right / 1.8:.2f} % ({right} of 180), "
        f"error {100 - right / 1.8:.2f} %, top-5 {100 * found['top5_accuracy']:.2f} %, loss {found['loss']:.4f}\n"
    )


def test_eval_takes_another_split(jaxcnn, trained):
    (row,) = training.read_log(trained[0] / "metrics.jsonl")
    outcome = jaxcnn("eval", trained[0], "--split", "validation")
    assert outcome.status == 0
    assert outcome.out.startswith(f"digits validation: accuracy {100 * row['eval_accuracy']:.2f} % (")
    assert outcome.out.partition("\n")[0].endswith(f"loss {row['eval_loss']:.4f}")


def test_a_run_may_move_to_another_place_and_another_machine(spawn, alone, trained):
    """Trained with four devices, asked about with one."""
    shutil.copytree(trained[0], alone / "moved")
    process = spawn("eval", "moved", cwd=alone)
    out, err = process.communicate(timeout=60)
    found = json.loads((trained[0] / "evaluation.json").read_text())
    assert (process.returncode, err) == (0, "")
    assert out.startswith(f"digits test: accuracy {100 * found['accuracy']:.2f} % (")


def test_models_lists_every_network_with_its_size(jaxcnn):
    outcome = jaxcnn("models")
    assert (outcome.status, outcome.err) == (0, "")
    blocks = [block.splitlines() for block in outcome.out.split("\n\n")]
    networks = {}
    for heading, *block in blocks[1:]:
        rows = [line for line in block if not line.startswith("  ")]
        networks |= {line.split()[0]: (heading, *line.split()[1:4]) for line in rows}
    assert blocks[0][0].split()[:3] == ["name", "parameters", "multiply-adds"]
    assert set(networks) == set(models.MODELS)
    assert networks["lenet5"][1:] == ("61,706", "417", "k")
    residual = "He et al. 2016, Deep residual learning for image recognition; input 224x224x3"
    assert networks["resnet50"] == (residual, "25,557,032", "4.09", "G")
    order = list(networks)
    assert order[0] == "lecun1989" and order.index("resnet18") < order.index("resnet101")


FEW = ("lenet5_1998", "alexnet_torchvision", "vgg11", "resnet20")  # to build all takes half a minute


@pytest.mark.parametrize("width", [80, 120])
def test_models_fits_the_terminal(jaxcnn, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(models, "MODELS", {name: models.MODELS[name] for name in FEW})
    lines = jaxcnn("models").out.splitlines()
    assert max(map(len, lines)) <= width
    starts = [line.index(word) for line in lines for word in re.findall(r"(?:ImageNet|CIFAR-10|MNIST) .*error", line)]
    assert len(starts) == 3 and len(set(starts)) == 1, "the results stand below each other"
    alone = [line.strip() for line in lines if line.startswith(" " * 40)]
    assert alone == (["one scale, dense"] if width == 80 else []), "what does not fit goes on below"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_models_fits_a_terminal_that_tells_its_width_itself(alone):
    import fcntl
    import pty
    import struct
    import termios

    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    code = f"""
from jaxcnn import models
from jaxcnn.cli import main

models.MODELS = {{name: models.MODELS[name] for name in {FEW}}}
raise SystemExit(main(["models"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=inner, env=environment) as process:
        os.close(inner)
        text = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while part := os.read(outer, 4096):
                text += part
    os.close(outer)
    widest = max(map(len, text.decode().splitlines()))
    assert process.returncode == 0 and 80 < widest <= 100, "the width of the terminal is used"


def test_doctor_tells_versions_and_devices(jaxcnn):
    outcome = jaxcnn("doctor")
    assert (outcome.status, outcome.err) == (0, "")
    for name in ("jaxcnn", "jax", "jaxlib", "flax", "numpy"):
        assert re.search(rf"^  {name} +{re.escape(metadata.version(name))}$", outcome.out, flags=re.MULTILINE), name
    assert "devices of the default backend, cpu:" in outcome.out
    assert outcome.out.count("  cpu\n") == 4, "the tests run with four devices"
    assert re.search(r"depthwise .* jax \d", outcome.out), "how convolutions are computed here"


def test_doctor_tells_what_is_missing_and_how_to_add_it(jaxcnn, monkeypatch):
    def version(name, original=metadata.version):
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return original(name)

    monkeypatch.setattr(metadata, "version", version)
    assert re.search(r"torch +missing: pip install 'jaxcnn\[torch\]'", jaxcnn("doctor").out)


def test_doctor_tells_whether_the_backend_is_active(jaxcnn):
    assert f"\nfast convolutions, pools and norms on CPU: {native.reason()}\n" in jaxcnn("doctor").out


def test_help_is_status_0_in_a_process_of_its_own(spawn, alone):
    process = spawn("--help", cwd=alone)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    for command in ("train", "eval", "predict", "models", "doctor"):
        assert re.search(rf"^.*\b{command}\b", out, flags=re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["predict", "-h"]], ids=str)
def test_help_leaves_with_status_0(jaxcnn, arguments, capsys):
    from jaxcnn.cli import main

    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert not caught.value.code
    out, err = capsys.readouterr()
    assert out.startswith("usage: jaxcnn") and err == ""


def test_the_help_of_train_tells_what_a_flag_and_its_opposite_do(capsys):
    from jaxcnn.cli import main

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = " ".join(re.sub("[│╭╮╰╯─]", "", capsys.readouterr().out).split())
    assert "--nesterov, --no-nesterov `--nesterov` gives `sgd` and `lars` Nesterov's momentum; `--no-nesterov`" in out
    assert "--resume Continue" in out, "a flag that nothing turns on has no opposite"


@pytest.mark.parametrize(("flags", "found"), [([], True), (["--no-nesterov"], False), (["--nesterov"], True)], ids=str)
def test_a_flag_and_its_opposite_are_taken(flags, found):
    from jaxcnn.cli.main import _parse

    assert _parse(["train", *flags]).config.nesterov is found
    recipe = _parse(["train", "--recipe", "krizhevsky2012", *flags])
    assert recipe.config.nesterov is (found if flags else False)


def test_the_help_of_train_tells_every_setting_and_its_default(capsys):
    from jaxcnn.cli import main

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    for name, value in (("epochs", "20"), ("batch-size", "64"), ("seed", "0"), ("warmup-steps", "0")):
        assert re.search(rf"--{name} \S+[^-]*?\(default: {value}\)", out), name
