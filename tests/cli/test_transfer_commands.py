"""From one run to another: `features` of its stages, and `train --init` with its parameters."""

import csv
import json

import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, models, training


@pytest.fixture(scope="module")
def begun(tmp_path_factory, jaxcnn, few):
    """The folder of a tiny network for digits 0 to 2, and the archive that it learned from."""
    folder = tmp_path_factory.mktemp("begun")
    few(folder / "three.npz", 3)
    arguments = ["--model-options", "hidden=(8,)", "--epochs", "2", "--batch-size", "16", "--out", folder / "run"]
    outcome = jaxcnn("train", "mlp", "--data", f"npz:{folder / 'three.npz'}", *arguments)
    assert outcome.status == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def few():
    """Writes an archive of the digits below some number."""

    def write(path, classes):
        arrays = {}
        for split in ("train", "test"):
            some = data.load("digits", split)
            some = some.pick(some.labels < classes).take(60)
            arrays |= {f"x_{split}": some.images, f"y_{split}": some.labels}
        np.savez(path, **arrays)

    return write


def network(folder, classes, hidden):
    model = models.create("mlp", num_classes=classes, hidden=(hidden,), rngs=nnx.Rngs(0))
    scaling = training.restore_model(model, folder)
    return model, scaling


def test_features_prints_the_probes_and_keeps_the_features(jaxcnn, begun, tmp_path):
    options = ["--at", "dense1", "--probe", "knn", "logistic", "--neighbors", "3"]
    outcome = jaxcnn("features", begun / "run", *options, "--out", tmp_path / "features.npz")
    assert (outcome.status, outcome.err) == (0, "")
    about, head, knn, logistic, kept = outcome.out.splitlines()
    assert about.startswith("dense1: 8 features of 60 train, ")
    assert head.split() == ["test", "accuracy", "dense1", "pixels"]
    assert knn.startswith("nearest neighbors ") and logistic.startswith("logistic regression ")
    assert knn.count("%") == logistic.count("%") == 2
    assert kept == f"features {tmp_path / 'features.npz'}"
    model, scaling = network(begun / "run", 3, 8)
    test = data.load(f"npz:{begun / 'three.npz'}", "test")
    with np.load(tmp_path / "features.npz") as found:
        stage = np.asarray(model(scaling(test.images), capture=True)[1]["dense1"])
        np.testing.assert_allclose(found["test_features"], stage, atol=1e-5)
        np.testing.assert_array_equal(found["test_labels"], test.labels)
        assert found["classes"].tolist() == ["0", "1", "2"] and found["train_features"].shape == (60, 8)


def test_features_projects_them_and_keeps_a_table(jaxcnn, begun, tmp_path):
    options = ["--at", "dense1", "--pca", "2", "--limit", "20", "--out", tmp_path / "features.csv"]
    outcome = jaxcnn("features", begun / "run", *options)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("2 principal components hold ")
    with (tmp_path / "features.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["split", "label", "feature_0", "feature_1"] and len(rows) == 1 + 2 * 20
    train = np.array([row[2:] for row in rows[1:] if row[0] == "train"], float)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--at", "conv9", "--probe", "knn"], "`at` must be a stage of MLP: dense1, head; got 'conv9'."),
        (["--at", "dense1"], "`probe` or `out` must be given; got neither."),
        (["--at", "dense1", "--out", "nodir/x.csv"], "`out` must be in a folder that exists; got nodir/x.csv."),
        (["--at", "dense1", "--out", "x.txt"], "`out` must end in .npz or .csv; got x.txt."),
        (["--at", "dense1", "--probe", "knn", "--limit", "0"], "`limit` must be positive; got 0."),
        (["--at", "dense1", "--probe", "tree"], "tree"),
        (["--at", "dense1", "--out", "x.npz", "--pca", "9"], "`components` must be between 1 and 8"),
    ],
    ids=str,
)
def test_features_refuses_what_makes_no_sense(jaxcnn, begun, alone, arguments, part):
    outcome = jaxcnn("features", begun / "run", *arguments)
    assert outcome.status == 2 and part in outcome.err and outcome.err.count("\n") == 1
    assert not list(alone.iterdir())


def test_a_run_begins_with_another_s_parameters_and_a_new_head(jaxcnn, begun, few, tmp_path):
    few(tmp_path / "five.npz", 5)
    options = ["--model-options", "hidden=(8,)", "--epochs", "1", "--batch-size", "16", "--freeze", "dense*"]
    source, out = begun / "run", tmp_path / "run"
    outcome = jaxcnn("train", "mlp", "--data", f"npz:{tmp_path / 'five.npz'}", *options, "--init", source, "--out", out)
    assert outcome.status == 0, outcome.err
    assert f"beginning with {source}, with a new head for 5 classes in place of 3\n" in outcome.out
    (before, old), (after, new) = network(source, 3, 8), network(out, 5, 8)
    np.testing.assert_array_equal(after.dense[0].kernel[...], before.dense[0].kernel[...])
    assert old == new, "images are fed as they were"
    assert json.loads((out / "config.json").read_text())["init"] == str(source)


def test_a_run_of_the_same_classes_keeps_the_head(jaxcnn, begun, tmp_path):
    options = ["--model-options", "hidden=(8,)", "--epochs", "1", "--batch-size", "60", "--learning-rate", "1e-9"]
    where = ["--data", f"npz:{begun / 'three.npz'}", "--init", begun / "run", "--out", tmp_path / "run"]
    outcome = jaxcnn("train", "mlp", *where, *options)
    assert outcome.status == 0 and f"beginning with {begun / 'run'}\n" in outcome.out
    (before, _), (after, _) = network(begun / "run", 3, 8), network(tmp_path / "run", 3, 8)
    np.testing.assert_allclose(after.head.kernel[...], before.head.kernel[...], atol=1e-6)


def test_a_network_of_another_size_is_refused(jaxcnn, begun, tmp_path):
    options = ["--model-options", "hidden=(9,)", "--out", tmp_path / "run", "--init", begun / "run"]
    outcome = jaxcnn("train", "mlp", "--data", f"npz:{begun / 'three.npz'}", *options)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        "jaxcnn: `init` must hold weights of the network to train; dense/0/bias is (8,) in it and (9,) here "
        f"({begun / 'run'}).\n"
    )
    assert not list(tmp_path.iterdir())
