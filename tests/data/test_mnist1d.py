"""MNIST-1D as its authors' package generates it."""

import random

import numpy as np
import pytest

from jaxcnn import data


def test_it_is_the_one_of_the_paper_and_leaves_random_numbers_alone():
    pytest.importorskip("mnist1d")
    before = random.getstate(), np.random.get_state()[1].copy()
    train, test = (data.load("mnist1d", split) for split in ("train", "test"))
    assert train.images.shape == (4000, 40, 1) and test.images.shape == (1000, 40, 1)
    assert train.images.dtype == np.float32 and np.bincount(np.r_[train.labels, test.labels]).tolist() == [500] * 10
    everything = np.concatenate([train.images, test.images])
    assert abs(everything.mean()) < 1e-6 and abs(everything.std() - 1) < 1e-6
    assert before[0] == random.getstate() and (before[1] == np.random.get_state()[1]).all()


def test_without_the_generator_one_is_told_what_to_install(monkeypatch):
    from jaxcnn.data import mnist1d

    mnist1d._generated.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "jaxcnn\[mnist1d\]"'):
        data.load("mnist1d", "test")
