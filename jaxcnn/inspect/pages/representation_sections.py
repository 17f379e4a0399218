"""The sections of a page about features, exciting images and mistakes.

The page is about one image. Each function takes a `Subject` and returns markup, which is empty if the section does not
apply.
"""

import numpy as np

from jaxcnn.inspect import stages
from jaxcnn.inspect.diagnostics import calibration
from jaxcnn.inspect.pages.frame import section
from jaxcnn.inspect.pages.subject import Subject
from jaxcnn.inspect.representations import maximization, probes

_UNITS = 4
_MISTAKES = 16


def nearest_examples(subject: Subject) -> list[str]:
    """The nearest examples in feature space, and a plane of all.

    All examples are shown in two dimensions.
    """
    from jaxcnn.inspect import plots

    compared, at = subject.compared, subject.last_stage
    if compared is None or at is None:
        return []
    some = compared.examples
    other = (some.images != subject.picture).any((1, 2, 3))  # not the picture itself
    some = some._replace(images=some.images[other], labels=some.labels[other])
    features = compared.stages[at][other].reshape(len(some.labels), -1)
    query = subject.activations[at].reshape(1, -1)
    by_feature = probes.neighbors(features, query, min(8, len(features)))
    by_pixel = probes.neighbors(some.images, subject.picture[None], min(8, len(features)))
    indices = np.concatenate([by_feature.places, by_pixel.places])
    own = subject.classes[subject.predicted]
    pictures = plots.neighbors(
        np.stack([subject.picture] * 2),
        some.images[indices],
        [own] * 2,
        [[some.classes[label] for label in some.labels[row]] for row in indices],
        rows=[f"by {at}", "by pixels"],
        title=f"the picture, taken for {own}, and the nearest examples; other classes are framed",
    )
    note = f"Nearest by the Euclidean distance of what {at} computes, and of the pixels; {len(features)} examples."
    parts = section("Nearest examples", note, (pictures, "Nearest examples"))
    if min(len(features), features[0].size) < 2:
        return parts
    figure = plots.components(
        probes.pca(features),
        features,
        some.labels,
        some.classes,
        marked=query,
        title=f"{at} of {len(features)} examples",
    )
    note = "Each point is an example, projected on the two directions in which the features differ most."
    return [*parts, *section("Features in two dimensions", note, (figure, "Features in their principal components"))]


def most_exciting(subject: Subject) -> list[str]:
    """Images made for the classes, and examples that excite units.

    The units are the strongest ones for the picture.
    """
    from jaxcnn.inspect import plots

    if not stages.names_stages(subject.model):
        return []
    classes = np.argsort(-subject.probabilities, kind="stable")[:4]
    shape = subject.picture.shape
    bounds = subject.scaling(np.zeros(shape, np.uint8)), subject.scaling(np.full(shape, 255, np.uint8))
    made, logits = maximization.maximize(subject.model, classes, shape, steps=48, bounds=bounds)
    low, high = bounds
    pictures = 255 * (made - low) / (high - low)
    captions = [f"{subject.classes[c]}\n{value:.1f}" for c, value in zip(classes, logits, strict=True)]
    figure = plots.maximized(pictures, captions, title="images made to excite each class most, and its logit for them")
    parts = section(
        "What a class looks like to the network",
        "Gradient ascent on the logit from noise, moved at random in each step. It is what the network answers to, "
        "not what the class looks like to us.",
        (figure, "Images made to excite each class"),
    )
    compared, at = subject.compared, subject.last_maps
    if compared is None or at is None:
        return parts
    some = compared.examples
    units = np.argsort(-subject.activations[at][0].max((0, 1)), kind="stable")[:_UNITS].tolist()
    inputs, count = subject.scaling(some.images), min(8, len(some.images))
    exciting = maximization.strongest(subject.model, inputs, at, units, compared.stages[at], count)
    figure = plots.most_exciting(some.images, exciting, [f"unit {unit}" for unit in units])
    note = f"The units of {at} that answer most strongly to this picture, and the examples that excite each most."
    return [*parts, *section("What excites a unit", note, (figure, "Examples that excite units most"))]


def mistakes(subject: Subject) -> list[str]:
    """Confusion, mistakes and calibration over examples."""
    from jaxcnn.inspect import plots

    if subject.compared is None:
        return []
    some, probabilities, _ = subject.compared
    predictions = probabilities.argmax(-1)
    right = int((predictions == some.labels).sum())
    note = f"{right} of {len(some.labels)} examples of the {some.split} split are classified correctly."
    figures = [(plots.confusion_matrix(some.labels, predictions, some.classes), "True against predicted classes")]
    wrong = calibration.misclassified(probabilities, some.labels)[:_MISTAKES]
    if len(wrong):
        captions = [
            f"{some.classes[some.labels[i]]} as {some.classes[predictions[i]]}\n{100 * probabilities[i].max():.0f} %"
            for i in wrong
        ]
        figures.append((plots.labeled_images(some.images[wrong], captions), "Mistakes"))
    reliability = calibration.calibration(probabilities, some.labels)
    figures.append((plots.calibration(reliability), "Accuracy by confidence"))
    note += " Mistakes: true class, predicted class, its probability. Calibration: is it right as often as it is sure?"
    return section("Mistakes and trust", note, *figures)
