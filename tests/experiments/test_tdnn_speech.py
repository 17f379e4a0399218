"""Whose voices `experiments/tdnn_speech.py` learns from."""

import numpy as np

from experiments import tdnn_speech
from jaxcnn import data


def test_a_voice_that_is_tested_is_not_learned_from(monkeypatch):
    def load(name, split):
        speaker = name.removeprefix("fsdd:")
        assert split == "test" and speaker in ("ann", "bob", "cid")
        return data.Dataset(np.full((2, 5, 3), ord(speaker[0]), np.float32), np.arange(2), ("0", "1"), name, split)

    monkeypatch.setattr(tdnn_speech, "load", load)
    learned, tested = tdnn_speech.held_out("bob", ("ann", "bob", "cid"))
    assert set(learned.images.ravel()) == {ord("a"), ord("c")} and set(tested.images.ravel()) == {ord("b")}
    assert learned.labels.tolist() == [0, 1, 0, 1] and learned.split == "train"
