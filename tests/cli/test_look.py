"""`jaxcnn look`: what it prints of a folder with faults of every kind, and the page that it writes."""

import re

import numpy as np
import pytest
from PIL import Image


def picture(seed, size=(24, 24)):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size)


@pytest.fixture
def folder(alone):
    """Twelve cats and two dogs to train with, three of each to test."""
    seed = 0
    for split, counts in (("train", {"cat": 12, "dog": 2}), ("test", {"cat": 3, "dog": 3})):
        for name, count in counts.items():
            (alone / "own" / split / name).mkdir(parents=True)
            for place in range(count):
                picture(seed := seed + 1).save(alone / "own" / split / name / f"{place}.png")
    return alone / "own"


FAULTS = {
    "unreadable": (
        lambda own: (own / "train/cat/broken.jpg").write_bytes(b"nothing"),
        "1 file cannot be read: own/train/cat/broken.jpg (cannot identify image file",
    ),
    "a copy": (
        lambda own: picture(3).save(own / "train/cat/copy.png"),
        "1 pair of nearly equal pictures within train: own/train/cat/2.png and own/train/cat/copy.png",
    ),
    "a copy in another split and class": (
        lambda own: picture(3).save(own / "test/dog/copy.jpg", quality=95),
        "1 pair of nearly equal pictures between train and test: own/train/cat/2.png and own/test/dog/copy.jpg\n"
        "  1 of these pairs has different classes: own/train/cat/2.png and own/test/dog/copy.jpg",
    ),
    "one color": (
        lambda own: Image.new("RGB", (24, 24), "red").save(own / "test/dog/red.png"),
        "1 test picture of one color: own/test/dog/red.png",
    ),
    "large": (
        lambda own: picture(99, (200, 180)).save(own / "train/dog/large.png"),
        "1 picture much larger than the others, whose median shorter side is 24: own/train/dog/large.png (200x180)",
    ),
    "small": (
        lambda own: picture(99, (6, 5)).save(own / "train/dog/small.png"),
        "1 picture much smaller than the others, whose median shorter side is 24: own/train/dog/small.png (6x5)",
    ),
    "long": (
        lambda own: picture(99, (24, 80)).save(own / "train/dog/long.png"),
        "1 picture with one side at least 3 times the other: own/train/dog/long.png (24x80)",
    ),
    "an empty class": (lambda own: (own / "train/wolf").mkdir(), "1 class without a training example: wolf"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_told_with_its_file(jaxcnn, folder, kind):
    clean = jaxcnn("look", "folder:own")
    assert clean.status == 0, clean.err
    spoil, sentence = FAULTS[kind]
    assert sentence not in clean.out
    spoil(folder)
    outcome = jaxcnn("look", "folder:own")
    assert (outcome.status, outcome.err) == (0, "")
    assert sentence in outcome.out
    said = [line for line in outcome.out.splitlines() if line.startswith("  ") and line not in clean.out]
    new = [line for line in said if "fewer than 10" not in line and "cat has" not in line]  # of numbers that changed
    assert len(new) == sentence.count("\n") + 1, "and nothing else"


def test_it_counts_and_writes_a_page(jaxcnn, folder, alone):
    outcome = jaxcnn("look", "folder:own", "--augment", "pad_crop=2", "flip", "--out", "page.html")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["class", "train", "test"],
        ["cat", "12", "3"],
        ["dog", "2", "3"],
        ["all", "14", "6"],
    ]
    assert "an example is 24x24x3, bytes" in lines
    assert "sizes of the files, width by height: 24x24 (20)" in lines
    assert "  1 class with fewer than 10 training examples: dog (2)" in lines
    assert any(
        line.startswith("  cat has 6 times the training examples of dog; see `--class-weights`") for line in lines
    )
    page = (alone / "page.html").read_text()
    assert lines[-1] == "page page.html" and "<script" not in page
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["What is unusual", "Classes", "Pictures", "After random changes"]
    assert page.count("<img") == 2 + 3, "a sheet for each class, three draws of the changes"
    assert not re.search(r'(src|href)="(?!data:)', page), "the page needs no other file"


def test_one_class_alone_is_odd(jaxcnn, alone):
    (alone / "one" / "cat").mkdir(parents=True)
    for place in range(20):
        picture(place).save(alone / "one" / "cat" / f"{place}.png")
    outcome = jaxcnn("look", "folder:one")
    assert outcome.status == 0, outcome.err
    assert "  there is only one class, cat: a classifier needs at least two" in outcome.out.splitlines()
    assert "drawn from each class, 80, 10 and 10 %" in outcome.out
    assert (alone / "look-folder-one.html").is_file()


@pytest.mark.parametrize("name", ["mnist1d", "digits"])
def test_it_looks_at_other_data(jaxcnn, alone, name):
    if name == "mnist1d":
        pytest.importorskip("mnist1d")
    outcome = jaxcnn("look", name)
    assert (outcome.status, outcome.err) == (0, "")
    page = (alone / f"look-{name}.html").read_text()
    assert page.count("<img") == (10 if name == "digits" else 0)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "`jaxcnn look` needs DATA"),
        (["folder:nowhere"], "nowhere"),
        (["folder:own", "--augment", "crop=99"], "`crop=99` must fit into the picture"),
        (["digits", "--image-size", "32"], "`image_size` is for folders of pictures"),
        (["digits", "--out", "page.txt"], "`out` must end in .html or .htm; got page.txt."),
        (["digits", "--out", "gone/page.html"], "`out` must be in a folder that exists"),
    ],
    ids=str,
)
def test_what_cannot_be_looked_at_is_one_sentence(jaxcnn, folder, alone, arguments, part):
    outcome = jaxcnn("look", *arguments)
    assert outcome.status == 2 and part in outcome.err and outcome.err.count("\n") == 1
    assert not list(alone.glob("*.html"))


@pytest.mark.parametrize(
    ("name", "line", "heading"),
    [
        ("scenes", "0             701          98          82", "<h2>Labels</h2>"),
        ("rotated_digits", "angle  train            5,752      -44.96", "Pictures by angle"),
        ("faces", "face           60          20          20", "<h2>Classes</h2>"),
    ],
)
def test_every_task_s_data_can_be_looked_at(jaxcnn, alone, name, line, heading):
    if name == "faces":
        pytest.importorskip("skimage")
    outcome = jaxcnn("look", name, "--augment", "flip")
    assert outcome.status == 0, outcome.err
    assert line in outcome.out
    page = (alone / f"look-{name}.html").read_text()
    assert heading in page and "After random changes" in page
