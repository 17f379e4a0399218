"""Segmentation: its loss against PyTorch's, its metrics against scikit-learn's, masks that move, its runs."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn import metrics as theirs

from jaxcnn import training
from jaxcnn.data import AUGMENTATIONS, Augmentation, Dataset, Scaling
from jaxcnn.data.augmentation import rand_augment
from jaxcnn.data.augmentation.warps import warp_masks
from jaxcnn.training import TrainConfig, tasks

SCALING = Scaling((0.5,), (0.5,))
CONFIG = TrainConfig(epochs=2, batch_size=8, learning_rate=0.05, log_every=1, checkpoint_every=2)
NAMES = ("ground", "dark", "light")


class Pixels(nnx.Module):
    """One 3x3 convolution: logits of each pixel."""

    def __init__(self, outputs=3, seed=0, stride=1):
        self.conv = nnx.Conv(1, outputs, (3, 3), stride, rngs=nnx.Rngs(seed))

    def __call__(self, images):
        return self.conv(images)


def some(count=37, split="train", side=(6, 5)):
    """Noise, whose classes are a noisy function of the brightness; some pixels do not count."""
    random = np.random.default_rng([count, len(split)])
    images = random.integers(0, 256, (count, *side, 1)).astype(np.uint8)
    labels = (images[..., 0] // 86 + (random.random((count, *side)) < 0.05)) % 3
    labels[random.random(labels.shape) < 0.1] = 255
    return Dataset(images, labels.astype(np.uint8), NAMES, "noise", split, task="segmentation")


def fit(model, train, held_out=None, config=CONFIG, **options):
    return training.fit(model, train, held_out, config, observer=None, **options)


def parameters(model):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))])


def torchs(random):
    torch = pytest.importorskip("torch")
    logits, labels = random.normal(size=(2, 4, 5, 3)).astype(np.float32) * 3, random.integers(0, 3, (2, 4, 5))
    labels[:, ::2, 1] = 255
    return torch, logits, labels, torch.tensor(logits, requires_grad=True), torch.tensor(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_cross_entropy_is_pytorchs(random, smoothing):
    """Its mean over the pixels of the batch that count, as each example has as many of them."""
    torch, logits, labels, z, t = torchs(random)
    functional = torch.nn.functional
    expected = functional.cross_entropy(z.permute(0, 3, 1, 2), t, ignore_index=255, label_smoothing=smoothing)
    expected.backward()
    task = tasks.Segmentation(label_smoothing=smoothing)
    loss, slope = jax.value_and_grad(lambda z: task.losses(z, labels).mean())(jnp.asarray(logits))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(slope, z.grad, rtol=1e-4, atol=1e-7)


def test_the_sum_of_both_losses_is_their_sum(random):
    _, logits, labels, *_ = torchs(random)
    each = [tasks.Segmentation(loss).losses(jnp.asarray(logits), labels) for loss in tasks.Segmentation.LOSSES]
    np.testing.assert_allclose(each[2], each[0] + each[1], rtol=1e-6)
    assert all(loss.shape == (2,) for loss in each)


def test_an_example_without_a_pixel_that_counts_loses_nothing():
    nothing = np.full((1, 3, 3), 255, np.uint8)
    for loss in tasks.Segmentation.LOSSES:
        value, slope = jax.value_and_grad(lambda z, loss=loss: tasks.Segmentation(loss).losses(z, nothing).sum())(
            jnp.ones((1, 3, 3, 2))
        )
        assert value == 0 and not np.any(slope)
    counts = {"confusion": np.zeros((2, 2))}
    assert tasks.Segmentation().metrics(counts, None, nothing, "ab") == {}


def test_the_metrics_are_scikit_learns(random):
    logits, labels = random.normal(size=(7, 4, 5, 4)).astype(np.float32), random.integers(0, 4, (7, 4, 5))
    labels[0, 0] = 255
    kept, said = labels != 255, logits.argmax(-1)
    task = tasks.Segmentation()
    sums = task.sums(jnp.asarray(logits), labels, np.arange(7) < 5)
    kept[5:] = False
    np.testing.assert_array_equal(sums["confusion"], theirs.confusion_matrix(labels[kept], said[kept]))
    found = task.metrics(sums, None, labels, "abcd")
    assert found["mean_iou"] == pytest.approx(theirs.jaccard_score(labels[kept], said[kept], average="macro"))
    assert found["pixel_accuracy"] == pytest.approx(theirs.accuracy_score(labels[kept], said[kept]))


def test_a_class_in_neither_truth_nor_prediction_is_left_out():
    counts = np.zeros((4, 4))
    counts[0, 0], counts[1, 0] = 6, 2  # class 2 and 3 are in neither; class 1 is never predicted
    found = tasks.Segmentation().metrics({"confusion": counts}, None, np.zeros(8), "abcd")
    assert found == {"mean_iou": pytest.approx((6 / 8 + 0) / 2), "pixel_accuracy": pytest.approx(6 / 8)}


@pytest.mark.parametrize("layout", ["jit", "fsdp", "pmap"])
def test_evaluation_is_exact_on_several_devices(layout):
    dataset, model, task = some(), Pixels(), tasks.Segmentation("cross_entropy_dice")
    found = training.evaluate(model, dataset, SCALING, 8, task=task, layout=training.Layout(layout))
    outputs = np.asarray(model(SCALING(dataset.images)))
    kept = dataset.labels != 255
    truth, said = dataset.labels[kept], outputs.argmax(-1)[kept]
    np.testing.assert_array_equal(found.sums["confusion"], theirs.confusion_matrix(truth, said, labels=range(3)))
    assert found["pixel_accuracy"] == (truth == said).mean() and found.count == 37
    assert found["mean_iou"] == pytest.approx(theirs.jaccard_score(truth, said, average="macro"), rel=1e-12)
    assert found.loss == pytest.approx(float(task.losses(jnp.asarray(outputs), dataset.labels).mean()), rel=1e-5)
    assert jax.device_count() > 1


@pytest.mark.parametrize("loss", ["cross_entropy", "dice"])
def test_a_run_learns_and_resumes_to_the_bit(loss, tmp_path):
    train, held_out, model = some(), some(11, "test"), Pixels()
    augment = ("flip", "shift=1", "cutmix")
    config = dataclasses.replace(CONFIG, epochs=6, ema_decay=0.5, loss=loss, augment=augment)
    whole = fit(model, train, held_out, config, folder=tmp_path / "whole")
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    assert {"mean_iou", "pixel_accuracy", "eval_mean_iou", "ema_mean_iou"} <= whole.history[-1].keys()
    again, steps = Pixels(), iter(range(100))
    fit(again, train, held_out, config, folder=tmp_path / "cut", should_stop=lambda: next(steps) == 9)
    again = Pixels(seed=5)
    resumed = fit(again, train, held_out, config, folder=tmp_path / "cut", resume=True)
    np.testing.assert_array_equal(parameters(model), parameters(again))
    drop = ("images_per_second", "steps_per_second", "input_wait", "device_memory", "host_memory", "flops_per_second")
    rows = [[{k: v for k, v in row.items() if k not in drop} for row in run.history] for run in (whole, resumed)]
    assert rows[0] == rows[1]
    kept = training.read_description(tmp_path / "cut")
    assert training.task_of(kept) == whole.task == tasks.Segmentation(loss)
    assert kept["training"]["monitor"] == "mean_iou"


def test_parts_of_a_batch_do_what_the_batch_does():
    rows = [fit(Pixels(), some(16), None, dataclasses.replace(CONFIG, accumulate=parts)).history[0] for parts in (1, 2)]
    for name in ("loss", "mean_iou", "pixel_accuracy"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-5)


def test_predictions_are_classes_also_of_mirrored_pictures():
    train, model = some(), Pixels()
    run = fit(model, train)
    logits = np.asarray(model(run.scaling(train.images)))
    found = training.predict(model, train.images, run.scaling, task=run.task)
    assert found.shape == (37, 6, 5) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, logits.argmax(-1))
    mirrored = np.asarray(model(run.scaling(train.images[:, :, ::-1])))[:, :, ::-1]
    both = training.predict(model, train.images, run.scaling, views="flip", task=run.task)
    np.testing.assert_array_equal(both, (logits + mirrored).argmax(-1))
    evaluated = training.evaluate(model, train, run.scaling, views="flip", task=run.task)
    kept = train.labels != 255
    assert evaluated["pixel_accuracy"] == (both[kept] == train.labels[kept]).mean()
    with pytest.raises(ValueError, match="`views` must be one or flip for the task 'segmentation'; got 'flip_shift'."):
        training.predict(model, train.images, run.scaling, views="flip_shift", task=run.task)


def test_a_crop_of_the_training_cuts_masks_for_evaluation_too():
    train, model = some(), Pixels()
    run = fit(model, train, None, dataclasses.replace(CONFIG, augment=("crop=4",)))
    augmentation = Augmentation(("crop=4",))
    found = training.evaluate(model, train, run.scaling, task=run.task, augmentation=augmentation)
    said = training.predict(model, train.images, run.scaling, task=run.task, augmentation=augmentation)
    masks = train.labels[:, 1:5, 0:4]
    assert said.shape == masks.shape and found["pixel_accuracy"] == (said == masks)[masks != 255].mean()


# how each augmentation is drawn strongly enough to move what is marked
MOVED = {
    "affine": "affine=60,0.5,0.3,0.2",
    "crop": "crop=20",
    "cutout": "cutout=9",
    "elastic": "elastic=60,4",
    "pad_crop": "pad_crop=6",
    "random_resized_crop": "random_resized_crop=20,0.2",
    "shift": "shift=6",
}


def marked():
    """Pictures with a dark and a bright patch, which their masks number; the fill is between the two."""
    random = np.random.default_rng(0)
    images, masks = np.full((16, 24, 24, 1), 100, np.uint8), np.zeros((16, 24, 24), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        row, column = random.integers(2, 14, 2)
        image[row : row + 8, column : column + 4], image[row : row + 8, column + 4 : column + 8] = 0, 250
        mask[row : row + 8, column : column + 4], mask[row : row + 8, column + 4 : column + 8] = 1, 2
    return images, masks


@pytest.mark.parametrize("name", sorted({*AUGMENTATIONS} - {"mixup", "color_jitter", "rand_augment"}))
@pytest.mark.parametrize("key", range(3))
def test_a_marked_pixel_keeps_its_class(name, key):
    """Where a new picture has exactly the value of a patch, its mask has the patch's class, and the other way round."""
    images, masks = marked()
    augmentation = Augmentation((MOVED.get(name, name),), fill=(180.0,))
    given = jax.random.key(key), key, np.arange(16), images
    changed, moved = (np.asarray(part) for part in augmentation(*given, masks))
    alone, _ = augmentation(*given, np.zeros((16, 3), np.float32))
    np.testing.assert_array_equal(changed, alone)  # masks change nothing in the pictures
    values = np.rint(changed[..., 0])
    assert moved.shape == values.shape and moved.dtype == np.uint8
    of_class = {0: 100, 1: 0, 2: 250, 255: 180}
    sure = np.zeros(values.shape, bool)
    for label, value in of_class.items():
        plain = values == value
        sure |= plain
        if not plain.any():
            continue
        assert (moved[plain] == label).mean() > (0.999 if name not in ("affine", "elastic") else 0.9), (name, label)
    strays = np.abs(values - np.vectorize(of_class.get)(moved)) > 160  # never the opposite patch
    assert not (strays & sure).any() and {1, 2} <= set(np.unique(moved))
    if name not in ("flip", "alternating_flip"):
        assert not np.array_equal(moved, masks)


def test_colors_change_no_mask():
    images, masks = marked()
    given = jax.random.key(0), 0, np.arange(16), images
    np.testing.assert_array_equal(Augmentation(("color_jitter",))(*given, masks)[1], masks)


@pytest.mark.parametrize("name", rand_augment.OPERATIONS)
def test_masks_move_with_each_operation_of_rand_augment(name):
    """A mask as a picture, black and white: where one is white, the other has its class."""
    _, masks = marked()
    patch = np.where(masks > 0, 255.0, 0.0).astype(np.float32)[..., None]
    which = np.full(16, rand_augment.OPERATIONS.index(name), np.int32)
    signed = np.where(np.arange(16) % 2, 0.5, -0.5).astype(np.float32)
    changed = np.asarray(rand_augment.apply(patch, which, signed, 0.5, np.zeros(1, np.float32)))[..., 0]
    moved = np.asarray(warp_masks(masks, *rand_augment.source_places(which, signed, 24, 24)))
    geometric = name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
    assert np.array_equal(moved, masks) != geometric
    if geometric:
        assert np.isin(moved[changed > 254], (1, 2)).mean() > 0.99 and np.isin(moved[changed < 1], (0, 255)).all()


def test_what_blends_pixels_is_refused():
    told = "`mixup=0.3` blends pixels of two classes, and is not for segmentation."
    with pytest.raises(ValueError, match=re.escape(told)):
        fit(Pixels(), some(), None, dataclasses.replace(CONFIG, augment=("flip", "mixup=0.3")))
    images, masks = marked()
    with pytest.raises(ValueError, match=re.escape(told)):
        Augmentation(("mixup=0.3",))(jax.random.key(0), 0, np.arange(16), images, masks)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": np.zeros((8, 6), int)}, "must be masks, (N, H, W), one for each of 8 examples; got shape (8, 6)."),
        ({"labels": np.zeros((9, 6, 5), int)}, "must be masks, (N, H, W), one for each of 8 examples; got shape (9, 6"),
        ({"labels": np.zeros((8, 6, 5))}, "must be integers, a class for each pixel; got float64."),
        ({"labels": np.full((8, 6, 5), 3)}, "must be from 0 to 2, or 255 for pixels that do not count; got 3."),
        ({"labels": np.full((8, 6, 5), -1)}, "must be from 0 to 2, or 255 for pixels that do not count; got -1."),
        ({"labels": np.zeros((8, 5, 5), int)}, "must be masks as large as the pictures; got 6x5 and 5x5."),
    ],
)
def test_other_targets_are_refused(change, told):
    with pytest.raises(ValueError, match=re.escape(f"`labels` of the train split of noise {told}")):
        fit(Pixels(), some(8)._replace(**change))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            lambda: Pixels(4),
            "`model` must give logits of 3 classes for each pixel, (N, H, W, 3), as unet and fcn do; got",
        ),
        (lambda: Pixels(stride=2), "`model` must give an output for each pixel; got 3x3 for 6x5 pixels."),
    ],
)
def test_other_networks_are_refused(model, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        fit(model(), some())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"loss": "huber"}, "`loss` of the task 'segmentation' must be one of cross_entropy, dice, cross_entropy_dice"),
        ({"monitor": "accuracy"}, "`monitor` of the task 'segmentation' must be one of loss, mean_iou, pixel_accuracy"),
        (
            {"loss": "dice", "label_smoothing": 0.1},
            "`label_smoothing` needs the loss cross_entropy; got 0.1 with dice.",
        ),
        ({"pos_weight": 2.0}, "`pos_weight` is not for the task 'segmentation'; got (2.0,)."),
        ({"class_weights": "balanced"}, "`class_weights` is not for the task 'segmentation'; got balanced."),
        ({"sampling": "balanced"}, "`sampling` of the task 'segmentation' must be uniform; got balanced."),
    ],
)
def test_what_is_not_of_the_task_is_refused(change, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        fit(Pixels(), some(), None, dataclasses.replace(CONFIG, **change))


def test_data_sets_of_masks_are_split_counted_and_renumbered():
    dataset = some()
    kept, drawn = dataset.split_off(0.3)
    assert len(drawn.labels) == 11 and kept.task == drawn.task == "segmentation"
    dataset.labels[3] = 0
    assert 3 not in dataset.members(1) and 3 in dataset.members(0)
    np.testing.assert_array_equal(dataset.counts(), [len(dataset.members(place)) for place in range(3)])
    other = dataset.for_classes(("light", "sky", "ground", "dark"))
    for name, old in zip(NAMES, range(3), strict=True):
        np.testing.assert_array_equal(other.labels == other.classes.index(name), dataset.labels == old)
    np.testing.assert_array_equal(other.labels == 255, dataset.labels == 255)
