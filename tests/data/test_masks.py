"""Pictures with masks: scenes, folders, archives, and what is wrong with them in one sentence."""

import re

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data
from jaxcnn.data.mask_colors import in_picture, mask_colors, seen_part
from jaxcnn.data.masks import decode_mask
from jaxcnn.data.scenes import make_scene


def test_scene_masks_are_the_masks_of_the_scenes():
    test = data.load("scene_masks", "test")
    assert test.labels.shape == (500, 48, 48) and test.labels.dtype == np.uint8 and test.task == "segmentation"
    assert test.classes == ("ground", *"0123456789")
    np.testing.assert_array_equal(test.labels[7], make_scene("test", 7).mask)
    scenes = data.load("scenes", "test")
    np.testing.assert_array_equal(test.images, scenes.images)
    np.testing.assert_array_equal(test.counts()[1:], scenes.counts())


def write(folder, count=10, size=(12, 8), classes=3, suffix=".png", palette=False):
    """Pictures whose brightness numbers the classes of their masks; returns the masks."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    masks = random.integers(0, classes, (count, *size[::-1])).astype(np.uint8)
    for number, mask in enumerate(masks):
        Image.fromarray(mask * 100).save(folder / "images" / f"{number}{suffix}")
        picture = Image.fromarray(mask)
        if palette:
            picture.putpalette(mask_colors().tobytes())
        picture.save(folder / "masks" / f"{number}.png")
    return masks


@pytest.mark.parametrize("palette", [False, True])
def test_a_folder_is_split_and_numbers_its_classes(tmp_path, palette):
    masks = write(tmp_path, palette=palette)
    name = f"masks:{tmp_path}"
    parts = {split: data.load(name, split) for split in data.splits(name)}
    assert [len(part.labels) for part in parts.values()] == [8, 1, 1]
    for part in parts.values():
        assert part.classes == ("0", "1", "2") and part.task == "segmentation" and part.images.shape[1:] == (8, 12, 1)
        np.testing.assert_array_equal(part.images[..., 0], part.labels * 100)
        for place in range(len(part.labels)):
            number = int(part.example(place).rpartition("/")[2].removesuffix(".png"))
            np.testing.assert_array_equal(part.labels[place], masks[number])
    assert (
        "drawn from all pictures, 80, 10 and 10 %: 8 for train, 1 for validation, 1 for test" in parts["train"].notes[0]
    )


def test_folders_of_splits_names_of_classes_and_other_endings(tmp_path):
    write(tmp_path / "train", 4, suffix=".bmp")
    write(tmp_path / "val", 2, classes=2)
    (tmp_path / "classes.txt").write_text("ground\n\ncell\nwall\nsky\n")
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "train" / "masks" / "alone.png")
    name = f"masks:{tmp_path}"
    train, validation = (data.load(name, split) for split in ("train", "validation"))
    assert data.splits(name) == ("train", "validation") and train.classes == ("ground", "cell", "wall", "sky")
    assert validation.classes == train.classes and len(train.labels) == 4
    assert any("1 mask without a picture" in note for note in train.notes)
    (tmp_path / "classes.txt").write_text("ground\ncell\n")
    with pytest.raises(ValueError, match="must have a name for each class, from 0 to 2; it has 2."):
        data.load(name, "train")


def test_resized_masks_stay_with_their_pictures(tmp_path):
    """The middle square, half as large; every class is still a class, and where the picture tells it."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[4:20, 20:44] = 2
    for number in range(10):
        Image.fromarray(mask * 100).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    preprocessing = data.Preprocessing(size=(16, 16), resize=20)
    for size, height in ((20, 20), (preprocessing, 16)):
        train = data.load(f"masks:{tmp_path}", "train", image_size=size)
        assert train.labels.shape == (8, height, height) and set(np.unique(train.labels)) == {0, 2}
        sure = np.isin(train.images[..., 0], (0, 200))
        np.testing.assert_array_equal(train.labels[sure] * 100, train.images[..., 0][sure])
        assert sure.mean() > 0.6
    streamed = data.load(f"masks:{tmp_path}", "train", image_size=20, stream=True)
    whole = data.load(f"masks:{tmp_path}", "train", image_size=20)
    np.testing.assert_array_equal(streamed.labels, whole.labels)
    np.testing.assert_array_equal(streamed.images[:], whole.images)


def test_masks_of_0_and_255_are_two_classes_and_others_ignore_255(tmp_path):
    write(tmp_path, classes=2)
    for file in (tmp_path / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(file)) * 255).save(file)
    train = data.load(f"masks:{tmp_path}", "train")
    assert train.classes == ("0", "1") and set(np.unique(train.labels)) == {0, 1}
    assert "255 is read as class 1" in train.notes[-1]
    first = tmp_path / "masks" / "0.png"
    Image.fromarray(np.where(np.asarray(Image.open(first)) > 0, 1, 255).astype(np.uint8)).save(first)
    parts = [data.load(f"masks:{tmp_path}", split) for split in ("train", "validation", "test")]
    assert {part.classes for part in parts} == {("0", "1")}
    assert set(np.unique(np.concatenate([part.labels for part in parts]))) == {0, 1, 255}
    assert not any("read as class 1" in note for part in parts for note in part.notes)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_of_few_bits_is_not_scaled(tmp_path, bits):
    values = np.arange(16, dtype=np.uint8).reshape(4, 4) % 2**bits
    image = Image.fromarray(values, "L") if bits > 1 else Image.fromarray(values.astype(bool))
    if bits > 1:  # Pillow writes few bits only of palettes: the header is changed to gray
        image.putpalette([0, 0, 0] * 2**bits)
    image.save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(decode_mask(tmp_path / "mask.png"), values)


def test_deep_gray_with_numbers_of_classes_is_read(tmp_path):
    values = np.array([[0, 3], [255, 7]], np.uint16)
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "mask.png"), values)
    Image.fromarray(values * 100).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="must have values from 0 to 255; got 0 to 25500."):
        decode_mask(tmp_path / "mask.png")


def missing(folder):
    (folder / "masks" / "3.png").unlink()


def unlike(folder):
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(folder / "masks" / "3.png")


def colored(folder):
    Image.new("RGB", (12, 8)).save(folder / "masks" / "3.png")


def with_loss(folder):
    Image.open(folder / "masks" / "3.png").save(folder / "masks" / "3.jpg")
    (folder / "masks" / "3.png").unlink()


def torn(folder):
    file = folder / "masks" / "3.png"
    file.write_bytes(file.read_bytes()[:40])


def twice(folder):
    Image.open(folder / "masks" / "3.png").save(folder / "masks" / "3.tif")


def unpaired(folder):
    (folder / "masks").rename(folder / "mask")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (missing, "masks must have a mask for each of 10 pictures; 1 have none, the first is "),
        (unlike, "3.png must be as large as its picture, 12x8; got 12x9."),
        (colored, "3.png must be gray or have a palette, with the numbers of classes as values; its colors are RGB."),
        (with_loss, "3.jpg must be stored without loss, as PNG; .jpg changes the numbers of classes."),
        (torn, "3.png must be a whole picture; reading it failed: "),
        (twice, "masks must have one mask for each picture; got "),
        (unpaired, "must have the folders images and masks."),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path, harm, told):
    write(tmp_path)
    harm(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(told)) as caught:
        for split in ("train", "validation", "test"):
            data.load(f"masks:{tmp_path}", split)
    assert "\n" not in str(caught.value)


def test_damaged_pictures_can_be_left_out_with_their_masks(tmp_path):
    masks = write(tmp_path)
    (tmp_path / "images" / "3.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1 of 8 pictures is damaged"):
        data.load(f"masks:{tmp_path}", "train")
    train = data.load(f"masks:{tmp_path}", "train", skip_corrupt=True)
    assert len(train.labels) == len(train.images) == 7 and train.skipped == (str(tmp_path / "images" / "3.png"),)
    assert not any(np.array_equal(mask, masks[3]) for mask in train.labels)


def test_a_folder_of_classes_is_told_of_masks(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"has pictures with masks, use masks:{tmp_path}.")):
        data.load(f"folder:{tmp_path}", "train")
    with pytest.raises(FileNotFoundError, match="`masks:` must name a folder; got "):
        data.load(f"masks:{tmp_path / 'none'}", "train")


def test_an_archive_may_hold_masks(tmp_path):
    random = np.random.default_rng(0)
    images, masks = random.integers(0, 256, (6, 5, 4, 1)).astype(np.uint8), random.integers(0, 3, (6, 5, 4, 1))
    masks[0, 0, 0] = 255
    file = tmp_path / "masks.npz"
    np.savez(file, x_train=images, y_train=masks, x_test=images[:2], y_test=masks[:2, ..., 0])
    train, test = (data.load(f"npz:{file}", split) for split in ("train", "test"))
    assert train.task == test.task == "segmentation" and train.classes == ("0", "1", "2")
    np.testing.assert_array_equal(train.labels, masks[..., 0])
    for wrong, told in (
        (masks[..., 0] - 1, "must have values from 0 to 255; got -1 to 254."),
        (masks[:, :4, :, 0], r"must have the height and width of x_train; got (4, 4) for (5, 4)."),
        (masks[:5, ..., 0], "must hold one label for each of x_train; got 5 for 6."),
    ):
        np.savez(file, x_train=images, y_train=wrong, x_test=images[:2], y_test=masks[:2, ..., 0])
        with pytest.raises(ValueError, match=re.escape(told)):
            data.load(f"npz:{file}", "train")


def test_colors_stay_apart_and_what_does_not_count_is_white():
    colors = mask_colors()
    assert colors.shape == (256, 3) and len(np.unique(colors[:60], axis=0)) == 60
    np.testing.assert_array_equal(colors[[0, 255, 21, 40]], [[0, 0, 0], [255, 255, 255], [128, 64, 128], [64, 0, 64]])


def test_a_mask_goes_back_to_where_its_picture_was_cut():
    """A network sees the middle 40x40 of 60x40 pixels, reduced to a half; the rest does not count."""
    mask = np.arange(400, dtype=np.uint16).reshape(20, 20) % 250
    part = seen_part((40, 60), (20, 20), cut=True, fed=None)
    assert part == (0, 10, 40, 40)
    found = in_picture(mask.astype(np.uint8), (40, 60), part)
    np.testing.assert_array_equal(found[:, 10:50], np.kron(mask, np.ones((2, 2))))
    assert (found[:, :10] == 255).all() and (found[:, 50:] == 255).all()
    assert seen_part((40, 60), (20, 20), cut=False, fed=None) == (0, 0, 40, 60)
    fed = data.Preprocessing(size=(16, 16), resize=20)
    assert seen_part((40, 60), (16, 16), cut=True, fed=fed) == (4, 14, 32, 32)
