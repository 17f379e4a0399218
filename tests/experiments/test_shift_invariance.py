"""What the script counts itself."""

import numpy as np
import pytest
from flax import nnx

from experiments.shift_invariance import EXPECTED, agreement, network, under_shifts
from jaxcnn import data, inspect


def test_agreement_is_that_of_two_draws():
    answers = np.array([[1, 0], [1, 2], [1, 0], [1, 1]])  # a column always, one 1/2 + 1/4 + 1/4
    pairs = np.mean([answers[one] == answers[other] for one in range(4) for other in range(4)])
    assert agreement(answers) == pytest.approx(pairs) == pytest.approx((1 + 6 / 16) / 2)


def test_agreement_is_what_the_library_samples():
    """As pictures of one column, on which `inspect.shift_consistency` draws shifts."""
    signals = np.random.default_rng(0).normal(size=(20, 40, 1)).astype(np.float32)
    dataset = data.Dataset(signals, np.zeros(20, np.int32), ("0",), "noise", "test")
    model = network("stride 2", 0)
    exact = under_shifts(model, dataset, data.Scaling((0.0,), (1.0,), 1.0)).agreement

    class AsPictures(nnx.Module):
        def __init__(self):
            self.signals = model

        def __call__(self, images):
            return self.signals(images[:, :, 0])

    sampled = inspect.shift_consistency(AsPictures(), signals[:, :, None], reach=20, pairs=300, batch_size=20)
    assert exact / 100 == pytest.approx(sampled, abs=0.04)


@pytest.mark.parametrize("name", EXPECTED)
def test_shifts_by_the_whole_stride_change_nothing(name):
    signals = np.random.default_rng(0).normal(size=(5, 40, 1)).astype(np.float32)
    model = network(name, 0)
    model.eval()
    whole = 1 if name == "none" else 8
    moved = np.roll(signals, 3 * whole, axis=1)
    np.testing.assert_allclose(model(signals), model(moved), atol=1e-5)
    if name != "none":
        assert np.abs(model(signals) - model(np.roll(signals, 1, axis=1))).max() > 1e-4
