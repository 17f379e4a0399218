"""`eval`, `models`, `doctor` and the help: the answers of a run and of the installation."""

import json
import re
import shutil
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
    assert outcome.out == (
        f"digits test: accuracy {right / 1.8:.2f} % ({right} of 180), "
        f"error {100 - right / 1.8:.2f} %, top-5 {100 * found['top5_accuracy']:.2f} %, loss {found['loss']:.4f}\n"
    )


def test_eval_takes_another_split(jaxcnn, trained):
    (row,) = training.read_log(trained[0] / "metrics.jsonl")
    outcome = jaxcnn("eval", trained[0], "--split", "validation")
    assert outcome.status == 0
    assert outcome.out.startswith(f"digits validation: accuracy {100 * row['eval_accuracy']:.2f} % (")
    assert outcome.out.endswith(f"loss {row['eval_loss']:.4f}\n")


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
    lines = {line.split()[0]: line.split() for line in outcome.out.splitlines() if not line.startswith("    ")}
    assert set(lines) == {"name", *models.MODELS}
    assert lines["lenet5"][1:5] == ["28x28x1", "61,706", "417", "k"]
    assert lines["resnet50"][1:5] == ["224x224x3", "25,557,032", "4.09", "G"]
    assert list(lines)[1] == "lecun1989" and list(lines).index("resnet18") < list(lines).index("resnet101")


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


def test_the_help_of_train_tells_every_setting_and_its_default(capsys):
    from jaxcnn.cli import main

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    for name, value in (("epochs", "20"), ("batch-size", "64"), ("seed", "0"), ("warmup-steps", "0")):
        assert re.search(rf"--{name} \S+[^-]*?\(default: {value}\)", out), name
