"""`jaxcnn train --split`: the run tells its division, and every command keeps to it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

SPLIT = ["--split", "0.5", "0.25", "0.25", "--split-group", r"p(\d+)_", "--split-seed", "1"]


@pytest.fixture(scope="module")
def made(jaxcnn, tiny, tmp_path_factory):
    """A run on a folder of two classes, with four pictures of each of eight patients."""
    top = tmp_path_factory.mktemp("divided")
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        (top / "scans" / name).mkdir(parents=True)
        for number in range(16):
            pixels = random.integers(0, 100, (8, 8)) + 100 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(top / "scans" / name / f"p{number // 2}_{number}.png")
    options = ["--data", f"folder:{top / 'scans'}", "--epochs", "1", "--batch-size", "4", "--out", top / "run"]
    outcome = jaxcnn("train", *tiny, *options, *SPLIT)
    assert (outcome.status, outcome.err) == (0, "")
    return top, options, outcome


def test_the_run_says_and_notes_how_it_was_divided(made):
    top, _, outcome = made
    told = "no folders of splits; divided by 50, 25 and 25 %, seed 1, 8 groups by 'p(\\\\d+)_' kept together: "
    assert f"{top / 'scans'}: {told}16 for train, 8 for validation, 8 for test" in outcome.out.splitlines()
    noted = json.loads((top / "run" / "config.json").read_text())
    assert noted["division"] == {"shares": [0.5, 0.25, 0.25], "seed": 1, "group": r"p(\d+)_"}
    assert noted["data"]["count"] == 16


def test_evaluations_divide_in_the_same_way(jaxcnn, made, monkeypatch, tmp_path):
    top, _, outcome = made
    found = jaxcnn("eval", top / "run")
    assert "8 for test" in found.out
    result = json.loads((top / "run" / "evaluation.json").read_text())
    assert f"accuracy {100 * result['accuracy']:.2f} % ({round(8 * result['accuracy'])} of 8)" in found.out
    shutil.copytree(top / "scans", tmp_path / "moved")
    moved = jaxcnn("eval", top / "run", "--data", f"folder:{tmp_path / 'moved'}")
    assert "8 for test" in moved.out and "of 8)" in moved.out
    told = jaxcnn("eval", top / "run", "--data", "digits")
    assert told.status == 2 and "split" not in told.err, "data with splits keeps them"
    features = jaxcnn("features", top / "run", "--at", "dense1", "--out", tmp_path / "f.npz")
    assert "16 train, 8 test examples" in features.out, features


def test_a_run_resumes_with_its_division_only(jaxcnn, tiny, made):
    top, options, _ = made
    assert jaxcnn("train", *tiny, *options, *SPLIT, "--resume").status == 0
    for other in ([], ["--split", "0.5", "0.25", "0.25"]):
        refused = jaxcnn("train", *tiny, *options, *other, "--resume")
        assert refused.status == 2 and "must be resumed with its own configuration" in refused.err
        assert "division.group was 'p(\\\\d+)_', now None" in refused.err
    repeated = jaxcnn("train", "--config", top / "run" / "config.json", "--print-config")
    assert json.loads(repeated.out)["split"] == [0.5, 0.25, 0.25]
    assert json.loads(repeated.out)["split_group"] == r"p(\d+)_"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "0.5", "0.5"], "`split` must be three shares with the sum 1, of training, validation and test;"),
        (["--split", "0.7", "0.2", "0.1"], "`split` is for data without splits; digits has train, validation, test."),
        (["--split-group", "x"], "`split_group` and `split_seed` need `split`, which is not given."),
        (["--split", "0.7", "0.2", "x"], "`--split` must have values of its kind; got '0.7', '0.2', 'x'."),
    ],
    ids=str,
)
def test_refusals(jaxcnn, alone, words, message):
    outcome = jaxcnn("train", *words)
    assert outcome.status == 2 and outcome.err.startswith(f"jaxcnn: {message}"), outcome.err
