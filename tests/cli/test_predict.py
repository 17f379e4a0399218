"""`predict`: pictures, folders and patterns in, a table, JSON or CSV out, whatever the pictures are like."""

import csv
import io
import json
import re
import struct
import zlib

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxcnn import data, models, training, weights

LINE = re.compile(r"(?P<path>\S.*?) +(?P<ranking>\d +\d+\.\d %(  \d +\d+\.\d %)*)(  \((?P<changes>.+)\))?")


@pytest.fixture(scope="session")
def digit():
    return data.load("digits", "test").images[0, ..., 0]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Test digits as files: gray, colored, large, and one that is none; some in a folder below, some hidden."""
    folder = tmp_path_factory.mktemp("pictures")
    images = data.load("digits", "test").images[..., 0]
    Image.fromarray(images[0]).save(folder / "gray.png")
    Image.fromarray(images[1]).convert("RGB").save(folder / "color.png")
    Image.fromarray(255 - images[2]).resize((56, 56)).save(folder / "large dark.png")
    (folder / "text.png").write_text("no picture\n")
    for name in ("below/deep.PNG", ".hidden/no.png", "below/.no.png", "below/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(images[3]).save(folder / name, "PNG")
    return folder


@pytest.fixture(scope="session")
def answers(trained):
    """What the network says of the test digits, by the library."""
    model = models.create("lenet5", rngs=nnx.Rngs(0))
    scaling = training.restore_model(model, trained[0])
    return training.predict(model, data.load("digits", "test").images[:20], scaling)


def test_a_table_names_the_classes_that_the_network_gives(jaxcnn, trained, pictures, answers):
    outcome = jaxcnn("predict", trained[0], pictures / "gray.png")
    assert (outcome.status, outcome.err) == (0, "")
    ranking = "  ".join(f"{digit} {100 * answers[0][digit]:5.1f} %" for digit in np.argsort(-answers[0])[:3])
    path = str(pictures / "gray.png")
    assert outcome.out == f"{'picture':<{len(path)}}  1          2          3\n{path}  {ranking}\n"


def test_json_and_csv_say_the_same(jaxcnn, trained, pictures, answers):
    files = [pictures / "gray.png", pictures / "color.png"]
    found = json.loads(jaxcnn("predict", trained[0], *files, "--format", "json", "--top", "2").out)
    rows = list(csv.DictReader(io.StringIO(jaxcnn("predict", trained[0], *files, "--format", "csv", "--top", "2").out)))
    for number, (told, row, file) in enumerate(zip(found, rows, files, strict=True)):
        best = np.argsort(-answers[number])[:2]
        assert told["picture"] == row["picture"] == str(file)
        assert [entry["class"] for entry in told["top"]] == [row["class_1"], row["class_2"]] == [str(b) for b in best]
        probabilities = [entry["probability"] for entry in told["top"]]
        assert probabilities == [float(row["probability_1"]), float(row["probability_2"])]
        np.testing.assert_allclose(probabilities, answers[number][best], atol=1e-5)
    assert (found[0]["changes"], found[1]["changes"]) == ([], ["color made gray"])
    assert rows[1]["changes"] == "color made gray"


@pytest.mark.parametrize("name", ["answers.json", "answers.csv", "answers.txt"])
def test_a_file_gets_the_answers_in_the_form_of_its_ending(jaxcnn, trained, pictures, tmp_path, name):
    outcome = jaxcnn("predict", trained[0], pictures / "gray.png", "--out", tmp_path / name)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    text = (tmp_path / name).read_text()
    assert text[0] == {"json": "[", "csv": "p", "txt": "p"}[name[-4:].strip(".").replace("s.", "")]
    assert ("," in text.splitlines()[0]) == name.endswith("csv")


def test_folders_and_patterns_mean_the_pictures_in_them(jaxcnn, trained, pictures):
    def named(*arguments):
        outcome = jaxcnn("predict", trained[0], *arguments, "--format", "csv")
        return [row["picture"].removeprefix(f"{pictures}/") for row in csv.DictReader(io.StringIO(outcome.out))]

    assert named(pictures) == ["color.png", "gray.png", "large dark.png", "below/deep.PNG"]
    assert named(f"{pictures}/*a*.png") == ["gray.png", "large dark.png"]
    assert named(f"{pictures}/**/*.PNG", pictures / "gray.png") == ["below/deep.PNG", "gray.png"]


def test_more_pictures_than_a_batch_come_in_their_order(jaxcnn, trained, tmp_path, answers):
    for number, image in enumerate(data.load("digits", "test").images[:20, ..., 0]):
        Image.fromarray(image).save(tmp_path / f"{number:02}.png")
    (tmp_path / "07b.png").write_text("no picture\n")
    outcome = jaxcnn("predict", trained[0], tmp_path, "--batch-size", "8", "--format", "json", "--top", "1")
    found = json.loads(outcome.out)
    assert [told["picture"] for told in found] == [str(tmp_path / f"{number:02}.png") for number in range(20)]
    assert [told["top"][0]["class"] for told in found] == [str(best) for best in answers.argmax(-1)]
    assert outcome.status == 2 and outcome.err.count("\n") == 1


def test_it_tells_how_it_changed_a_picture(jaxcnn, trained, pictures):
    outcome = jaxcnn("predict", trained[0], pictures / "color.png", pictures / "large dark.png", "--invert")
    first, second = (LINE.fullmatch(line) for line in outcome.out.splitlines()[1:])
    assert first["changes"] == "color made gray; inverted"
    assert second["changes"] == "56x56 resized to 28x28; inverted"


@pytest.mark.parametrize(("top", "named"), [(1, 1), (10, 10), (99, 10)])
def test_it_names_as_many_classes_as_asked(jaxcnn, trained, pictures, top, named):
    outcome = jaxcnn("predict", trained[0], pictures / "gray.png", "--top", str(top))
    assert outcome.out.count("%") == named


def test_one_bad_file_does_not_stop_the_others(jaxcnn, trained, pictures):
    files = [pictures / name for name in ("missing.png", "gray.png", "text.png", "color.png")]
    outcome = jaxcnn("predict", trained[0], *files)
    assert outcome.status == 2
    assert [LINE.fullmatch(line)["path"] for line in outcome.out.splitlines()[1:]] == [str(files[1]), str(files[3])]
    missing, text = outcome.err.splitlines()
    assert missing == f"jaxcnn: {files[0]} does not exist."
    assert text == f"jaxcnn: {files[2]} must be a picture; Pillow recognizes no format in it."


def test_no_readable_file_at_all_is_status_2(jaxcnn, trained, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = jaxcnn("predict", trained[0], pictures / "text.png", tmp_path / "empty", f"{tmp_path}/*.gif")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.splitlines()[1:] == [
        f"jaxcnn: {tmp_path / 'empty'} must hold pictures; it holds none.",
        f"jaxcnn: {tmp_path}/*.gif must match files; it matches none.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`pictures` must name at least one file; got none."),
        (["x.png", "--top", "0"], "`top` must be positive; got 0."),
        (["x.png", "--batch-size", "0"], "`batch_size` must be positive; got 0."),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(jaxcnn, trained, arguments, message):
    outcome = jaxcnn("predict", trained[0], *arguments)
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"jaxcnn: {message}\n")


def png(path, pixels, kind):
    """A PNG of 16 bits a channel, which Pillow itself cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def variants(folder, digit):
    """The same digit, dark around, as cameras and programs keep it."""
    wide = digit.astype(np.uint16) * 257
    alpha = np.full_like(digit, 255)
    rgb = np.stack([digit] * 3, -1)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to the right to see it upright
    Image.fromarray(np.rot90(digit)).save(folder / "turned.png", exif=exif)
    Image.fromarray(np.dstack([rgb, alpha])).save(folder / "opaque.png")
    clear = np.dstack([np.zeros_like(rgb), 255 - digit])  # black ink, thick where the digit is dark, on white
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(digit).save(folder / "gray.tiff")
    Image.fromarray(rgb).save(folder / "color.bmp")
    Image.fromarray(wide).save(folder / "wide.tiff")
    png(folder / "wide gray.png", wide, 0)
    png(folder / "wide color.png", np.stack([wide] * 3, -1), 2)
    png(folder / "wide gray alpha.png", np.stack([wide, np.full_like(wide, 65535)], -1), 4)


def test_the_same_picture_in_any_form_gets_the_same_answer(jaxcnn, trained, tmp_path, digit, answers):
    variants(tmp_path, digit)
    outcome = jaxcnn("predict", trained[0], tmp_path, "--format", "json", "--top", "10")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert len(found) == 9
    for told in found:
        shares = {int(entry["class"]): entry["probability"] for entry in told["top"]}
        np.testing.assert_allclose([shares[c] for c in range(10)], answers[0], atol=2e-3, err_msg=told["picture"])


def test_a_file_of_weights_classifies_as_its_run_does(jaxcnn, trained, pictures, tmp_path):
    model, config = weights.open_model(trained[0])
    weights.save(model, tmp_path / "lenet.safetensors", config=config)
    by_run, by_file = (
        jaxcnn("predict", source, pictures / "gray.png") for source in (trained[0], tmp_path / "lenet.safetensors")
    )
    assert by_file == by_run
    found = jaxcnn("eval", tmp_path / "lenet.safetensors", "--data", "digits")
    assert (found.status, found.out) == (0, jaxcnn("eval", trained[0]).out)
    assert "`data` must be given with a file of weights" in jaxcnn("eval", tmp_path / "lenet.safetensors").err


def test_it_refuses_the_run_of_a_network_for_sounds(jaxcnn, tmp_path):
    sounds = np.random.default_rng(0).normal(size=(8, 20, 12)).astype(np.float32)
    train = data.Dataset(sounds, np.zeros(8, np.int32), ("no", "yes"), "sounds", "train")
    options = {"widths": (4,), "dilations": (1,)}
    model = models.create("tdnn_wide", num_classes=2, in_features=12, rngs=nnx.Rngs(0), **options)
    details = {"model": {"name": "tdnn_wide", "options": options}}
    config = training.TrainConfig(epochs=1, batch_size=4)
    training.fit(model, train, config=config, folder=tmp_path / "run", details=details, observer=None)
    outcome = jaxcnn("predict", tmp_path / "run", "some.png")
    message = "`run` must be of a network for pictures; got one for sounds, shape (20, 12)."
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"jaxcnn: {message}\n")
