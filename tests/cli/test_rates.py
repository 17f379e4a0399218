"""`jaxcnn train --find-lr`: a table, a picture, a rate to take, and no run."""

import re

from PIL import Image


def test_it_prints_a_rate_and_draws_it(jaxcnn, tiny, alone):
    outcome = jaxcnn("train", *tiny, "--find-lr")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["learning", "rate", "mean", "loss"]
    assert float(lines[1].split()[0]) == 1e-5 and len(lines) >= 14
    rate = re.fullmatch(r"to use this rate: --learning-rate (\S+)", lines[-1])[1]
    assert 1e-5 < float(rate) < 1 and f"falls fastest at {rate}" in lines[-3]
    assert lines[-2] == "picture find-lr-mlp-digits.png"
    with Image.open("find-lr-mlp-digits.png") as picture:
        assert picture.width > 500
    assert [path.name for path in alone.iterdir()] == ["find-lr-mlp-digits.png"], "no run is begun"
    assert jaxcnn("train", *tiny, "--epochs", "1", "--learning-rate", rate).status == 0


def test_what_does_not_fit_is_one_sentence(jaxcnn, tiny, alone):
    outcome = jaxcnn("train", *tiny, "--find-lr", "--batch-size", "9999")
    assert outcome.status == 2 and outcome.err.count("\n") == 1
    assert "`batch_size` must be between 1 and the 1438 training examples" in outcome.err
    assert not list(alone.iterdir())
