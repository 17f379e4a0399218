"""A run folder of an older version opens, and resumes where it was interrupted.

The file holds a run of November 2026 (commit b334dbc), which was interrupted at step 5 of 9, and in `end.npz` all
variables at the end of the same run without a break.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from jaxcnn import training

CONFIG = training.TrainConfig(
    epochs=3, batch_size=6, learning_rate=0.05, log_every=1, checkpoint_every=2, ema_decay=0.9
)


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(Path(__file__).with_name("run_of_november_2026.zip")) as file:
        file.extractall(tmp_path / "run")
    return tmp_path / "run"


def test_it_opens(small, folder):
    model = small.Convolutional(nnx.Rngs(1))
    scaling = training.restore_model(model, folder)
    assert np.isfinite(model(scaling(small.noise(3).images))).all()
    assert [row["step"] for row in training.read_log(folder / "metrics.jsonl")][-1] == 5


def test_it_resumes_to_the_end_that_it_would_have_had(small, folder):
    model = small.Convolutional(nnx.Rngs(0))
    result = training.fit(
        model, small.noise(20), small.noise(7, "test"), CONFIG, folder=folder, resume=True, observer=None
    )
    assert (result.steps, result.interrupted) == (9, False)
    end = np.load(folder / "end.npz")
    found = {"/".join(map(str, path)): value for path, value in small.everything(model).items()}
    assert found.keys() == set(end.files)
    for path in found.keys() - {"conv/bias", "norm/mean"}:  # before a normalization: the bias has no gradient but noise
        np.testing.assert_allclose(found[path], end[path], rtol=1e-3, atol=1e-4, err_msg=path)
