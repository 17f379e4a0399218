"""Segmentation from the command line: train, evaluate, predict, export, look, and what is refused."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcnn import data, training
from jaxcnn.data.mask_colors import mask_colors

TINY = ["unet", "--model-options", "widths=(4,6)", "dropout=0"]


def read(path):
    with Image.open(path) as file:
        return np.asarray(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of 20x14 with a bright box each, which their masks number; in a folder each for three splits."""
    place, random = tmp_path_factory.mktemp("boxes"), np.random.default_rng(0)
    for split, count in (("train", 24), ("validation", 6), ("test", 6)):
        for kind in ("images", "masks"):
            (place / split / kind).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((14, 20), np.uint8)
            row, column = random.integers(0, 6), random.integers(0, 12)
            mask[row : row + 7, column : column + 7] = 1
            picture = np.clip(random.normal(60, 10, mask.shape) + 150 * mask, 0, 255).astype(np.uint8)
            mask[-1] = 255
            Image.fromarray(picture).save(place / split / "images" / f"{number}.png")
            Image.fromarray(mask).save(place / split / "masks" / f"{number}.png")
    (place / "classes.txt").write_text("ground\nbox\n")
    return place


@pytest.fixture(scope="module")
def boxes(jaxcnn, folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "boxes"
    options = ["--data", f"masks:{folder}", "--epochs", "12", "--batch-size", "6", "--augment", "flip", "shift=2"]
    done = jaxcnn("train", *TINY, *options, "--learning-rate", "0.01", "--out", run)
    assert done.status == 0, done.err
    return run, done.out


def test_training_tells_mean_iou(boxes):
    run, out = boxes
    assert "24 masks:" in out and "examples for segmentation" in out
    assert "validation loss" in out and re.search(r" mean IoU \d\d\.\d\d%", out) and "top-5" not in out
    kept = json.loads((run / "evaluation.json").read_text())
    assert set(kept) == {"split", "loss", "count", "mean_iou", "pixel_accuracy"} and kept["mean_iou"] > 0.8
    assert f"test mean IoU {100 * kept['mean_iou']:.2f} %, pixel accuracy {100 * kept['pixel_accuracy']:.2f} %" in out


def test_the_report_shows_masks_with_a_legend(boxes):
    report = (boxes[0] / "report.html").read_text()
    assert "<h2>Classes</h2>" in report and "<th>IoU</th>" in report and "<td>box</td>" in report
    assert "Worst mistakes: pictures and masks" in report and "Confusion" not in report
    assert "mean IoU by epoch" in report and "Random changes in training" in report


def test_eval_has_a_line_for_each_class(jaxcnn, boxes, tmp_path):
    done = jaxcnn("eval", boxes[0], "--out", tmp_path / "all.json", "--views", "flip")
    assert done.status == 0, done.err
    told = json.loads((tmp_path / "all.json").read_text())
    counts = np.array(told["confusion"]["counts"])
    assert counts.shape == (2, 2) and counts.sum() == 6 * 13 * 20  # the last row does not count
    for place, row in enumerate(told["classes"]):
        assert row["iou"] == pytest.approx(
            counts[place, place] / (counts[place].sum() + counts[:, place].sum() - counts[place, place])
        )
        assert row["pixels"] == counts[place].sum() and f"{row['class']} " in done.out
    assert told["mean_iou"] == pytest.approx(np.mean([row["iou"] for row in told["classes"]]))
    assert "most often confused: " in done.out


def test_predict_writes_masks_and_tells_shares(jaxcnn, boxes, folder, tmp_path):
    run, _ = boxes
    picture = folder / "test" / "images" / "0.png"
    large = tmp_path / "large.png"  # of other proportions: the masks have the sizes of the pictures
    again = tmp_path / "0.png"
    with Image.open(picture) as file:
        file.resize((60, 30)).save(large)
        file.save(again)
    done = jaxcnn("predict", run, picture, large, again, "--masks", tmp_path / "masks", "--format", "json")
    assert done.status == 0, done.err
    answers = json.loads(done.out)
    examples = data.load(f"masks:{folder}", "test")
    assert [len(answer["top"]) for answer in answers] == [2, 2, 2]
    sizes = {"0": (20, 14), "large": (60, 30), "0-2": (20, 14)}
    for answer, (name, size) in zip(answers, sizes.items(), strict=True):
        with Image.open(tmp_path / "masks" / f"{name}.png") as file:
            mask = np.asarray(file)
            assert file.mode == "P" and file.size == size
            np.testing.assert_array_equal(np.reshape(file.getpalette()[:6], (2, 3)), mask_colors()[:2])
        shares = {row["class"]: row["share"] for row in answer["top"]}
        assert shares["box"] == pytest.approx((mask == 1).mean(), abs=0.05) and sum(shares.values()) == pytest.approx(1)
    with Image.open(tmp_path / "masks" / "0.png") as file:
        truth = examples.labels[0]
        assert (np.asarray(file) == truth)[truth != 255].mean() > 0.8
    assert training.read_description(run)["training"]["task"] == "segmentation"
    table = jaxcnn("predict", run, picture, "--ask", "box").out.splitlines()
    assert table[0].split() == ["picture", "1", "2", "box"] and "ground" in table[1]
    lines = jaxcnn("predict", run, picture, "--format", "csv").out.splitlines()
    assert lines[0] == "picture,class_1,share_1,class_2,share_2,changes"
    refused = jaxcnn("predict", run, again, "--masks", tmp_path)
    assert refused.status == 2 and "`masks` must be another folder than that of the pictures" in refused.err
    np.testing.assert_array_equal(read(again), read(picture))


@pytest.mark.parametrize(
    ("ending", "only"), [("stablehlo", False), ("stablehlo", True), ("onnx", False), ("onnx", True)]
)
def test_an_exported_network_gives_what_predict_gives(jaxcnn, boxes, folder, tmp_path, ending, only):
    run, _ = boxes
    file = tmp_path / f"boxes.{ending}"
    if ending == "onnx":
        pytest.importorskip("jax2onnx")
    done = jaxcnn("export", run, file, *(["--classes-only"] if only else []))
    assert done.status == 0, done.err
    assert f"gives {'classes' if only else 'probabilities'}" in done.out
    examples = data.load(f"masks:{folder}", "test")
    if ending == "onnx":
        import onnxruntime

        (found,) = onnxruntime.InferenceSession(str(file)).run(None, {"images": examples.images})
    else:
        import jax.export

        found = np.asarray(jax.export.deserialize(bytearray(file.read_bytes())).call(examples.images))
    masks = tmp_path / "masks"
    pictures = [folder / "test" / "images" / f"{number}.png" for number in range(6)]
    assert jaxcnn("predict", run, *pictures, "--masks", masks).status == 0
    predicted = np.stack([read(masks / f"{number}.png") for number in range(6)])
    if not only:
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
        found = found.argmax(-1)
    assert (found == predicted).mean() > 0.999  # but for ties of float32
    recipe = [sys.executable, tmp_path / f"boxes_{ending}.py", pictures[0], "--masks", tmp_path / "again"]
    ran = subprocess.run(recipe, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "ground" in ran.stdout, ran.stderr
    np.testing.assert_array_equal(read(tmp_path / "again" / "0.png"), found[0])


def test_a_file_of_weights_keeps_the_task(jaxcnn, boxes, folder, tmp_path):
    run, _ = boxes
    assert jaxcnn("convert", run, tmp_path / "boxes.safetensors").status == 0
    told = json.loads((run / "evaluation.json").read_text())
    again = jaxcnn("eval", tmp_path / "boxes.safetensors", "--data", f"masks:{folder}")
    assert f"mean IoU {100 * told['mean_iou']:.2f} %" in again.out, again.err


def test_look_counts_the_pictures_of_each_class(jaxcnn, folder, tmp_path):
    done = jaxcnn("look", f"masks:{folder}", "--augment", "affine", "--out", tmp_path / "page.html")
    assert done.status == 0, done.err
    assert [line.split() for line in done.out.splitlines()[1:3]] == [
        ["ground", "24", "6", "6"],
        ["box", "24", "6", "6"],
    ]
    page = (tmp_path / "page.html").read_text()
    assert "The number of pictures with a pixel of the class" in page and "Pictures of box" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "RUN", "PICTURE"], "`run` must have the task classification; "),
        (
            ["features", "RUN", "--at", "pool1", "--probe", "knn"],
            "`features` needs a run with one class for each example",
        ),
        (["eval", "RUN", "--data", "digits"], "`data` must be for segmentation, as "),
        (["eval", "RUN", "--views", "flip_shift"], "`views` must be one or flip for the task 'segmentation'"),
        (["train", "lenet5", "--data", "scene_masks"], "expects images of shape (N, 28, 28, 1)"),
        (["train", "mlp", "--data", "scene_masks"], "`model` must give logits of 11 classes for each pixel"),
        (["train", "unet", "--data", "digits"], "`model` must give one row of logits for each example"),
        (["train", "unet", "--data", "scene_masks", "--augment", "mixup"], "`mixup` blends pixels of two classes"),
        (["train", "unet", "--data", "digits", "--task", "segmentation"], "must be masks, (N, H, W)"),
        (
            ["train", "unet", "--data", "scene_masks", "--class-weights", "balanced"],
            "`class_weights` is not for the task",
        ),
        (["predict", "SEVENS", "PICTURE", "--masks", "here"], "`masks` needs a run of segmentation; the task of "),
    ],
)
def test_what_is_of_another_task_is_refused_in_one_line(jaxcnn, boxes, folder, arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"RUN": boxes[0], "PICTURE": folder / "test" / "images" / "0.png", "SEVENS": tmp_path / "digits"}
    if "SEVENS" in arguments:
        small = ["mlp", "--model-options", "hidden=(4,)", "--epochs", "1", "--batch-size", "700"]
        assert jaxcnn("train", *small, "--data", "digits", "--out", tmp_path / "digits").status == 0
    done = jaxcnn(*(places.get(word, word) for word in arguments))
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1, done.err


def test_another_number_of_classes_gets_new_scores(jaxcnn, boxes, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "more")
    (tmp_path / "more" / "classes.txt").write_text("ground\nbox\nwall\n")
    options = ["--data", f"masks:{tmp_path / 'more'}", "--init", boxes[0], "--epochs", "1", "--batch-size", "6"]
    done = jaxcnn("train", *TINY, *options, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert "with a new head for 3 classes in place of 2" in done.out
