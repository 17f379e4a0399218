"""Boxes: overlaps and their gradients against loops in NumPy, suppression against the plain algorithm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import ops


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a, b):
    """Intersection and union, by hand."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = width * height if width > 0 and height > 0 else 0.0
    return inner, area(a) + area(b) - inner


def iou(a, b):
    inner, union = overlap(a, b)
    return inner / union if union else 0.0


def giou(a, b):
    inner, union = overlap(a, b)
    outer = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return (inner / union if union else 0.0) - ((outer - union) / outer if outer else 0.0)


def boxes(random, *shape, cells=None):
    corners = random.random((*shape, 2, 2)) if cells is None else random.integers(0, cells, (*shape, 2, 2))
    return np.concatenate([corners.min(-2), corners.max(-2)], -1).astype(np.float32)


@pytest.mark.parametrize("cells", [None, 5])  # of whole numbers many are equal, touch or have no area
def test_overlaps_are_those_of_loops(random, cells):
    first, second = boxes(random, 2, 30, cells=cells), boxes(random, 2, 20, cells=cells)
    expected = [[[iou(a, b) for b in theirs] for a in ours] for ours, theirs in zip(first, second, strict=True)]
    np.testing.assert_allclose(ops.box_iou(first, second), expected, rtol=1e-5, atol=1e-6)
    pairs = first[:, :20]
    losses = [[1 - giou(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(pairs, second, strict=True)]
    np.testing.assert_allclose(ops.giou_loss(pairs, second), losses, rtol=1e-5, atol=1e-6)
    assert (ops.giou_loss(pairs, second) >= -1e-6).all() and (ops.giou_loss(pairs, second) <= 2).all()


@pytest.mark.parametrize("cells", [None, 4])
def test_gradients_are_those_of_the_plain_functions_also_at_ties(random, cells, float64):
    """Equal edges, boxes that touch, boxes without area: the same halves as JAX's own rule, and never NaN."""
    first, second = (jnp.asarray(boxes(random, 40, cells=cells), jnp.float64) for _ in range(2))
    error = jnp.asarray(random.standard_normal(40))
    for function in (ops.giou_loss, lambda *both, rule: jnp.diagonal(ops.box_iou(*both, rule=rule))):

        def loss(*both, rule, function=function):
            return (error * function(*both, rule=rule)).sum()

        def gradients(rule, loss=loss):
            return jax.jit(jax.grad(lambda *both: loss(*both, rule=rule), (0, 1)))(first, second)

        by_hand, by_jax = gradients("hand"), gradients("autodiff")
        for ours, theirs in zip(by_hand, by_jax, strict=True):
            assert np.isfinite(ours).all()
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_giou_pulls_boxes_that_do_not_overlap():
    """What the paper wants of it: gradient descent brings two boxes together that begin apart."""
    target, box = jnp.array([10.0, 10.0, 20.0, 24.0]), jnp.array([40.0, 2.0, 52.0, 8.0])
    step = jax.jit(lambda box, rate: box - rate * jax.grad(ops.giou_loss)(box, target))
    assert ops.box_iou(box[None], target[None]).item() == 0
    for number in range(3000):
        box = step(box, 100 / (1 + number / 100))
    assert ops.box_iou(box[None], target[None]).item() > 0.9


def greedy(boxes, scores, classes, threshold, most):
    """The algorithm as a lecture has it."""
    left = sorted(range(len(scores)), key=lambda place: -scores[place])  # stable: the first of equal scores is first
    kept = []
    while left and len(kept) < most:
        best = left.pop(0)
        kept.append(best)
        left = [
            other for other in left if classes[other] != classes[best] or iou(boxes[best], boxes[other]) <= threshold
        ]
    return kept + [-1] * (most - len(kept))


def test_suppression_is_that_of_the_algorithm_in_200_random_cases(random):
    """With ties of scores and of overlaps, several classes, more and fewer boxes than are asked for."""
    run = jax.jit(ops.non_maximum_suppression, static_argnames=("threshold", "most"))
    padded = 24
    for case in range(200):
        count = int(random.integers(0, padded + 1))
        found = boxes(random, count, cells=None if case % 2 else 6).astype(np.float64)
        scores = random.integers(0, 6, count) / 5 if case % 3 else random.random(count)
        scores = scores.astype(np.float32)
        kinds = random.integers(0, 2, count).astype(np.int32) if case % 5 == 0 else np.zeros(count, np.int32)
        threshold, most = [0.0, 0.25, 0.5, 1.0][case % 4], [1, 5, 30][case % 3]
        more = padded - count  # one program for all cases: boxes that are not there have a score of -inf
        given = (
            np.pad(found, ((0, more), (0, 0))).astype(np.float32),
            np.pad(scores, (0, more), constant_values=-np.inf),
            np.pad(kinds, (0, more)),
        )
        selected = run(*given, threshold=threshold, most=most)
        assert selected.dtype == jnp.int32
        assert selected.tolist() == greedy(found.astype(np.float32), scores, kinds, threshold, most), case


def test_suppression_of_a_batch_and_of_nothing(random):
    found, scores = boxes(random, 2, 3, 9), random.random((2, 3, 9)).astype(np.float32)
    together = ops.non_maximum_suppression(found, scores, threshold=0.2, most=4)
    each = [
        [ops.non_maximum_suppression(b, s, threshold=0.2, most=4) for b, s in zip(*pair, strict=True)]
        for pair in zip(found, scores, strict=True)
    ]
    np.testing.assert_array_equal(together, np.array(each))
    assert ops.non_maximum_suppression(np.zeros((0, 4), "f4"), np.zeros(0, "f4"), most=3).tolist() == [-1, -1, -1]
    assert ops.non_maximum_suppression(np.zeros((0, 5, 4), "f4"), np.zeros((0, 5), "f4"), most=3).shape == (0, 3)


def test_nan_is_refused_and_never_selected():
    found, scores = np.array([[0, 0, 1, 1], [2, 2, 3, 3.0]], np.float32), np.array([np.nan, 0.5], np.float32)
    with pytest.raises(ValueError, match="`scores` must not be NaN; got 1 of them."):
        ops.non_maximum_suppression(found, scores)
    with pytest.raises(ValueError, match="`boxes` must not be NaN; got 8 of them."):
        ops.non_maximum_suppression(found * np.float32(np.nan), np.zeros_like(scores))
    assert jax.jit(lambda *both: ops.non_maximum_suppression(*both, most=2))(found, scores).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, s: ops.non_maximum_suppression(b, s, threshold=1.5), "`threshold` must be from 0 to 1; got 1.5."),
        (lambda b, s: ops.non_maximum_suppression(b, s, most=0), "`most` must be positive; got 0."),
        (lambda b, s: ops.non_maximum_suppression(b, s[1:]), r"`boxes` and `scores` must be \(\*batch, N, 4\)"),
        (lambda b, s: ops.non_maximum_suppression(b, s, s), "`classes` must be integers; got float32."),
        (lambda b, s: ops.non_maximum_suppression(b, s, np.zeros(1, int)), "`classes` must have the shape of `scores`"),
        (lambda b, s: ops.box_iou(b, s), r"`first` and `second` must be .*; got \(2, 4\) and \(2,\)."),
        (lambda b, s: ops.box_iou(b, b.astype(int)), "must be real floating"),
        (lambda b, s: ops.giou_loss(b, b[:1]), r"must both be \(\*batch, 4\); got \(2, 4\) and \(1, 4\)."),
        (lambda b, s: ops.giou_loss(b, b, rule="best"), "`rule` must be one of 'hand', 'autodiff'; got 'best'."),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
