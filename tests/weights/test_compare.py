"""Where two implementations part: the stage, how far, and what does not fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import weights


@pytest.fixture
def lenet(drawn):
    return drawn("lenet5", num_classes=3)


@pytest.fixture
def reference(lenet, random):
    """What it computes itself, as another implementation would tell it."""
    images = random.normal(size=(2, 28, 28, 1)).astype(np.float32)
    _, stages = lenet(images, capture=True)
    return {"images": images} | {name: np.array(x) for name, x in stages.items()}


def test_the_same_numbers_part_nowhere(lenet, reference):
    found = weights.compare(lenet, reference)
    assert found.first is None and str(found).endswith("relative tolerance 0.0001: none parts")
    assert [row.stage for row in found.rows] == ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2", "head"]


def test_the_first_stage_that_parts_is_named(lenet, reference):
    reference["conv2"][1, 2, 3, 4] += 0.5
    reference["head"] += 1
    del reference["dense1"]
    found = weights.compare(lenet, reference)
    row = next(row for row in found.rows if row.stage == "conv2")
    assert found.first == "conv2" and row.absolute == pytest.approx(0.5, rel=1e-4)
    assert row.relative == pytest.approx(0.5 / np.abs(reference["conv2"]).max(), rel=1e-4)
    assert [row.stage for row in found.rows if row.parts] == ["conv2", "head"]
    assert "dense1" not in str(found)
    lines = str(found).splitlines()
    assert lines[3].startswith("conv2   (2, 10, 10, 16)") and lines[3].endswith("parts first")
    assert lines[-1].endswith("the first to part is conv2")
    assert weights.compare(lenet, reference, tolerance=1e9).first is None


def test_activations_of_pytorch_have_their_channels_first(lenet, reference):
    turned = {name: np.moveaxis(x, -1, 1) if x.ndim == 4 else x for name, x in reference.items()}
    assert weights.compare(lenet, turned, channels_first=True).first is None


@pytest.mark.parametrize("change", ["shape", "nan"])
def test_another_shape_and_a_nan_always_part(lenet, reference, change):
    reference["pool2"] = reference["pool2"][:, 1:] if change == "shape" else reference["pool2"] * np.nan
    found = weights.compare(lenet, reference, tolerance=1e9)
    assert found.first == "pool2"


def test_it_leaves_the_network_as_it_was(drawn, reference):
    model = drawn("lenet5", num_classes=3)
    model.train()
    before = jnp.array(model.head.bias[...])
    weights.compare(model, reference)
    assert jnp.array_equal(model.head.bias[...], before)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["conv1"], "`reference_activations` must hold 'images' and stages; got conv1."),
        (["images"], "`reference_activations` must hold 'images' and stages; got nothing else."),
        (["images", "fc"], "`reference_activations` must name stages, conv1, pool1, .*, head; got fc."),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(lenet, reference, keys, message):
    with pytest.raises(ValueError, match=message):
        weights.compare(lenet, {key: reference.get(key, np.zeros(1)) for key in keys})
