"""Simple classifiers on features, against what NumPy says of them."""

import numpy as np
import pytest

from jaxcnn import inspect


@pytest.fixture
def clusters(random):
    """Three clusters in the plane, told apart by a line or by their middle, one cell apart."""
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    labels = np.arange(90) % 3
    rows = centers[labels] + random.normal(size=(90, 2))
    return rows[:60].astype(np.float32), labels[:60], rows[60:].astype(np.float32), labels[60:]


@pytest.mark.parametrize("kind", ["knn", "svm", "logistic", "rbf"])
def test_clusters_are_told_apart(clusters, kind):
    found = inspect.probe(*clusters, kind)
    assert found.kind == kind and found.accuracy > 0.9 and found.converged
    assert found.accuracy == np.mean(found.predictions == clusters[3])


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_features_that_say_nothing_give_chance(clusters, random, kind):
    train, labels, test, asked = clusters
    found = inspect.probe(random.normal(size=train.shape), labels, random.normal(size=test.shape), asked, kind)
    assert found.accuracy < 0.7


def test_neighbors_vote_as_numpy_counts_them(clusters):
    train, labels, test, _ = clusters
    distances = np.sqrt(np.square(test[:, None] - train).sum(-1))
    order = np.argsort(distances, 1, kind="stable")[:, :7]
    votes = np.array([np.bincount(labels[row], minlength=3).argmax() for row in order])
    np.testing.assert_array_equal(inspect.probe(*clusters, "knn", neighbors=7).predictions, votes)
    found = inspect.neighbors(train, test, 7)
    np.testing.assert_array_equal(found.places, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(distances, order, 1), rtol=1e-5)


def test_linear_classifiers_see_standardized_features(clusters):
    train, labels, test, asked = clusters
    stretch = np.array([1e4, 1e-3], np.float32)
    for kind in ("svm", "logistic"):
        plain = inspect.probe(train, labels, test, asked, kind)
        stretched = inspect.probe(train * stretch, labels, test * stretch, asked, kind)
        np.testing.assert_array_equal(plain.predictions, stretched.predictions)


def test_only_the_kernel_tells_rings_apart(random):
    angles, labels = random.uniform(0, 2 * np.pi, 300), np.arange(300) % 2
    rows = (1 + 2 * labels[:, None]) * np.stack([np.cos(angles), np.sin(angles)], 1)
    split = rows[:200], labels[:200], rows[200:], labels[200:]
    assert inspect.probe(*split, "rbf").accuracy == 1
    assert inspect.probe(*split, "svm").accuracy < 0.75


def test_an_optimizer_that_was_stopped_says_so(clusters):
    assert not inspect.probe(*clusters, "logistic", max_iterations=1).converged


def test_images_of_bytes_are_rows(random):
    images = random.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)
    found = inspect.neighbors(images, images, 1)
    np.testing.assert_array_equal(found.places[:, 0], np.arange(6))
    assert inspect.probe(images, np.arange(6), images, np.arange(6), "knn", neighbors=1).accuracy == 1


def test_principal_components_are_those_of_the_covariance(random):
    rows = random.normal(size=(50, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5])
    found = inspect.pca(rows, 2)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    np.testing.assert_allclose(np.abs(found.directions), np.abs(vectors.T[::-1][:2]), atol=1e-6)
    np.testing.assert_allclose(found.explained, values[::-1][:2] / values.sum(), rtol=1e-6)
    points = found(rows)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(points.var(0, ddof=1), values[::-1][:2], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda a, b, c, d: inspect.probe(a, b, c, d, "tree"),
            "`kind` must be one of knn, svm, logistic, rbf; got 'tree'.",
        ),
        (
            lambda a, b, c, d: inspect.probe(a, b, c[:, :1], d),
            "`test_features` must have 2 columns, as in training; got 1.",
        ),
        (
            lambda a, b, c, d: inspect.probe(a, b[1:], c, d),
            "`train_labels` must be one for each of the 60 rows; got shape (59,).",
        ),
        (lambda a, b, c, d: inspect.probe(a, b, c[:0], d[:0]), "`test_labels` must hold examples; got none."),
        (
            lambda a, b, c, d: inspect.probe(a, b, c, d, neighbors=61),
            "`neighbors` must be between 1 and the 60 examples; got 61.",
        ),
        (
            lambda a, b, c, d: inspect.probe(a, 0 * b, c, d, "svm"),
            "`train_labels` must be of two classes or more; all are 0.",
        ),
        (lambda a, b, c, d: inspect.probe(b, b, c, d), "`train_features` must be rows, (N, D); got shape (60,)."),
        (lambda a, b, c, d: inspect.neighbors(a, c, 0), "`count` must be between 1 and the 60 rows; got 0."),
        (lambda a, b, c, d: inspect.neighbors(a, c[:, :1]), "`queries` must have 2 columns, as the features; got 1."),
        (lambda a, b, c, d: inspect.pca(a, 3), "`components` must be between 1 and 2; got 3."),
    ],
    ids=range(10),
)
def test_what_makes_no_sense_is_refused(clusters, call, told):
    with pytest.raises(ValueError) as caught:
        call(*clusters)
    assert str(caught.value) == told
