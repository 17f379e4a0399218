"""`jaxcnn train`: what it leaves in the run folder, and where the folder is."""

import json

import pytest

from jaxcnn import training
from jaxcnn.ops import native


def test_a_run_leaves_everything_that_is_promised(trained):
    folder, outcome = trained
    assert (outcome.status, outcome.err) == (0, "")
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "report.html",
        "evaluation.json",
    }
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["22"]


def test_a_run_prints_what_it_does_and_what_came_out(trained):
    folder, outcome = trained
    first, batches, epoch, accuracy, report = outcome.out.splitlines()
    assert first == "training lenet5 on 1,438 digits examples, 1 cpu device; run folder runs/lenet5-digits-seed0"
    assert batches == "each epoch trains 22 batches of 64; 30 examples, different ones each time, are left out of it"
    assert epoch.startswith("epoch   1  loss ") and "validation loss" in epoch
    found = json.loads((folder / "evaluation.json").read_text())
    right = round(found["accuracy"] * 180)
    more = f"error {100 - right / 1.8:.2f} %, top-5 {100 * found['top5_accuracy']:.2f} %, loss {found['loss']:.4f}"
    assert accuracy == f"test accuracy {right / 1.8:.2f} % ({right} of 180), {more}"
    assert report == "report runs/lenet5-digits-seed0/report.html"


def test_a_network_learns_in_one_epoch(trained):
    found = json.loads((trained[0] / "evaluation.json").read_text())
    assert found["split"] == "test" and found["count"] == 180
    assert found["accuracy"] > 0.4, "chance is 0.1"


def test_the_configuration_tells_model_data_and_versions(trained):
    told = training.read_description(trained[0])
    assert told["model"] == {"name": "lenet5", "options": {}}
    assert (told["data"]["name"], told["data"]["split"], told["data"]["count"]) == ("digits", "train", 1438)
    assert told["training"] == {**training.read_description(trained[0])["training"], "epochs": 1, "seed": 0}
    assert set(told["versions"]) == {"jaxcnn", "jax", "flax", "optax"}


def test_the_command_is_the_one_that_was_given(trained):
    assert training.read_description(trained[0])["command"] == "jaxcnn train --epochs 1"


def test_the_log_has_the_epoch(trained):
    (row,) = training.read_log(trained[0] / "metrics.jsonl")
    assert (row["kind"], row["step"], row["epoch"], row["eval_split"]) == ("epoch", 22, 1, "validation")


def test_a_run_takes_the_next_number_and_resume_the_newest(jaxcnn, tiny, alone):
    for name in ("mlp-digits-seed0", "mlp-digits-seed0-2"):
        (alone / "runs" / name).mkdir(parents=True)
    train = ["train", *tiny, "--epochs", "1"]
    outcomes = [jaxcnn(*train), jaxcnn(*train, "--resume")]
    assert [outcome.status for outcome in outcomes] == [0, 0]
    folders = [outcome.out.splitlines()[0].rpartition("run folder ")[2] for outcome in outcomes]
    assert folders == ["runs/mlp-digits-seed0-3"] * 2
    assert not any((alone / "runs" / "mlp-digits-seed0").iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "{} already holds a run; resume it, or name another folder."),
        (
            ["--resume", "--learning-rate", "0.5"],
            "{} must be resumed with its own configuration, or with force; training.learning_rate was 0.002, now 0.5.",
        ),
        (
            ["--resume", "--model-options", "activation=tanh"],
            "{} must be resumed with its own configuration, or with force; "
            "model.options.activation was None, now 'tanh'.",
        ),
    ],
    ids=str,
)
def test_a_run_is_neither_written_over_nor_changed(jaxcnn, alone, trained, options, sentence):
    folder, _ = trained
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    outcome = jaxcnn("train", "--epochs", "1", "--out", folder, *options)
    assert (outcome.status, outcome.err) == (2, f"jaxcnn: {sentence.format(folder)}\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_options_reach_the_network_and_the_training(jaxcnn, alone):
    outcome = jaxcnn(
        *("train", "mlp", "--model-options", "hidden=(5,6)", "activation=tanh", "--out", "run"),
        *("--epochs", "1", "--optimizer", "sgd", "--learning-rate", "0.01", "--label-smoothing", "0.1", "--seed", "7"),
    )
    assert outcome.status == 0
    told = training.read_description(alone / "run")
    assert told["model"]["options"] == {"hidden": [5, 6], "activation": "tanh"}
    asked = {"optimizer": "sgd", "learning_rate": 0.01, "label_smoothing": 0.1, "seed": 7, "epochs": 1}
    assert {name: told["training"][name] for name in asked} == asked
    assert jaxcnn("eval", "run").status == 0


def test_a_run_that_fails_says_where(jaxcnn, tiny, alone):
    outcome = jaxcnn("train", *tiny, "--out", "run", "--learning-rate", "1e30", "--optimizer", "sgd")
    assert outcome.status == 2
    assert outcome.err.startswith("jaxcnn: loss and gradient must be finite; got loss ")
    assert " at step " in outcome.err and outcome.err.count("\n") == 1


def test_a_terminal_gets_a_bar_and_the_epochs(jaxcnn, tiny, alone, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the stream for a terminal
    monkeypatch.setenv("TERM", "xterm")
    outcome = jaxcnn("train", *tiny, "--epochs", "2")
    assert (outcome.status, outcome.err) == (0, "")
    assert "epoch   1  loss " in outcome.out and "epoch   2  loss " in outcome.out
    assert "44/44" in outcome.out


def test_it_tells_once_what_would_make_it_faster(jaxcnn, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "missing", lambda: "it was not built; build it.")
    outcome = jaxcnn("train", "--epochs", "1", "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    said = "training is slower than it could be, without jaxcnn's C++ backend: it was not built; build it."
    assert outcome.out.splitlines().count(said) == 1 and outcome.out.count("it was not built") == 1
