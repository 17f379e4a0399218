"""The report of the classes, against scikit-learn, and where a class has no examples or is never predicted."""

import numpy as np
import pytest
from sklearn import metrics

from jaxcnn import inspect


@pytest.fixture(scope="module")
def guessed():
    draw = np.random.default_rng(0)
    labels = draw.choice(5, 300, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    scores = draw.random((300, 5)).round(1) + 0.8 * np.eye(5)[labels] * (draw.random((300, 1)) < 0.7)
    return scores / scores.sum(-1, keepdims=True), labels


def test_it_agrees_with_scikit_learn(guessed):
    probabilities, labels = guessed
    found = inspect.class_report(probabilities, labels, list("abcde"))
    predicted = probabilities.argmax(-1)
    wanted = metrics.precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
        np.testing.assert_allclose(getattr(found, name), values, err_msg=name)
    areas = [metrics.roc_auc_score(labels == place, probabilities[:, place]) for place in range(5)]
    np.testing.assert_allclose(found.auc, areas)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, predicted))
    np.testing.assert_allclose(found.shares, metrics.confusion_matrix(labels, predicted, normalize="true"))
    assert found.means()["f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))


def test_the_most_frequent_confusions_come_first(guessed):
    probabilities, labels = guessed
    found = inspect.class_report(probabilities, labels, list("abcde"))
    order = found.confused(100)
    counts = [count for _, _, count in order]
    assert counts == sorted(counts, reverse=True) and 0 not in counts
    assert sum(counts) == (probabilities.argmax(-1) != labels).sum()
    assert found.confused(2) == order[:2] and all(true != taken for true, taken, _ in order)


def test_what_cannot_be_told_is_nan():
    """The last class has no examples, and the second is never predicted."""
    shares = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.1, 0.7]])
    found = inspect.class_report(shares, [0, 1, 1], "abc")
    np.testing.assert_array_equal(found.precision, [0.5, 0, 0])
    np.testing.assert_array_equal(found.recall, [1, 0, np.nan])
    np.testing.assert_array_equal(found.auc, [1, 0.5, np.nan])
    assert np.isnan(found.f1[2]) and np.isnan(found.shares[2]).all()
    assert found.means()["recall"] == 0.5, "of the classes that have examples"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"must be \(2, 3\) for 2 labels and 3 classes, at least one; got \(2, 2\)"):
        inspect.class_report(np.ones((2, 2)), [0, 1], "abc")
    with pytest.raises(ValueError, match="at least one"):
        inspect.class_report(np.ones((0, 2)), np.zeros(0, int), "ab")
