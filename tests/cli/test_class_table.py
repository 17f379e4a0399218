"""What `jaxcnn eval` tells of the classes and of the mistakes, on a terminal and as JSON."""

import json

import numpy as np

from jaxcnn import data, inspect, training
from jaxcnn.cli import class_table


def test_eval_prints_every_class_and_writes_all_of_it(jaxcnn, alone, trained):
    folder, _ = trained
    outcome = jaxcnn("eval", folder, "--mistakes", "3", "--out", "eval.json")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[1].split() == ["class", "precision", "recall", "F1", "support", "AUC"]
    assert [line.split()[0] for line in lines[2:12]] == list("0123456789")
    assert lines[12].startswith("mean of the classes") and lines[12].split()[-2] == "180"
    found = json.loads((alone / "eval.json").read_text())
    assert {key: found[key] for key in ("data", "split", "count")} == {"data": "digits", "split": "test", "count": 180}
    assert [row["class"] for row in found["classes"]] == list("0123456789")
    counts = np.array(found["confusion"]["counts"])
    assert counts.sum() == 180 and np.trace(counts) == round(180 * found["accuracy"])
    np.testing.assert_allclose(np.sum(found["confusion"]["shares"], 1), 1)
    assert lines[2].split()[2] == f"{100 * found['classes'][0]['recall']:.2f}"
    assert len(found["mistakes"]) == 180 - np.trace(counts)
    chances = [one["probability"] for one in found["mistakes"]]
    assert chances == sorted(chances, reverse=True)
    first = found["mistakes"][0]
    told = f"  {first['example']}: {first['true']} as {first['predicted']}, {100 * first['probability']:.1f} %"
    at = lines.index("most confident mistakes:")
    assert lines[at + 1] == told and len(lines) == at + 5
    assert first["example"].startswith("test[") and lines[-1] == "written eval.json"


def test_the_table_and_the_accuracy_are_of_the_same_views(jaxcnn, alone, trained):
    outcome = jaxcnn("eval", trained[0], "--views", "flip_shift", "--out", "eval.json")
    assert outcome.status == 0
    found = json.loads((alone / "eval.json").read_text())
    assert np.trace(found["confusion"]["counts"]) == round(180 * found["accuracy"])
    assert found["accuracy"] != json.loads((trained[0] / "evaluation.json").read_text())["accuracy"]


def test_of_many_classes_the_worst_are_printed():
    draw = np.random.default_rng(0)
    labels, classes = np.arange(120) % 40, [f"kind {place}" for place in range(40)]
    shares = draw.random((120, 40)) + 2 * np.eye(40)[labels] * (labels % 4 > 0)[:, None]
    report = inspect.class_report(shares, labels, classes)
    lines = list(class_table.lines(report))
    assert lines[0].startswith("lowest 20 of 40 classes by F1")
    assert {f"kind {place}" for place in range(0, 40, 4)} <= {line[:7].strip() for line in lines[1:21]}
    assert lines[21].startswith("mean of the classes") and len(lines) == 23


def test_a_class_without_examples_has_dashes_and_nulls():
    report = inspect.class_report(np.array([[0.9, 0.1]]), [0], ["cat", "dog"])
    rows = list(class_table.lines(report))
    assert rows[2].split() == ["dog", "0.00", "-", "-", "0", "-"]
    told = class_table.as_json(report)
    assert told["classes"][1]["recall"] is None and told["confusion"]["shares"][1] == [None, None]
    json.dumps(told, allow_nan=False)


def test_mistakes_of_a_folder_have_their_files():
    examples = data.load("digits", "test").take(2)._replace(files=np.array([b"a/1.png", "b/\u00e4.png".encode()]))
    shares = np.full((2, 10), 0.02)
    shares[np.arange(2), (examples.labels + 1) % 10] = 0.9
    assert [one["example"] for one in class_table.mistakes(examples, shares)] == ["a/1.png", "b/ä.png"]
    assert examples.pick([1]).example(0) == "b/ä.png" and examples.take(1).files.tolist() == [b"a/1.png"]


def test_what_cannot_be_written_is_refused_first(jaxcnn, alone, trained):
    for options, part in (
        (["--out", "eval.csv"], "`out` must end in .json; got eval.csv."),
        (["--out", "gone/eval.json"], "`out` must be in a folder that exists"),
        (["--mistakes", "-1"], "`mistakes` must not be negative; got -1."),
    ):
        outcome = jaxcnn("eval", trained[0], *options)
        assert (outcome.status, outcome.out) == (2, "") and part in outcome.err


def test_predict_averages_views():
    from flax import nnx

    from jaxcnn import models

    model = models.create("mlp", num_classes=10, in_features=1, rngs=nnx.Rngs(0), hidden=(8,))
    test = data.load("digits", "test")
    scaling = data.measure_scaling(test)
    found = training.predict(model, test.images, scaling, views="flip")
    accuracy = training.evaluate(model, test, scaling, views="flip").accuracy
    assert (found.argmax(-1) == test.labels).mean() == accuracy
    one = training.predict(model, test.images, scaling), training.predict(model, test.images[:, :, ::-1], scaling)
    logs = sum(np.log(part) for part in one) / 2
    np.testing.assert_allclose(found, np.exp(logs) / np.exp(logs).sum(-1, keepdims=True), atol=1e-5)
