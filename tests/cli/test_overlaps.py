"""`jaxcnn train` says which pictures of one's own are in two splits."""

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data
from jaxcnn.cli.overlaps import overlaps


@pytest.fixture
def pictures(alone):
    """A folder whose test split holds a recompressed picture of the training split, in another class."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            (alone / "own" / split / name).mkdir(parents=True)
            for place in range(count):
                pixels = draw.integers(0, 256, (5, 5, 3)).astype(np.uint8)
                Image.fromarray(pixels).resize((24, 24)).save(alone / "own" / split / name / f"{place}.png")
    copied = Image.open(alone / "own" / "train" / "cat" / "2.png")
    copied.save(alone / "own" / "test" / "dog" / "copy.jpg", quality=90)
    return alone / "own"


def test_a_run_says_so_before_it_trains(jaxcnn, tiny, pictures):
    outcome = jaxcnn("train", *tiny, "--data", "folder:own", "--epochs", "1", "--batch-size", "4")
    assert outcome.status == 0, outcome.err
    (told,) = [line for line in outcome.out.splitlines() if "nearly" in line]
    assert told == (
        "1 of 7 test picture nearly equals a training picture, so the result will be too good: "
        "own/test/dog/copy.jpg and own/train/cat/2.png"
    )
    assert outcome.out.index(told) < outcome.out.index("epoch   1")


def test_published_data_streams_and_other_kinds_are_not_compared(pictures):
    train, test = (data.load(f"folder:{pictures}", split) for split in ("train", "test"))
    assert len(overlaps(train, [test])) == 1
    assert overlaps(train._replace(name="cifar10"), [test]) == []
    streamed = data.load(f"folder:{pictures}", "test", stream=True)
    assert overlaps(train, [streamed]) == []
    (pictures / "test" / "dog" / "copy.jpg").unlink()
    assert overlaps(train, [data.load(f"folder:{pictures}", "test")]) == []
