"""The report: one file, every section, for any network and any result."""

import re

import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, inspect, models, training

SECTIONS = ["Learning curves", "Confusion matrix", "Worst mistakes", "Layers", "Configuration"]


def digits(split, classes=None):
    small = data.load("digits", split).take(64)
    return small if classes is None else small._replace(classes=classes)


def report(tmp_path, name="lenet5", test=None, *, epochs=1, command=None):
    model = models.create(name, rngs=nnx.Rngs(0))
    config = training.TrainConfig(epochs=epochs, batch_size=32)
    details = {"model": {"name": name, "options": {}}} | ({"command": command} if command else {})
    run = training.fit(
        model, digits("train"), digits("test"), config, folder=tmp_path / "run", details=details, observer=None
    )
    return inspect.write_report(run.folder, model, test or digits("test"), run.scaling).read_text()


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path):
    page = report(tmp_path, command="jaxcnn train --epochs 1")
    for section in [*SECTIONS, "First-layer filters", "Feature maps of one example", "Reproduce it"]:
        assert f"<h2>{section}</h2>" in page
    assert "jaxcnn train --epochs 1" in page and "training.epochs = 1" in page and "61,706" in page
    assert "http://" not in page and "https://" not in page
    assert set(re.findall(r'src="(.{22})', page)) == {"data:image/png;base64,"}
    assert all(re.findall(r'<img [^>]*alt="([^"]+)"', page)), "every picture is described"


def test_a_network_without_convolution_has_no_filters(tmp_path):
    page = report(tmp_path, "mlp")
    assert all(f"<h2>{section}</h2>" in page for section in SECTIONS)
    assert "First-layer filters" not in page and "Feature maps" not in page


def test_names_of_classes_are_escaped(tmp_path):
    page = report(tmp_path, "mlp", digits("test", tuple(f"<b>{i}</b>" for i in range(10)))._replace(name="<i>digits"))
    assert "<b>" not in page and "<i>" not in page and "&lt;i&gt;digits" in page


def test_no_mistakes_and_no_finished_epoch_are_said(tmp_path):
    report(tmp_path, "mlp")
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    model = models.create("mlp", rngs=nnx.Rngs(0))
    scaling = training.restore_model(model, tmp_path / "run")
    test = digits("test")
    right = test._replace(labels=training.predict(model, test.images, scaling).argmax(-1).astype(np.int32))
    page = inspect.write_report(tmp_path / "run", model, right, scaling).read_text()
    assert "There is none." in page and "No epoch was finished." in page and "100.00 %" in page


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        inspect.write_report(
            tmp_path, models.create("mlp", rngs=nnx.Rngs(0)), digits("test"), data.Scaling((0.1,), (0.3,))
        )
