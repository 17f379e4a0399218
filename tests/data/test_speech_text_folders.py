"""Sounds, sentences and folders of pictures: what they become, and what is said of damaged ones."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from jaxcnn import data
from jaxcnn.data import speech, text

RATE = 8000


def tone(hertz, seconds=0.5, rate=RATE):
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for digit in range(3):
        for take in range(7):
            samples = (32767 * tone(300 * (digit + 1) + 5 * take)).astype(np.int16)
            wavfile.write(folder / f"{digit}_anna_{take}.wav", RATE, samples)
    return tmp_path


def test_takes_0_to_4_are_the_test_split(recordings):
    train, test = (data.load("fsdd", split, recordings) for split in ("train", "test"))
    assert (len(train.labels), len(test.labels)) == (6, 15)
    assert train.images.shape == (6, 100, 40) and train.images.dtype == np.float32
    assert sorted(test.labels.tolist()) == [0] * 5 + [1] * 5 + [2] * 5
    assert train.features == 40


def test_a_speaker_is_held_out(recordings):
    for digit in range(3):
        tune = (32767 * tone(310 * (digit + 1))).astype(np.int16)
        wavfile.write(recordings / "recordings" / f"{digit}_bert_0.wav", RATE, tune)
    train, test = (data.load("fsdd:bert", split, recordings) for split in ("train", "test"))
    assert (len(train.labels), test.labels.tolist()) == (21, [0, 1, 2]) and test.name == "fsdd:bert"
    with pytest.raises(ValueError, match="`speaker` must be one of anna, bert; got 'carl'."):
        data.load("fsdd:carl", "train", recordings)


def test_an_archive_reads_as_its_folder(recordings, tmp_path_factory):
    other = tmp_path_factory.mktemp("packed")
    with tarfile.open(other / "fsdd.tar.gz", "w:gz") as archive:
        archive.add(recordings / "recordings", "recordings")
    whole, packed = (data.load("fsdd", "test", folder) for folder in (recordings, other))
    np.testing.assert_array_equal(whole.images, packed.images)
    np.testing.assert_array_equal(whole.labels, packed.labels)


def test_what_a_mac_leaves_beside_recordings_is_none(recordings, tmp_path_factory):
    for path in sorted((recordings / "recordings").iterdir())[:3]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    other = tmp_path_factory.mktemp("packed")
    with tarfile.open(other / "fsdd.tar.gz", "w:gz") as archive:
        archive.add(recordings / "recordings", "recordings")
    for folder in (recordings, other):
        assert len(data.load("fsdd", "test", folder).labels) == 15


def test_a_tone_lights_its_band_as_long_as_it_sounds():
    low, high = (speech.log_mel(tone(hertz), RATE) for hertz in (300, 2500))
    assert low[20].argmax() < high[20].argmax()
    assert low[:48].max(1).min() > -20 and (low[56:] == -80).all(), "half a second of tone, then silence"
    assert low.max() == 0
    np.testing.assert_allclose(speech.log_mel(0.1 * tone(300), RATE), low, atol=0.2)  # loudness does not count
    twice = speech.log_mel(tone(300, rate=16000), 16000)
    assert abs(int(twice[20].argmax()) - int(low[20].argmax())) <= 1
    assert speech.log_mel(tone(300, seconds=3), RATE).shape == (100, 40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("1_anna_0.wav", b"RIFF....", "1_anna_0.wav must be a whole WAV file; reading it failed: "),
        ("eleven_anna_0.wav", None, "recordings must be named DIGIT_SPEAKER_TAKE.wav; got 'eleven_anna_0.wav'."),
    ],
)
def test_a_damaged_recording_is_named(recordings, name, content, message):
    path = recordings / "recordings" / name
    shutil.copy(recordings / "recordings" / "0_anna_0.wav", path) if content is None else path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        data.load("fsdd", "test", recordings)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_an_empty_recording_a_missing_folder_and_a_cut_archive(recordings, tmp_path_factory):
    wavfile.write(recordings / "recordings" / "0_anna_1.wav", RATE, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match="0_anna_1.wav must hold samples; got none."):
        data.load("fsdd", "test", recordings)
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(FileNotFoundError, match=r"must hold recordings/ or fsdd.tar.gz; it holds neither."):
        data.load("fsdd", "test", other)
    (other / "fsdd.tar.gz").write_bytes(b"\x1f\x8b\x08\x00no archive")
    with pytest.raises(ValueError, match="must be a whole archive; reading it failed: "):
        data.load("fsdd", "test", other)


def test_the_real_recordings(real_data):
    if not (real_data / "fsdd.tar.gz").exists():
        pytest.skip("no spoken digits there")
    test = data.load("fsdd", "test", real_data)
    assert np.bincount(test.labels).tolist() == [30] * 10 and test.images.min() == -80 and test.images.max() == 0


@pytest.fixture
def reviews(tmp_path):
    for kind, word in (("pos", "good"), ("neg", "bad")):
        lines = [f"a {word} film , number{i} , it's caf\xe9 ." for i in range(50)]
        (tmp_path / f"rt-polarity.{kind}").write_bytes("\n".join(lines).encode("cp1252"))
    return tmp_path


def test_reviews_are_split_in_ten_stratified_folds(reviews):
    seen, unknown = [], 0
    for fold in range(10):
        parts = {split: data.load(f"rt-polarity:{fold}", split, reviews) for split in ("train", "validation", "test")}
        assert {k: len(v.labels) for k, v in parts.items()} == {"train": 81, "validation": 9, "test": 10}
        assert parts["test"].labels.sum() == 5
        vocabulary = parts["test"].vocabulary
        seen += [" ".join(vocabulary[w] for w in row if w) for row in parts["train"].images]
        assert parts["train"].vocabulary == vocabulary and vocabulary[:2] == ("<padding>", "<unknown>")
        assert (parts["train"].images != 1).all(), "the vocabulary is that of the training split"
        unknown += (parts["test"].images == 1).sum()
    assert unknown
    assert len(set(seen)) == 100, "every sentence is learned from in some fold"
    plain = data.load("rt-polarity", "test", reviews)
    np.testing.assert_array_equal(plain.images, data.load("rt-polarity:0", "test", reviews).images)


def test_words_and_marks_are_tokens():
    assert text.tokenize("It's GOOD , isn't it ?") == ["it", "'s", "good", ",", "isn", "'t", "it", "?"]
    vocabulary = text.make_vocabulary(["b a a", "a c"], most=2)
    assert vocabulary[:3] == (text.PADDING, text.UNKNOWN, "a") and len(vocabulary) == 4
    words = text.encode(["a zebra", "a a a a"], (text.PADDING, text.UNKNOWN, "a"), 3)
    np.testing.assert_array_equal(words, [[2, 1, 0], [2, 2, 2]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rt-polarity:10", "`fold` must be from 0 to 9; got 10."),
        ("rt-polarity:x", "`name` must be one of .*; got 'rt-polarity:x'."),
        ("mnist:3", "`name` must be one of .*; got 'mnist:3'."),
    ],
)
def test_names_that_mean_nothing_are_refused(reviews, name, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, "test", reviews)


def test_missing_and_short_reviews(reviews):
    (reviews / "rt-polarity.pos").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="rt-polarity.pos must hold a sentence a line, at least 20; got 2."):
        data.load("rt-polarity", "test", reviews)
    (reviews / "rt-polarity.pos").unlink()
    with pytest.raises(FileNotFoundError, match="must hold rt-polarity.pos; it does not."):
        data.load("rt-polarity", "test", reviews)


def picture(path: Path, color, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(color, tuple) else "L", size, color).save(path)


@pytest.fixture
def pictures(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        for name, color in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
            for number in range(count):
                picture(tmp_path / split / name / f"{number}.png", color)
    return tmp_path


def test_a_folder_for_each_class_and_split(pictures):
    name = f"folder:{pictures}"
    assert data.splits(name) == ("train", "test")
    train, test = (data.load(name, split) for split in data.splits(name))
    assert train.images.shape == (8, 4, 6, 3) and test.images.shape == (4, 4, 6, 3)
    assert train.classes == ("blue", "red") and train.labels.tolist() == [0] * 4 + [1] * 4
    assert train.images[0, 0, 0].tolist() == [0, 0, 200] and train.name == name


def test_without_folders_for_splits_each_class_is_split_once_and_for_all(tmp_path):
    for number in range(20):
        picture(tmp_path / "dark" / f"{number:02}.png", number)
        picture(tmp_path / "light" / f"{number:02}.png", 200 + number)
    parts = {split: data.load(f"folder:{tmp_path}", split) for split in data.splits(f"folder:{tmp_path}")}
    assert {k: len(v.labels) for k, v in parts.items()} == {"train": 32, "validation": 4, "test": 4}
    values = np.concatenate([part.images[:, 0, 0, 0] for part in parts.values()])
    assert len(set(values.tolist())) == 40, "no picture twice"
    assert parts["train"].images.shape == (32, 4, 6, 1), "gray pictures have one channel"
    again = data.load(f"folder:{tmp_path}", "test")
    np.testing.assert_array_equal(again.images, parts["test"].images)


def test_damaged_and_odd_pictures_are_named(pictures):
    bad = pictures / "train" / "red" / "9.png"
    buffer = io.BytesIO()
    Image.effect_noise((6, 4), 50).save(buffer, "png")
    bad.write_bytes(buffer.getvalue()[:60])
    with pytest.raises(ValueError, match="1 of 9 pictures is damaged, .*9.png: image file is truncated; skip it with "):
        data.load(f"folder:{pictures}", "train")
    picture(bad, (1, 2, 3), size=(5, 4))
    with pytest.raises(ValueError, match="9.png must be as large as the first picture, 6x4; got 5x4."):
        data.load(f"folder:{pictures}", "train")


def test_folders_that_hold_nothing_useful(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="`folder:` must name a folder; got /no/where."):
        data.load("folder:/no/where", "train")
    picture(pictures / "test" / "green" / "0.png", (0, 200, 0))
    with pytest.raises(ValueError, match="test must hold the classes of .*train only; got green."):
        data.load(f"folder:{pictures}", "test")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="empty must hold a folder for every class; it holds none."):
        data.load(f"folder:{empty}", "train")
    (empty / "cats").mkdir()
    with pytest.raises(FileNotFoundError, match="empty must hold pictures of the train split; it holds none."):
        data.load(f"folder:{empty}", "train")


def test_digits_of_1989(real_data):
    train, test = (data.load("mnist1989", split, real_data) for split in ("train", "test"))
    assert train.images.shape == (7291, 16, 16, 1) and test.images.shape == (2007, 16, 16, 1)
    assert np.bincount(train.labels, minlength=10).min() > 500
