"""COCO's average precision: against pycocotools where it is installed, and against cases done by hand."""

import contextlib
import io

import numpy as np
import pytest

from jaxcnn import inspect


def scene(random, pictures, kinds, *, wrong=0.3):
    """True boxes, and detections that are near some of them, or anywhere."""
    found, truth = [], []
    for _ in range(pictures):
        count = int(random.integers(0, 8))
        corner, side = random.random((count, 2)) * 80, 5 + random.random((count, 2)) * 40
        true, classes = np.concatenate([corner, corner + side], 1), random.integers(0, kinds, count)
        near = np.repeat(true, 2, 0) + random.normal(0, 3, (2 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        corner = random.random((4, 2)) * 80
        boxes = np.concatenate([near, np.concatenate([corner, corner + 20], 1)])
        guessed = np.concatenate([np.repeat(classes, 2), random.integers(0, kinds, 4)])
        guessed = np.where(random.random(len(guessed)) < wrong / 2, random.integers(0, kinds, len(guessed)), guessed)
        scores = np.round(random.random(len(boxes)), 1)  # many are equal
        kept = random.random(len(boxes)) > wrong
        found.append(inspect.Found(boxes[kept], scores[kept], guessed[kept]))
        truth.append(inspect.Truth(true, classes))
    return found, truth


def by_coco(found, truth, kinds, most):
    """What COCO's own program says: AP, AR, and AP of each class."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def wide(box):
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations = [
        {"image_id": place, "category_id": int(kind), "bbox": wide(box), "area": 1.0, "iscrowd": 0}
        for place, each in enumerate(truth)
        for box, kind in zip(*each, strict=True)
    ]
    results = [
        {"image_id": place, "category_id": int(kind), "bbox": wide(box), "score": float(score)}
        for place, each in enumerate(found)
        for box, score, kind in zip(*each, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        true = coco.COCO()
        true.dataset = {
            "info": {},
            "images": [{"id": place} for place in range(len(truth))],
            "annotations": [note | {"id": number} for number, note in enumerate(annotations, start=1)],
            "categories": [{"id": kind, "name": str(kind)} for kind in range(kinds)],
        }
        true.createIndex()
        judged = evaluation.COCOeval(true, true.loadRes(results), "bbox")
        judged.params.maxDets = [1, 2, most]
        judged.evaluate()
        judged.accumulate()
    precision = judged.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes, all areas, most detections
    recall = judged.eval["recall"][:, :, 0, 2]
    of_classes = {kind: precision[..., kind].mean() for kind in range(kinds) if precision[..., kind].min() > -1}
    by_threshold = [level[level > -1].mean() for level in precision]
    return precision[precision > -1].mean(), recall[recall > -1].mean(), of_classes, by_threshold


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [3, 100])
def test_it_agrees_with_peers(seed, most):
    random = np.random.default_rng(seed)
    kinds = 1 + seed % 3
    found, truth = scene(random, 12, kinds + 1, wrong=0.1 * seed)
    truth = [inspect.Truth(boxes[classes < kinds], classes[classes < kinds]) for boxes, classes in truth]
    value, recall, of_classes, by_threshold = by_coco(found, truth, kinds + 1, most)
    ours = inspect.average_precision(found, truth, most=most)
    assert 0 < value < 1 and len(of_classes) == kinds
    np.testing.assert_allclose([ours.value, ours.recall], [value, recall], atol=1e-6)
    np.testing.assert_allclose(list(ours.by_threshold.values()), by_threshold, atol=1e-6)
    assert list(ours.by_class) == list(of_classes)
    np.testing.assert_allclose(list(ours.by_class.values()), list(of_classes.values()), atol=1e-6)


def found_of(*rows):
    boxes, scores, classes = zip(*rows, strict=True)
    return inspect.Found(np.array(boxes, float), np.array(scores), np.array(classes))


LEFT, RIGHT = (0, 0, 10, 10), (20, 0, 30, 10)


def test_by_hand():
    """Two true boxes; precision and recall of each prefix of the detections, on paper."""
    true = inspect.Truth([LEFT, RIGHT], [0, 0])
    perfect = found_of((LEFT, 0.9, 0), (RIGHT, 0.8, 0))
    assert inspect.average_precision([perfect], [true]).value == pytest.approx(1)
    twice = found_of((LEFT, 0.9, 0), (LEFT, 0.8, 0), (RIGHT, 0.7, 0))  # the second is wrong: its box is taken
    # recall 0.5 with precision 1, then recall 1 with precision 2/3: 51 and 50 of the 101 recalls
    result = inspect.average_precision([twice], [true])
    assert result.value == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.recall == 1
    half = found_of(((0, 0, 10, 8), 0.9, 0))  # overlap 0.8: right up to the threshold 0.80, the seventh of ten
    result = inspect.average_precision([half], [inspect.Truth([LEFT], [0])])
    assert result.value == pytest.approx(0.7)
    assert [level for level, value in result.by_threshold.items() if value] == pytest.approx(np.linspace(0.5, 0.8, 7))
    assert inspect.average_precision([half], [inspect.Truth([LEFT], [0])], thresholds=(0.9,)).value == 0


def test_classes_pictures_and_nothing():
    nothing = inspect.Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    empty = inspect.Truth([], [])
    right = found_of((LEFT, 0.9, 3))
    result = inspect.average_precision([right, nothing], [inspect.Truth([LEFT], [3]), inspect.Truth([LEFT], [7])])
    assert result.by_class == {3: pytest.approx(1), 7: 0} and result.value == pytest.approx(0.5)
    moved = inspect.average_precision([nothing, right], [inspect.Truth([LEFT], [3]), empty])  # in another picture
    assert moved.value == 0
    assert np.isnan(inspect.average_precision([right], [empty]).value)
    assert np.isnan(inspect.average_precision([], []).value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, t: inspect.average_precision([f], []), "must have as many pictures; got 1 and 0."),
        (lambda f, t: inspect.average_precision([f], [t], most=0), "`most` must be positive; got 0."),
        (lambda f, t: inspect.average_precision([f], [t], thresholds=(0.0,)), "`thresholds` must be numbers above 0"),
        (lambda f, t: inspect.average_precision([f], [([LEFT], [0, 1])]), r"`truth` must have boxes \(n, 4\)"),
        (lambda f, t: inspect.average_precision([f], [([LEFT], [0.5])]), "the classes of `truth` must be integers"),
        (
            lambda f, t: inspect.average_precision([f._replace(scores=[np.nan])], [t]),
            "`found` must not hold NaN",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(found_of((LEFT, 0.9, 0)), inspect.Truth([LEFT], [0]))
