"""Tasks besides classification, from the command line: train, evaluate, predict, export, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data, training

TINY = ["mlp", "--model-options", "hidden=(8,)"]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("pictures") / "one.png"
    Image.fromarray(data.load("digits", "test").images[0, ..., 0]).save(file)
    return file


@pytest.fixture(scope="module")
def angles(jaxcnn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "angles"
    done = jaxcnn("train", *TINY, "--data", "rotated_digits", "--epochs", "1", "--batch-size", "256", "--out", folder)
    assert done.status == 0, done.err
    return folder, done.out


@pytest.fixture(scope="module")
def sevens(jaxcnn, tmp_path_factory):
    """Yes or no, of a data set of two classes that says nothing of a task."""
    place, digits = tmp_path_factory.mktemp("sevens"), data.load("digits", "test")
    is_seven = (digits.labels == 7).astype(np.uint8)
    np.savez(place / "sevens.npz", x_train=digits.images, y_train=is_seven, x_test=digits.images, y_test=is_seven)
    arguments = ["--data", f"npz:{place / 'sevens.npz'}", "--task", "binary", "--pos-weight", "3"]
    done = jaxcnn("train", *TINY, *arguments, "--epochs", "2", "--batch-size", "60", "--out", place / "run")
    assert done.status == 0, done.err
    return place / "run", done.out


def test_a_regression_is_told_in_its_words(jaxcnn, angles):
    folder, out = angles
    assert "5,752 rotated_digits examples for regression" in out
    assert "validation loss" in out and " RMSE " in out and "accuracy" not in out
    asked = jaxcnn("eval", folder)
    assert f"rotated_digits {out[out.index('test RMSE') :].splitlines()[0].replace('test ', 'test: ', 1)}" in asked.out
    kept = json.loads((folder / "evaluation.json").read_text())
    assert set(kept) == {"split", "loss", "count", "rmse", "mae", "r2"} and kept["count"] == 720
    report = (folder / "report.html").read_text()
    assert "RMSE" in report and "Predicted against true values" in report and "Confusion" not in report


def test_a_regression_predicts_values(jaxcnn, angles, picture):
    folder, _ = angles
    (answer,) = json.loads(jaxcnn("predict", folder, picture, "--format", "json").out)
    lines = jaxcnn("predict", folder, picture, "--format", "csv").out.splitlines()
    table = jaxcnn("predict", folder, picture).out.splitlines()
    assert lines[0] == "picture,angle,changes" and table[0].split() == ["picture", "angle"]
    assert float(lines[1].split(",")[1]) == float(table[1].split()[1]) == answer["values"]["angle"]


def test_a_regression_is_exported_in_its_units(jaxcnn, angles, tmp_path):
    import jax.export

    folder, _ = angles
    done = jaxcnn("export", folder, tmp_path / "angles.stablehlo")
    assert done.status == 0 and "gives values" in done.out
    network = jax.export.deserialize(bytearray((tmp_path / "angles.stablehlo").read_bytes()))
    test = data.load("rotated_digits", "test")
    found = np.asarray(network.call(test.images))
    rmse = json.loads((folder / "evaluation.json").read_text())["rmse"]
    assert np.sqrt(np.mean((found - test.labels) ** 2)) == pytest.approx(rmse, rel=1e-4)
    saved = jaxcnn("convert", folder, tmp_path / "angles.safetensors")
    assert saved.status == 0, saved.err
    again = jaxcnn("eval", tmp_path / "angles.safetensors", "--data", "rotated_digits")
    assert f"RMSE {rmse:.4g}" in again.out


def test_yes_or_no_has_one_output_and_two_answers(jaxcnn, sevens, picture, tmp_path):
    folder, out = sevens
    assert "AUC" in out and training.read_description(folder)["training"]["pos_weight"] == [3.0]
    (answer,) = json.loads(jaxcnn("predict", folder, picture, "--format", "json").out)
    assert sum(row["probability"] for row in answer["top"]) == pytest.approx(1, abs=1e-5)
    done = jaxcnn("export", folder, tmp_path / "sevens.stablehlo")
    assert done.status == 0 and "gives probabilities" in done.out
    described = json.loads((tmp_path / "sevens.stablehlo.json").read_text())
    assert described["output"]["count"] == 1 and described["classes"] == ["1"]
    resumed = jaxcnn("eval", folder)
    assert resumed.status == 0 and "average precision" in resumed.out


def test_several_labels_have_a_report_of_their_own(jaxcnn, tmp_path):
    options = ["--data", "scenes", "--epochs", "1", "--batch-size", "500", "--out", tmp_path / "run"]
    done = jaxcnn("train", *TINY, *options)
    assert done.status == 0, done.err
    assert "test average precision" in done.out and "exact match" in done.out
    report = (tmp_path / "run" / "report.html").read_text()
    assert "<h2>Labels</h2>" in report and "Worst mistakes" in report and "binary cross-entropy" not in report[:300]


def test_another_head_begins_another_task(jaxcnn, angles, tmp_path):
    options = ["--data", "digits", "--init", angles[0], "--epochs", "1", "--batch-size", "500"]
    done = jaxcnn("train", *TINY, *options, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert "with a new head for classification in place of regression" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "RUN", "PICTURE"], "`run` must have the task classification; "),
        (
            ["features", "RUN", "--at", "dense1", "--probe", "knn"],
            "`features` needs a run with one class for each example",
        ),
        (["export", "RUN", "x.onnx", "--classes-only"], "`classes_only` needs classes or labels; "),
        (["eval", "RUN", "--data", "digits"], "; digits is for classification."),
        (["train", "mlp", "--data", "digits", "--task", "binary"], "`task` 'binary' needs two classes, 0 and 1; "),
        (["train", "mlp", "--data", "scenes", "--task", "classification"], "must be one for each of 4,000 examples"),
        (
            ["train", "mlp", "--data", "faces", "--loss", "huber"],
            "`loss` of the task 'binary' must be one of cross_entropy",
        ),
    ],
)
def test_what_is_of_another_task_is_refused_in_one_line(
    jaxcnn, angles, picture, arguments, told, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {"RUN": angles[0], "PICTURE": picture}
    done = jaxcnn(*(places.get(word, word) for word in arguments))
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1


def test_a_folder_for_others_keeps_the_task(jaxcnn, sevens, angles, picture, tmp_path):
    """Also on the way through a file of weights, which is no run."""
    for (folder, _), task, metric in ((sevens, "binary", "auc"), (angles, "regression", "rmse")):
        file, shared = tmp_path / f"{task}.safetensors", tmp_path / task
        assert jaxcnn("convert", folder, file).status == 0
        wanted = jaxcnn("predict", folder, picture, "--format", "json").out
        done = jaxcnn("convert", file, f"{shared}/")
        assert done.status == 0, done.err
        assert jaxcnn("predict", shared, picture, "--format", "json").out == wanted
        again = jaxcnn("convert", folder, f"{shared}-again/")
        assert again.status == 0, again.err
        card = (tmp_path / f"{task}-again" / "README.md").read_text()
        assert f"1 output, for {task} targets" in card and f"| {metric} |" in card and "classification" not in card


def test_eval_of_yes_or_no_has_its_classes(jaxcnn, sevens, tmp_path):
    folder, _ = sevens
    done = jaxcnn("eval", folder, "--out", tmp_path / "all.json", "--mistakes", "2")
    assert done.status == 0, done.err
    told = json.loads((tmp_path / "all.json").read_text())
    counts = np.array(told["confusion"]["counts"])
    assert counts.shape == (2, 2) and counts.trace() / counts.sum() == pytest.approx(told["accuracy"])
    assert "precision" in done.out


def test_whole_numbers_can_be_values(jaxcnn, tmp_path):
    random = np.random.default_rng(0)
    images, ages = random.integers(0, 256, (60, 28, 28)).astype(np.uint8), random.integers(1, 40, 60)
    archive = tmp_path / "ages.npz"
    np.savez(archive, x_train=images, y_train=ages, x_test=images[:20], y_test=ages[:20])
    options = ["--data", f"npz:{archive}", "--epochs", "1", "--batch-size", "20", "--out", tmp_path / "run"]
    done = jaxcnn("train", *TINY, "--task", "regression", *options)
    assert done.status == 0 and "test RMSE" in done.out, done.err
    again = jaxcnn("eval", tmp_path / "run")
    assert again.status == 0 and "RMSE" in again.out, again.err


@pytest.mark.parametrize(("other", "task"), [("rotated_digits", "regression"), ("scenes", "multi_label")])
def test_data_of_another_task_are_refused_by_its_name(jaxcnn, sevens, other, task):
    done = jaxcnn("eval", sevens[0], "--data", other)
    assert done.status == 2 and f"`data` must be for binary, as {sevens[0]}; {other} is for {task}." in done.err


def test_a_network_without_a_head_to_replace_is_refused_in_one_sentence(jaxcnn, tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(
        "from flax import nnx\n\n\nclass Net(nnx.Module):\n"
        "    def __init__(self, num_classes, rngs):\n        self.last = nnx.Linear(784, num_classes, rngs=rngs)\n\n"
        "    def __call__(self, x):\n        return self.last(x.reshape(len(x), -1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["own_net:Net", "--epochs", "1", "--batch-size", "256"]
    assert jaxcnn("train", *own, "--data", "rotated_digits", "--out", tmp_path / "angles").status == 0
    done = jaxcnn("train", *own, "--data", "digits", "--init", tmp_path / "angles", "--out", tmp_path / "other")
    assert (
        done.status == 2
        and "`init` must be of the same classes and task for a network without `replace_head`" in done.err
    )
    done = jaxcnn("train", *own, "--pretrained", "--out", tmp_path / "other")
    assert done.status == 2 and "needs a network with published weights; own_net:Net is your own" in done.err
