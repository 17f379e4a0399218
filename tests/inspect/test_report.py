"""The report: one page that needs nothing else, for every kind of run."""

import base64
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, inspect, models, training

SECTIONS = [
    "Learning curves",
    "Confusion matrix",
    "Worst mistakes",
    "First-layer filters",
    "Feature maps of one example",
    "Layers",
    "Reproduce it",
    "Configuration",
]
SCALING = data.Scaling((0.16,), (0.29,))
CONFIG = {
    "training": {"epochs": 2, "optimizer": "adamw"},
    "model": {"name": "lenet5", "options": {"pool": "max"}},
    "command": "jaxcnn train lenet5 --epochs 2",
}


class Tags(HTMLParser):
    """Collects the tags of a page, and complains of a page whose tags do not close."""

    VOID = {"meta", "img", "!doctype"}

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def epoch_row(epoch: int, **changes) -> dict:
    row = {"kind": "epoch", "step": 22 * epoch, "epoch": epoch, "loss": 1.5 / epoch, "accuracy": 0.5}
    row |= {"eval_split": "validation", "eval_loss": 1.6 / epoch, "eval_accuracy": 0.4, "images_per_second": 1.0}
    return row | changes


def write_run(folder, rows=(), config=CONFIG):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def report(folder, model, test, scaling=SCALING) -> str:
    path = inspect.write_report(folder, model, test, scaling)
    assert path == folder / "report.html"
    return path.read_text()


def small_mlp(**options) -> nnx.Module:
    return models.create("mlp", hidden=(8,), rngs=nnx.Rngs(0), **options)


def headings(page: str) -> list[str]:
    return [html.unescape(title) for title in re.findall("<h2>(.*?)</h2>", page)]


@pytest.fixture(scope="module")
def some_digits() -> data.Dataset:
    return data.load("digits", "test").take(40)


@pytest.fixture(scope="module")
def solved(some_digits):
    """Examples that `small_mlp` makes no mistake on, which is also the fastest page to draw."""
    answers = training.predict(small_mlp(), some_digits.images, SCALING).argmax(-1)
    return some_digits._replace(labels=answers.astype(np.int32))


@pytest.fixture(scope="module")
def page(tmp_path_factory, some_digits) -> str:
    """The report of a LeNet-5 that has not learned anything, and so makes mistakes."""
    rows = [{"kind": "step", "step": 3, "epoch": 1, "loss": 2.0, "accuracy": 0.1}, epoch_row(1), epoch_row(2)]
    folder = write_run(tmp_path_factory.mktemp("run"), rows)
    return report(folder, models.create("lenet5", rngs=nnx.Rngs(0)), some_digits)


def test_every_section_is_there(page):
    assert headings(page) == SECTIONS


def test_the_page_needs_nothing_else(page):
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", page))
    for tag, attributes in Tags(page).found:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        assert not attributes.keys() & {"href", "srcset", "onload", "onclick", "background"}
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes


def test_every_picture_is_whole_and_described(page):
    pictures = [attributes for tag, attributes in Tags(page).found if tag == "img"]
    assert len(pictures) == 1 + 1 + 1 + 1 + 1 + 4, "curves, confusion, mistakes, filters, example, four stages of maps"
    for attributes in pictures:
        assert attributes["alt"]
        image = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
        image.load()
        assert image.width >= int(attributes["width"]) and len(np.unique(np.asarray(image))) > 2


def test_the_first_lines_tell_what_came_out(page, some_digits):
    model = models.create("lenet5", rngs=nnx.Rngs(0))
    predicted = training.predict(model, some_digits.images, SCALING).argmax(-1)
    right = int((predicted == some_digits.labels).sum())
    assert "<h1>lenet5 on digits</h1>" in page
    assert f"{right / 0.4:.2f} % of the 40 test examples classified correctly, {40 - right} wrong" in page


def test_the_mistakes_are_counted(page, some_digits):
    model = models.create("lenet5", rngs=nnx.Rngs(0))
    wrong = int((training.predict(model, some_digits.images, SCALING).argmax(-1) != some_digits.labels).sum())
    assert wrong > 24
    assert f"24 of {wrong}." in page


def test_layers_command_and_configuration_are_told(page):
    assert models.summary(models.create("lenet5", rngs=nnx.Rngs(0)), (1, 28, 28, 1))._repr_html_() in page
    assert "<pre>jaxcnn train lenet5 --epochs 2</pre>" in page
    for line in ("training.epochs = 2", "training.optimizer = &quot;adamw&quot;", "model.name = &quot;lenet5&quot;"):
        assert line in page


def test_the_stages_of_the_network_are_shown(page):
    shown = re.findall(r'alt="Feature maps of (\w+)"', page)
    assert shown == ["conv1", "pool1", "conv2", "pool2"]


def test_a_network_without_convolution_has_neither_filters_nor_maps(tmp_path, some_digits):
    page = report(write_run(tmp_path, [epoch_row(1)]), small_mlp(), some_digits)
    absent = {"First-layer filters", "Feature maps of one example"}
    assert headings(page) == [title for title in SECTIONS if title not in absent]


def test_a_run_without_a_finished_epoch_says_so(tmp_path, solved):
    page = report(write_run(tmp_path), small_mlp(), solved)
    assert "No epoch was finished." in page
    assert "Learning curves" not in headings(page)


def test_a_run_without_a_log_says_so(tmp_path, solved):
    folder = write_run(tmp_path)
    (folder / "metrics.jsonl").unlink()
    assert "No epoch was finished." in report(folder, small_mlp(), solved)


def test_a_run_without_held_out_examples_has_curves(tmp_path, solved):
    row = {key: value for key, value in epoch_row(1).items() if not key.startswith("eval")}
    assert "Learning curves" in headings(report(write_run(tmp_path, [row]), small_mlp(), solved))


def test_the_speed_is_told_under_the_curves(tmp_path, solved):
    speeds = [{"images_per_second": 1500.0 * i, "input_wait": 0.1 * i, "flops_utilization": 0.2 * i} for i in (1, 2, 3)]
    rows = [epoch_row(i, **speed) for i, speed in enumerate(speeds, start=1)]
    told = "Median epoch: 3,000 images/s, 20% of the time waiting for input, 40% of the peak FLOP/s."
    assert told in report(write_run(tmp_path, rows), small_mlp(), solved)
    del rows[1]["input_wait"], rows[0]["input_wait"], rows[2]["input_wait"], rows[0]["images_per_second"]
    told = "Median epoch: 3,750 images/s, 40% of the peak FLOP/s."
    assert told in report(write_run(tmp_path, rows), small_mlp(), solved)
    slow = {key: value for key, value in epoch_row(1).items() if key != "images_per_second"}
    assert "Median epoch" not in report(write_run(tmp_path, [slow]), small_mlp(), solved)


def test_a_network_without_mistakes_says_so(tmp_path, solved):
    page = report(write_run(tmp_path), small_mlp(), solved)
    assert "100.00 % of the 40 test examples classified correctly, 0 wrong" in page
    assert '<h2>Worst mistakes</h2><p class="note">There is none.</p>' in page


HOSTILE = '<script>alert("1")</script> & <b>'


def test_names_are_text_not_markup(tmp_path, some_digits):
    test = some_digits._replace(classes=tuple(f"{HOSTILE}{i}" for i in range(10)), name=HOSTILE, split=HOSTILE)
    config = {"model": {"name": HOSTILE, "options": {HOSTILE: HOSTILE}}, "command": HOSTILE}
    page = report(write_run(tmp_path, config=config), small_mlp(), test)
    assert {tag for tag, _ in Tags(page).found}.isdisjoint({"script", "b"})
    assert page.count(html.escape(HOSTILE)) >= 4


@pytest.mark.parametrize("name", ["$\\alpha$", "$\\bad{", "100 %", "a_b^c", "$5 and $6"])
def test_class_names_are_text_not_formulas(tmp_path, some_digits, name):
    """Matplotlib reads dollars as mathematics, and fails where it cannot."""
    test = some_digits.take(12)._replace(classes=tuple(f"{name}{i}" for i in range(10)))
    assert headings(report(write_run(tmp_path), small_mlp(), test))


def test_color_pictures_and_filters_are_shown(tmp_path, some_digits):
    colored = some_digits.take(6)
    colored = colored._replace(images=np.repeat(colored.images, 3, -1))
    model = models.create("lenet5", in_features=3, rngs=nnx.Rngs(0))
    page = report(write_run(tmp_path), model, colored, data.Scaling((0.2,) * 3, (0.3,) * 3))
    assert "Weights as colors, zero gray." in page


class Own(nnx.Module):
    """A network of a user, who knows nothing of `capture`."""

    def __init__(self, rngs: nnx.Rngs):
        self.head = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images):
        return self.head(images.reshape(images.shape[0], -1))


def test_a_network_of_one_s_own_needs_no_stages(tmp_path, some_digits):
    page = report(write_run(tmp_path, config={}), Own(nnx.Rngs(0)), some_digits.take(6))
    assert "<h1>Own on digits</h1>" in page
    assert "Feature maps of one example" not in headings(page)


def test_the_network_is_left_as_it_was(tmp_path, solved):
    model = small_mlp()
    before = [np.array(leaf[...]) for _, leaf in nnx.to_flat_state(nnx.state(model))]
    first = report(write_run(tmp_path), model, solved)
    for array, (_, leaf) in zip(before, nnx.to_flat_state(nnx.state(model)), strict=True):
        np.testing.assert_array_equal(array, leaf[...])
    assert report(tmp_path, model, solved) == first, "the same run gives the same page"


def test_what_is_no_run_is_refused(tmp_path, some_digits):
    with pytest.raises(FileNotFoundError, match="must be the folder of a run; it has no config.json."):
        inspect.write_report(tmp_path, small_mlp(), some_digits, SCALING)
    assert not list(tmp_path.iterdir())


def test_sounds_are_shown_as_spectrograms(tmp_path, random):
    sounds = random.uniform(-80, 0, (6, 20, 12)).astype(np.float32)
    test = data.Dataset(sounds, np.zeros(6, np.int32), ("no", "yes"), "sounds", "test")
    model = models.create("tdnn_wide", num_classes=2, in_features=12, widths=(4,), dilations=(1,), rngs=nnx.Rngs(0))
    predictions = training.predict(model, sounds, data.measure_scaling(test)).argmax(-1)
    test = test._replace(labels=(1 - predictions).astype(np.int32))
    page = report(write_run(tmp_path, config={}), model, test, data.measure_scaling(test))
    assert "0.00 % of the 6 test examples" in page and headings(page).count("Worst mistakes") == 1
    assert 'alt="Mistakes"' in page


def test_sentences_are_shown_as_words(tmp_path):
    vocabulary = ("<padding>", "<unknown>", "good", "<b>")
    words = np.array([[2, 3, 0], [3, 3, 0]], np.int32)
    model = models.create("textcnn", in_features=4, embedding=3, features=2, rngs=nnx.Rngs(0))
    predictions = training.predict(model, words, data.Scaling((), ())).argmax(-1)
    labels = (1 - predictions).astype(np.int32)
    test = data.Dataset(words, labels, ("no", "yes"), "words", "test", vocabulary)
    page = report(write_run(tmp_path, config={}), model, test, data.Scaling((), ()))
    assert "good &lt;b&gt;</li>" in page and "<b>" not in page
