"""A run and a data set meet by the names of classes, whatever their numbers are."""

import json
import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, inspect, models, training, weights

COLORS = {"blue": (0, 0, 200), "red": (200, 0, 0), "green": (0, 200, 0)}
NETWORK = ["mlp", "--model-options", "hidden=(8,)", "--batch-size", "4"]


def folder(root, **classes):
    """Ten pictures for every class, of one of the colors each, and splits of their own."""
    for name, color in classes.items():
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
            for number in range(5):
                levels = np.clip(np.array(COLORS[color]) + 10 * number, 0, 255)
                Image.new("RGB", (8, 8), tuple(levels.tolist())).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def learned(jaxcnn, tmp_path_factory):
    """A run that tells blue from red, and the folder that it learned from."""
    place = tmp_path_factory.mktemp("learned")
    folder(place / "pictures", blue="blue", red="red")
    outcome = jaxcnn(
        "train", *NETWORK, "--data", f"folder:{place / 'pictures'}", "--epochs", "20", "--out", place / "run"
    )
    assert outcome.status == 0 and "test accuracy 100.00 %" in outcome.out, outcome
    return place


def asked(jaxcnn, learned, root, *options):
    return jaxcnn("eval", learned / "run", "--data", f"folder:{root}", *options)


def test_one_class_of_two_keeps_its_meaning(jaxcnn, learned, tmp_path):
    root = folder(tmp_path / "some", red="red")
    outcome = asked(jaxcnn, learned, root)
    note, result, *_ = outcome.out.splitlines()
    assert note == f"folder:{root}: its classes are matched by name, 1 of the network's 2"
    assert result.startswith(f"folder:{root} test: accuracy 100.00 % (5 of 5)")


def test_a_class_that_the_network_does_not_know_is_refused(jaxcnn, learned, tmp_path):
    for names in ({"green": "blue", "red": "red"}, {"red": "red", "zblue": "blue"}):
        root = folder(tmp_path / "-".join(names), **names)
        outcome = asked(jaxcnn, learned, root)
        strange = next(name for name in names if name != "red")
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == f"jaxcnn: the classes of folder:{root} must be among blue, red; got {strange}.\n"


def test_a_third_class_moves_no_other(jaxcnn, learned, tmp_path):
    """A network of three classes, asked about the first and the last of them."""
    run, three = tmp_path / "run", folder(tmp_path / "three", blue="blue", green="green", red="red")
    outcome = jaxcnn("train", *NETWORK, "--data", f"folder:{three}", "--epochs", "30", "--out", run)
    assert "test accuracy 100.00 %" in outcome.out, outcome
    outcome = jaxcnn("eval", run, "--data", f"folder:{learned / 'pictures'}")
    assert "accuracy 100.00 % (10 of 10)" in outcome.out and "matched by name, 2 of the network's 3" in outcome.out


def test_a_folder_that_changed_is_not_compared_by_number(jaxcnn, learned, tmp_path):
    """Examples beside a picture, and the accuracy that rounding costs, are of the run's own classes or not at all."""
    changed = json.loads((learned / "run" / "config.json").read_text())
    root = folder(tmp_path / "pictures", aqua="blue", blue="blue", red="red")
    changed["data"]["name"] = f"folder:{root}"
    twin = tmp_path / "run"
    twin.mkdir()
    (twin / "config.json").write_text(json.dumps(changed))
    (twin / "checkpoints").symlink_to(learned / "run" / "checkpoints")
    picture = root / "test" / "red" / "0.png"
    said = f"the classes of folder:{root} must be among blue, red; got aqua."
    outcome = jaxcnn("inspect", twin, picture, "--out", tmp_path / "page.html")
    assert outcome.status == 0 and f"the page has no examples to compare with: {said}" in outcome.out
    outcome = jaxcnn("export", twin, tmp_path / "net.stablehlo", "--weights", "int8")
    assert outcome.status == 0 and f"was not measured: {said}" in outcome.out


def test_a_file_that_tells_no_names_is_compared_by_number_and_says_so(jaxcnn, learned, tmp_path):
    model, told = weights.open_model(learned / "run")
    nameless = {key: value for key, value in told.items() if key != "classes"}
    file = weights.save(model, tmp_path / "net.safetensors", config=nameless)
    outcome = jaxcnn("eval", file, "--data", f"folder:{learned / 'pictures'}")
    note, result, *_ = outcome.out.splitlines()
    assert note.endswith(f": its classes are compared by number, as {file} tells no names of its own")
    assert "accuracy 100.00 %" in result
    one = folder(tmp_path / "one", red="red")
    outcome = jaxcnn("eval", file, "--data", f"folder:{one}")
    assert outcome.err == f"jaxcnn: `data` must have 2 classes, as {file} tells no names of its own; got 1.\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"red": "red"}, "its classes are matched by name, 1 of the network's 2"),
        ({"green": "green", "red": "red"}, "its classes are not the network's; features are probed for its own"),
    ],
    ids=["known", "unknown"],
)
def test_features_tell_whose_classes_they_are_of(jaxcnn, learned, tmp_path, names, said):
    root, out = folder(tmp_path / "some", **names), tmp_path / "features.npz"
    outcome = jaxcnn("features", learned / "run", "--at", "dense1", "--data", f"folder:{root}", "--out", out)
    assert outcome.status == 0 and f"folder:{root}: {said}\n" in outcome.out, outcome
    with np.load(out) as found:
        assert {str(name) for name in found["classes"][found["test_labels"]]} == set(names)


def test_other_classes_get_a_new_head_even_where_they_are_as_many(jaxcnn, learned, tmp_path):
    root = folder(tmp_path / "some", green="green", red="red")
    options = ["--epochs", "1", "--learning-rate", "1e-9", "--init", learned / "run", "--out", tmp_path / "run"]
    outcome = jaxcnn("train", *NETWORK, "--data", f"folder:{root}", *options)
    said = f"beginning with {learned / 'run'}, with a new head for 2 classes, which are not its blue, red\n"
    assert outcome.status == 0 and said in outcome.out, outcome
    before, after = (network(place) for place in (learned / "run", tmp_path / "run"))
    np.testing.assert_allclose(after.dense[0].kernel[...], before.dense[0].kernel[...], atol=1e-6)
    assert np.abs(np.asarray(after.head.kernel[...] - before.head.kernel[...])).max() > 0.01


def test_accents_in_one_sign_and_in_two_name_the_same_class(jaxcnn, tmp_path):
    """As a folder's names are on macOS and elsewhere."""
    one, two = (
        folder(tmp_path / form, **{unicodedata.normalize(form, "café"): "blue", "red": "red"})
        for form in ("NFC", "NFD")
    )
    outcome = jaxcnn("train", *NETWORK, "--data", f"folder:{one}", "--epochs", "20", "--out", tmp_path / "run")
    assert outcome.status == 0, outcome
    outcome = jaxcnn("eval", tmp_path / "run", "--data", f"folder:{two}")
    assert outcome.out.startswith(f"folder:{two} test: accuracy 100.00 % (10 of 10)"), outcome
    options = ["--epochs", "1", "--init", tmp_path / "run", "--out", tmp_path / "second"]
    outcome = jaxcnn("train", *NETWORK, "--data", f"folder:{two}", *options)
    assert outcome.status == 0 and f"beginning with {tmp_path / 'run'}\n" in outcome.out, outcome


def network(place) -> Any:
    model = models.create("mlp", num_classes=2, in_features=3, image_size=(8, 8), hidden=(8,), rngs=nnx.Rngs(0))
    training.restore_model(model, place)
    return model


def test_pages_are_of_the_classes_that_the_network_knows(learned, tmp_path):
    model, run = network(learned / "run"), learned / "run"
    scaling = training.restore_model(model, run)
    red = data.load(f"folder:{folder(tmp_path / 'red', red='red')}", "test")
    green = data.load(f"folder:{folder(tmp_path / 'green', green='green')}", "test")
    place = tmp_path / "copy"
    place.mkdir()
    (place / "config.json").write_bytes((run / "config.json").read_bytes())
    (place / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    page = inspect.write_report(place, model, red, scaling).read_text()
    assert re.search(r"100\.00 % of the 5 test examples", page)
    with pytest.raises(ValueError, match="must be among blue, red; got green."):
        inspect.write_report(place, model, green, scaling)
    with pytest.raises(ValueError, match="must be among blue, red; got green."):
        inspect.write_image_page(tmp_path / "p.html", model, red.images[0], scaling, ("blue", "red"), examples=green)


def test_a_run_of_words_meets_no_other_vocabulary(jaxcnn, tmp_path):
    for kind, word in (("pos", "good"), ("neg", "bad")):
        (tmp_path / f"rt-polarity.{kind}").write_text("\n".join(f"a {word} film number{i}" for i in range(50)))
    options = ["--epochs", "1", "--batch-size", "9", "--out", tmp_path / "run", "--data-dir", tmp_path]
    outcome = jaxcnn("train", "textcnn", "--data", "rt-polarity", "--model-options", "features=2", *options)
    assert outcome.status == 0, outcome.err
    assert jaxcnn("eval", tmp_path / "run", "--data-dir", tmp_path).status == 0
    outcome = jaxcnn("eval", tmp_path / "run", "--data", "rt-polarity:3", "--data-dir", tmp_path)
    assert outcome.status == 2 and "must be what" in outcome.err and "got rt-polarity:3." in outcome.err


def test_a_folder_tells_at_training_what_became_of_it(jaxcnn, tmp_path):
    root = folder(tmp_path / "pictures", blue="blue", red="red")
    (root / "test").rename(root / "Val")
    (root / "notes").mkdir()
    (root / "train" / "red" / "why.txt").write_text("none")
    (root / "train" / "empty").mkdir()
    options = ["--data", f"folder:{root}", "--epochs", "1", "--out", tmp_path / "run"]
    outcome = jaxcnn("train", *NETWORK, *options)
    assert outcome.status == 2 and "got none of empty (no files); accept such classes with" in outcome.err
    outcome = jaxcnn("train", *NETWORK, *options, "--allow-empty")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[1:4] == [
        f"{root / 'train'}: passed over 1 .txt",
        f"{root}: not read, beside train, Val: notes",
        "each epoch trains 2 batches of 4; 2 examples, different ones each time, are left out of it",
    ]


def test_one_batch_is_no_batches(jaxcnn, tmp_path):
    root = folder(tmp_path / "pictures", red="red", blue="blue")
    options = ["mlp", "--model-options", "hidden=(8,)", "--batch-size", "9", "--epochs", "1", "--out", tmp_path / "run"]
    outcome = jaxcnn("train", *options, "--data", f"folder:{root}")
    said = "each epoch trains 1 batch of 9; 1 example, another each time, is left out of it\n"
    assert outcome.status == 0 and said in outcome.out, outcome


def test_predict_names_the_file_that_has_no_folder(jaxcnn, learned, tmp_path):
    outcome = jaxcnn("predict", learned / "run", learned / "pictures", "--out", tmp_path / "none" / "x.csv")
    said = f"jaxcnn: `out` must be in a folder that exists; got {tmp_path / 'none' / 'x.csv'}.\n"
    assert (outcome.status, outcome.err) == (2, said)


def test_predict_passes_over_what_programs_leave_behind(jaxcnn, learned, tmp_path, monkeypatch):
    root = folder(tmp_path / "some", red="red")
    for place in (root / "train" / "@eaDir", root / "__MACOSX"):
        place.mkdir()
        Image.new("RGB", (4, 4)).save(place / "copy.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(root), f"{root}/**/*.png", "~/some/**/*.png"):
        outcome = jaxcnn("predict", learned / "run", name)
        assert outcome.status == 0 and len(outcome.out.splitlines()) == 11, outcome
