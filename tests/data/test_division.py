"""Data without splits is divided by shares of each class, or by group, always in the same way."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data
from jaxcnn.data import Division


def picture(path, color=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), color).save(path)


@pytest.fixture
def flat(tmp_path):
    """Two classes of twenty pictures, four of each of five patients, and no folders of splits."""
    for name, first in (("ill", 0), ("well", 100)):
        for number in range(20):
            picture(tmp_path / name / f"p{number // 4}_{number}.png", first + number)
    return tmp_path


def every_split(name, division):
    return {split: data.load(name, split, division=division) for split in data.splits(name, division=division)}


def test_each_class_has_its_shares():
    labels = np.repeat([0, 1, 2], [100, 40, 7])
    parts = Division((0.7, 0.2, 0.1)).parts(labels)
    counts = [np.bincount(parts[labels == label], minlength=3).tolist() for label in range(3)]
    assert counts == [[70, 20, 10], [28, 8, 4], [5, 1, 1]]
    same, other = (Division((0.7, 0.2, 0.1), seed).parts(labels) for seed in (0, 1))
    assert (parts == same).all() and (parts != other).any()
    assert Counter(Division((0.5, 0, 0.5)).parts(labels[:10]).tolist()) == {0: 5, 2: 5}
    assert Counter(Division((0.5, 0, 0.5)).parts(np.random.rand(10, 3)).tolist()) == {0: 5, 2: 5}, "no classes"


def test_groups_stay_together(random):
    groups = random.integers(0, 60, 3000)
    labels = (random.random(3000) < 0.2 + 0.01 * groups).astype(int)  # patients differ in their share of each class
    whose = zip(groups, labels, strict=True)
    files = [f"{'ab'[label]}/patient{group}-{place}.png" for place, (group, label) in enumerate(whose)]
    division = Division((0.7, 0.15, 0.15), group=r"patient(\d+)-")
    parts = division.parts(labels, files)
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in range(60))
    for label in (0, 1):
        shares = np.bincount(parts[labels == label], minlength=3) / (labels == label).sum()
        np.testing.assert_allclose(shares, (0.7, 0.15, 0.15), atol=0.03)
    assert (Division((0.7, 0.15, 0.15), 1, r"patient(\d+)-").parts(labels, files) != parts).any()
    whole = Division((0.7, 0.15, 0.15), group=r"^\w/patient\d+").parts(labels, files)
    assert any(len(set(whole[groups == group].tolist())) == 2 for group in range(60)), "the class is in the match"


def test_a_folder_is_divided(flat):
    name, division = f"folder:{flat}", Division((0.5, 0.25, 0.25), seed=3)
    found = every_split(name, division)
    assert {split: examples.counts().tolist() for split, examples in found.items()} == {
        "train": [10, 10],
        "validation": [5, 5],
        "test": [5, 5],
    }
    files = [path for examples in found.values() for path in examples.files.tolist()]
    assert len(files) == len(set(files)) == 40
    assert (
        f"{flat}: no folders of splits; drawn from each class, 50, 25 and 25 %, seed 3: 20 for train, 10 for"
        in (found["train"].notes[0])
    )
    streamed = data.load(name, "test", division=division, stream=True)
    assert streamed.files.tolist() == found["test"].files.tolist()
    assert data.splits(name, division=Division((0.5, 0, 0.5))) == ("train", "test")
    usual = every_split(name, Division((0.8, 0.1, 0.1)))
    plain = {split: data.load(name, split) for split in data.splits(name)}
    assert all(usual[split].files.tolist() == plain[split].files.tolist() for split in plain)


def test_a_folder_is_divided_by_group(flat):
    found = every_split(f"folder:{flat}", Division((0.6, 0.2, 0.2), group=r"p(\d)_"))
    patients = {split: {path.split(b"/")[-1][:2] for path in some.files.tolist()} for split, some in found.items()}
    assert [len(patients[split]) for split in ("train", "validation", "test")] == [3, 1, 1]
    assert not patients["train"] & patients["test"] and not patients["validation"] & patients["test"]
    assert "5 groups by 'p(\\\\d)_' kept together: 24 for train, 8 for validation, 8 for test" in found["test"].notes[0]
    some = data.load(f"folder:{flat}", "train", division=Division((0.6, 0.2, 0.2), group=r"p([0-3])_"))
    assert "8 pictures match nothing, and are groups of their own" in some.notes[0]


def test_an_archive_is_divided(tmp_path):
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1) * np.ones((1, 4, 4, 1), np.uint8)
    np.savez(tmp_path / "all.npz", x_train=images, y_train=np.arange(40) % 2)
    name = f"npz:{tmp_path / 'all.npz'}"
    found = every_split(name, Division((0.5, 0.25, 0.25)))
    assert {split: some.counts().tolist() for split, some in found.items()} == {
        "train": [10, 10],
        "validation": [5, 5],
        "test": [5, 5],
    }
    seen = np.concatenate([some.images[:, 0, 0, 0] for some in found.values()])
    assert sorted(seen.tolist()) == list(range(40)) and found["test"].split == "test"
    assert found["test"].notes[-1].startswith(f"{name}: drawn from each class, 50, 25 and 25 %, seed 0: 20 for train")
    with pytest.raises(ValueError, match="`split_group` needs pictures in files; got 'x' for data without."):
        data.load(name, "test", division=Division((0.5, 0.25, 0.25), group="x"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (((0.7, 0.3),), "`split` must be three shares with the sum 1, of training, validation and test; got 0.7 0.3."),
        (((0.7, 0.2, 0.2),), "`split` must be three shares with the sum 1"),
        (((1.0, 0.0, 0.0),), "`split` must be three shares with the sum 1"),
        (((1.2, -0.4, 0.2),), "`split` must be three shares with the sum 1"),
        (((0.7, 0.2, 0.1), -1), "`split_seed` must not be negative; got -1."),
        (((0.7, 0.2, 0.1), 0, "("), "`split_group` must be a regular expression; missing )"),
    ],
    ids=str,
)
def test_wrong_divisions_are_refused(values, message):
    with pytest.raises(ValueError) as refused:
        Division(*values)
    assert str(refused.value).startswith(message)


def test_data_that_cannot_be_divided_is_refused(flat, tmp_path_factory):
    division = Division((0.7, 0.2, 0.1))
    with pytest.raises(ValueError, match="`split` is for data without splits; digits has train, validation, test."):
        data.splits("digits", division=division)
    with pytest.raises(ValueError, match="`split` is for data without splits; digits has"):
        data.load("digits", "train", division=division)
    ours = tmp_path_factory.mktemp("ours")
    picture(ours / "train" / "cat" / "1.png")
    with pytest.raises(ValueError, match=f"`split` is for data without splits; {ours} has folders for them: train."):
        data.splits(f"folder:{ours}", division=division)
    with pytest.raises(ValueError, match="must put examples into every split; got none for validation, of 2 groups"):
        data.load(f"folder:{flat}", "train", division=Division((0.7, 0.2, 0.1), group="well|ill"))
    with pytest.raises(ValueError, match="must match paths of pictures; 'x.' matches none, for example ill/p0_0.png."):
        data.load(f"folder:{flat}", "train", division=Division((0.7, 0.2, 0.1), group="x."))
