"""The sections of a page about attributions and shifts.

The page is about one image. Each function takes a `Subject` and returns markup, which is empty if the section does not
apply.
"""

from functools import partial
from typing import Any

import numpy as np

from jaxcnn.inspect.attribution import class_maps, gradients, occlusion, randomization
from jaxcnn.inspect.diagnostics import shifts
from jaxcnn.inspect.pages.frame import section
from jaxcnn.inspect.pages.subject import Subject
from jaxcnn.inspect.scores import in_batches, logits_of, probabilities_of, taken_apart

# three images in every call, so that each method is compiled once for the page
_CLASSES = 3
_REACH = 8

_METHODS = {
    "gradient": gradients.gradient,
    "SmoothGrad": lambda model, x, targets: gradients.smooth_grad(model, x, targets, samples=16),
    "integrated gradients": lambda model, x, targets: gradients.integrated_gradients(model, x, targets, steps=32),
    "guided backprop": gradients.guided_backprop,
    "deconvnet": gradients.deconvnet,
    "Grad-CAM": class_maps.grad_cam,
    "CAM": class_maps.class_activation_map,
}
_CHECKED = {name: method for name, method in randomization.METHODS.items() if name != "SmoothGrad"}


def attributions(subject: Subject) -> list[str]:
    """Maps of the evidence for each of the most probable classes."""
    from jaxcnn.inspect import plots

    likeliest = np.argsort(-subject.probabilities, kind="stable")[:_CLASSES]
    targets = np.resize(likeliest, _CLASSES)
    images = np.repeat(subject.inputs, _CLASSES, 0)
    maps = _maps(_METHODS, subject, images, targets)
    window, strides = _occluder(subject)
    covered = occlusion.occlusion(subject.model, images, targets, window=window, strides=strides)
    maps["occlusion"] = occlusion.spread_windows(covered, subject.picture.shape[:2], window, strides)
    shown = {name: np.asarray(values)[: len(likeliest)] for name, values in maps.items()}
    rows = [subject.classes[target] for target in likeliest]
    figure = plots.attributions(np.stack([subject.picture] * len(rows)), shown, rows)
    note = (
        "What speaks for each of the likeliest classes, one in each row. A map with a sign has gray for zero, light "
        "for the class and dark against it; one without has black for zero. The gradient is of the class's logit by "
        "each pixel; SmoothGrad its mean over noisy copies; integrated gradients share out the logit's difference "
        "from the mean picture; guided backprop and deconvnet swap the rule of the ReLU; Grad-CAM and CAM weigh the "
        f"last maps; occlusion tells how much probability is lost under a {window}x{window} window."
    )
    return section("Why it decides", note, (figure, "Maps of what speaks for the likeliest classes"))


def _occluder(subject: Subject) -> tuple[int, int]:
    side = min(subject.picture.shape[:2])
    return max(1, side // 6), max(1, side // 16)


def _maps(methods: Any, subject: Subject, images: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """By method, the maps of those that apply to the network."""
    maps = {}
    for name, method in methods.items():
        try:
            maps[name] = method(subject.model, images, targets)
        except ValueError:
            continue
    return maps


def randomization_check(subject: Subject) -> list[str]:
    """Which of these maps ignore the weights."""
    from jaxcnn.inspect import plots

    some = subject.some(_CLASSES - 1)
    own, others = subject.picture[None], () if some is None else (some.images,)
    images = np.resize(np.concatenate([own, *others]), (_CLASSES, *subject.picture.shape))
    inputs = subject.scaling(images)
    similarity = randomization.randomization_check(subject.model, inputs, methods=_applying(subject, inputs), groups=4)
    ignoring = [name for name in similarity.ignoring() if name != "edges"]
    verdict = f"Here {' and '.join(ignoring)} stayed alike to the end." if ignoring else "Here none stayed alike."
    note = (
        "The weights are shuffled from the head down. A map that explains what was learned must change; the picture's "
        f"own edges, which know no network, cannot. {verdict} (Adebayo et al. 2018.)"
    )
    return section(
        "Which maps ignore the weights",
        note,
        (plots.randomization_curves(similarity), "Likeness of maps under shuffled weights, as curves"),
        (plots.randomization_maps(similarity), "Maps under shuffled weights"),
    )


def _applying(subject: Subject, inputs: np.ndarray) -> dict[str, randomization.Method]:
    targets = np.zeros(len(inputs), int)
    return {name: _CHECKED[name] for name in _maps(_CHECKED, subject, inputs, targets)}


def shift_effects(subject: Subject) -> list[str]:
    """The probability against the offset, and the consistency over examples."""
    from jaxcnn.inspect import plots

    border, reach = "edge", min(_REACH, min(subject.picture.shape[:2]) // 3)
    curves = {}
    for axis in ("right", "down"):
        curve = shifts.shift_curve(
            subject.model, subject.inputs, subject.predicted, reach=reach, axis=axis, border=border
        )
        curves[axis] = curve
    name = subject.classes[subject.predicted]
    figure = plots.shift_curves(curves, direction="to the right, or down", title=f"probability of {name} by the offset")
    note = "The picture is moved by whole pixels; its border is repeated where nothing comes in."
    some = subject.some(64)
    if some is not None:
        inputs = subject.scaling(some.images)
        share = shifts.shift_consistency(subject.model, inputs, reach=reach, border=border)
        note += (
            f" Of {len(inputs)} examples, {100 * share:.1f} % of pairs of shifts by up to {reach} pixels "
            "get the same class."
        )
    moves = [(0, d) for d in np.linspace(-reach, reach, 5).astype(int).tolist()]
    moved = np.concatenate([shifts.shifted(subject.picture[None], move, border) for move in moves])
    answers = probabilities_of(in_batches(partial(logits_of, *taken_apart(subject.model)), subject.scaling(moved)))
    captions = [f"{subject.classes[row.argmax()]}, {100 * row.max():.0f} %" for row in answers]
    pictures = plots.shifted_pictures(moved, captions)
    return section("Shifts", note, (figure, "Probability by offset"), (pictures, "The picture in five places"))
