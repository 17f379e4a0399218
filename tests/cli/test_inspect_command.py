"""`jaxcnn inspect`: a page about one picture, in one command."""

import re

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, inspect, models

SECTIONS = [
    "The image",
    "Feature maps",
    "First-layer filters",
    "Receptive fields",
    "Effective receptive fields",
    "The network",
    "Parameters and work",
    "What sharing weights saves",
    "The sliding window",
    "Convolution as a matrix",
    "Max-pooling as routing",
    "Classic filters",
]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a <six>.png"
    Image.fromarray(data.load("digits", "test").images[3][..., 0]).save(path)
    return path


def test_the_page_has_everything_that_applies(jaxcnn, trained, picture, tmp_path):
    outcome = jaxcnn("inspect", trained[0], picture, "--out", tmp_path / "page.html")
    assert (outcome.status, outcome.err) == (0, "")
    *progress, last = outcome.out.splitlines()
    assert last == f"{picture}: page {tmp_path / 'page.html'}"
    assert progress[0] == "1/13 prediction" and [line.split("/")[0] for line in progress] == [
        str(n + 1) for n in range(13)
    ]
    page = (tmp_path / "page.html").read_text()
    found = re.findall("<h2>(.*?)</h2>", page)
    assert [title for title in found if title in SECTIONS] == SECTIONS
    assert "<h1>a &lt;six&gt;.png in lenet5</h1>" in page
    assert re.findall(r'alt="Feature maps of (\w+)"', page) == ["conv1", "pool1", "conv2", "pool2"]
    bare = re.sub(r'src="data:image/(png|gif);base64,[^"]*"', "", page)
    assert not re.search(r"https?://|//[a-z]|@import|url\(|src=", bare), "it needs nothing else"
    assert page.count("data:image/gif") == 1


def test_a_picture_that_is_not_there_is_refused(jaxcnn, trained, tmp_path):
    outcome = jaxcnn("inspect", trained[0], tmp_path / "none.png")
    assert outcome.status == 2 and "none.png does not exist" in outcome.err
    assert not list(trained[0].glob("inspect-*"))


def test_pictures_of_other_shapes_are_refused():
    model = models.create("mlp", hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`picture` must be \(H, W, C\) uint8; got float64 of shape \(28, 28\)"):
        inspect.write_image_page("page.html", model, np.zeros((28, 28)), data.Scaling((0.1,), (0.3,)), ("a",) * 10)
