"""Folders of pictures as people have them: other names of splits, what programs leave behind, empty classes."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data


def picture(path: Path, color: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), color).save(path)


@pytest.fixture
def flat(tmp_path) -> Path:
    """Two classes of ten pictures each, without folders of splits."""
    for name, first in (("cat", 0), ("dog", 100)):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png", first + number)
    return tmp_path


@pytest.fixture
def split(tmp_path) -> Path:
    """The same two classes in folders of three splits."""
    for part, count in (("train", 3), ("validation", 2), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                picture(tmp_path / part / name / f"{number}.png")
    return tmp_path


def every_split(root: Path, **options) -> dict[str, data.Dataset]:
    return {part: data.load(f"folder:{root}", part, **options) for part in data.splits(f"folder:{root}")}


def counts(root: Path) -> dict[str, int]:
    return {part: len(found.labels) for part, found in every_split(root).items()}


def litter(folder: Path) -> None:
    """What file systems, notebooks, archives and network drives leave in a folder of pictures."""
    source = next(folder.rglob("*.png"))
    for place in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".thumbnails"):
        (folder / place).mkdir()
        shutil.copy(source, folder / place / "copy.png")
    (folder / "._0.png").write_bytes(b"\0\5\x16\7")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")


def test_what_programs_leave_behind_changes_nothing(flat):
    before = every_split(flat)
    for folder in (flat, flat / "cat", flat / "dog"):
        litter(folder)
    for part, found in every_split(flat).items():
        assert found.classes == ("cat", "dog")
        np.testing.assert_array_equal(found.images, before[part].images)
        assert found.notes == before[part].notes


def test_what_programs_leave_beside_and_in_splits_changes_nothing(split):
    before = every_split(split)
    for folder in (split, split / "train", split / "test", split / "test" / "dog"):
        litter(folder)
    for part, found in every_split(split).items():
        assert (found.classes, len(found.labels)) == (("cat", "dog"), len(before[part].labels))
        assert found.notes == ()


def test_a_hidden_folder_above_is_no_matter(flat, tmp_path_factory):
    hidden = tmp_path_factory.mktemp("above") / ".cache" / "@eaDir"
    shutil.copytree(flat, hidden)
    assert counts(hidden) == {"train": 16, "validation": 2, "test": 2}


def test_a_folder_with_the_ending_of_a_picture_is_a_folder(flat):
    picture(flat / "cat" / "old.png" / "11.png", 11)
    assert sum(counts(flat).values()) == 21


def test_only_files_are_pictures_and_a_link_that_leads_nowhere_is_named(split):
    os.mkfifo(split / "train" / "cat" / "pipe.png")
    assert counts(split)["train"] == 6, "opening the pipe would wait for ever"
    (split / "train" / "cat" / "gone.png").symlink_to(split / "nowhere.png")
    with pytest.raises(ValueError, match="1 of 7 pictures is damaged, .*gone.png"):
        data.load(f"folder:{split}", "train")


def test_files_that_are_no_pictures_are_told_by_ending(flat):
    for name in ("cat/a.txt", "cat/b.TXT", "dog/c.heic", "dog/notes", "labels.csv"):
        (flat / name).write_text("none")
    picture(flat / "alone.png")
    notes = data.load(f"folder:{flat}", "test").notes
    assert notes[0] == f"{flat}: passed over 2 .txt, 1 .csv, 1 .heic, 1 without ending"
    assert notes[1] == f"{flat}: passed over 1 picture outside the folders of classes"


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPE"])
def test_other_endings_of_jpeg_are_pictures(split, ending):
    Image.new("L", (6, 4)).save(split / "train" / "cat" / f"x.{ending}", "jpeg")
    assert counts(split)["train"] == 7


def test_a_class_without_pictures_is_named_and_may_be_allowed(split):
    (split / "train" / "emu").mkdir()
    (split / "train" / "emu" / "1.heic").write_text("none")
    (split / "train" / "fox").mkdir()
    with pytest.raises(ValueError) as caught:
        data.load(f"folder:{split}", "train")
    assert str(caught.value) == (
        f"{split}/train must hold undamaged pictures of every class; got none of emu (1 .heic), fox (no files); "
        "accept such classes with `allow_empty` (--allow-empty)."
    )
    found = data.load(f"folder:{split}", "train", allow_empty=True)
    assert found.classes == ("cat", "dog", "emu", "fox") and set(found.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("stream", [False, True])
def test_a_class_whose_pictures_are_all_damaged_is_named(split, stream):
    for number in range(2):
        (split / "train" / "emu").mkdir(exist_ok=True)
        (split / "train" / "emu" / f"{number}.png").write_text("none")
    with pytest.raises(ValueError, match=r"got none of emu \(2 damaged\)"):
        data.load(f"folder:{split}", "train", skip_corrupt=True, stream=stream)
    options = {"skip_corrupt": True, "allow_empty": True, "stream": stream}
    assert len(data.load(f"folder:{split}", "train", **options).labels) == 6


def test_a_class_that_is_not_tested_is_none_of_that(split):
    shutil.rmtree(split / "test" / "cat")
    found = data.load(f"folder:{split}", "test")
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [1]


def test_only_folders_have_empty_classes():
    rule = "`allow_empty` must be False except for folders of pictures; got True for digits."
    with pytest.raises(ValueError, match=rule):
        data.load("digits", "train", allow_empty=True)


@pytest.mark.parametrize(
    "names",
    [("Train", "Val", "Test"), ("train", "valid", "TEST"), ("Training", "Validation", "Testing")],
    ids=" ".join,
)
def test_splits_have_several_names_in_any_case(split, names):
    for before, after in zip(("train", "validation", "test"), names, strict=True):
        (split / before).rename(split / f"{after}-")
        (split / f"{after}-").rename(split / after)
    assert counts(split) == {"train": 6, "validation": 4, "test": 2}
    assert data.load(f"folder:{split}", "validation").split == "validation"


def test_two_folders_for_one_split_are_refused(split):
    picture(split / "val" / "cat" / "0.png")
    with pytest.raises(ValueError, match="must hold one folder for the validation split; got val, validation."):
        data.splits(f"folder:{split}")


def test_splits_without_one_to_learn_from_are_no_classes(split):
    shutil.rmtree(split / "train")
    with pytest.raises(FileNotFoundError, match="must have a folder train beside .*; it has test, validation."):
        data.splits(f"folder:{split}")


def test_a_class_may_be_called_like_a_split_where_there_are_no_splits(flat):
    picture(flat / "test" / "0.png")
    assert data.load(f"folder:{flat}", "train").classes == ("cat", "dog", "test")


def test_folders_beside_those_of_splits_are_named(split):
    picture(split / "extra" / "cat" / "0.png")
    note = f"{split}: not read, beside train, validation, test: extra"
    assert all(found.notes == (note,) for found in every_split(split).values())


def test_a_folder_without_splits_tells_how_it_was_split(flat):
    note = f"{flat}: no folders of splits; drawn from each class, 80, 10 and 10 %: "
    for found in every_split(flat).values():
        assert found.notes == (f"{note}16 for train, 2 for validation, 2 for test",)


def test_what_is_drawn_for_a_split_is_frozen_and_in_order(flat):
    """The same for everyone and for ever, or what one run was tested on the next would learn."""
    kept = [1, 2, 3, 4, 6, 7, 8, 9]
    drawn = {"train": kept + [100 + number for number in kept], "validation": [0, 100], "test": [5, 105]}
    assert {part: found.images[:, 0, 0, 0].tolist() for part, found in every_split(flat).items()} == drawn


def test_a_tilde_is_the_home_folder(flat, monkeypatch):
    monkeypatch.setenv("HOME", str(flat.parent))
    found = data.load(f"folder:~/{flat.name}", "test")
    assert len(found.labels) == 2 and found.name == f"folder:{flat}"
    arrays: dict[str, Any] = {"x_train": np.zeros((2, 4, 4), np.uint8), "y_train": np.zeros(2, np.uint8)}
    np.savez(flat / "some.npz", **arrays)
    assert data.splits(f"npz:~/{flat.name}/some.npz") == ("train",)
    with pytest.raises(FileNotFoundError, match=f"{flat} must hold train-images"):
        data.load("mnist", "train", f"~/{flat.name}")
    monkeypatch.setenv("JAXCNN_DATA_DIR", f"~/{flat.name}")
    with pytest.raises(FileNotFoundError, match=f"{flat} must hold train-images"):
        data.load("mnist", "train")


def test_a_folder_named_without_its_kind_is_understood(tmp_path):
    with pytest.raises(ValueError, match=rf"; got '{tmp_path}'; perhaps you meant 'folder:{tmp_path}'\.$"):
        data.load(str(tmp_path), "train")
    with pytest.raises(ValueError, match=rf"; got '{tmp_path}/no'\.$"):
        data.load(f"{tmp_path}/no", "train")
