"""The experiments that take hours: what they make of values, and of the files that they read."""

import numpy as np
import pytest

from experiments import allcnn, resnet_cifar, textcnn_mr
from experiments.form import summarized


def document(tables, **options):
    return {"tables": summarized({0: tables}), "seeds": [0], "options": {"data": "cifar10"} | options}


def residual(changes=None):
    tested = {row: {str(depth): error for depth, error in rows.items()} for row, rows in resnet_cifar.PUBLISHED.items()}
    for row, depth, error in changes or ():
        tested[row][depth] = error
    learned = {row: {depth: error / 10 for depth, error in cells.items()} for row, cells in tested.items()}
    return dict(zip(resnet_cifar.TITLES.values(), (learned, tested), strict=True))


def test_the_published_errors_of_residual_networks_hold():
    found = resnet_cifar.claims(document(residual()))
    assert len(found) == 4 and all(claim.holds for claim in found)
    assert "+0.00 (110)" in found[-1].gap and "15.39 (56)" in found[0].published
    assert len(resnet_cifar.claims(document(residual(), data="folder:pictures"))) == 3  # no values of other pictures


@pytest.mark.parametrize(
    "change, wrong",
    [(("plain", "56", 9.0), 0), (("residual, A", "110", 9.0), 1), (("residual, A", "32", 12.0), 2)],
)
def test_other_errors_of_residual_networks_do_not(change, wrong):
    assert not resnet_cifar.claims(document(residual([change])))[wrong].holds
    assert resnet_cifar.figure(document(residual([change])))


def test_the_published_errors_without_pools_hold_and_others_do_not():
    def tables(**changes):
        errors = allcnn.PUBLISHED | changes
        return {allcnn.TITLE: {row: {"training": 1.0, "test": error} for row, error in errors.items()}}

    found = allcnn.claims(document(tables(), hold_out=False))
    assert len(found) == 5 and all(claim.holds for claim in found)
    assert len(allcnn.claims(document(tables(), hold_out=True))) == 4
    worse = allcnn.claims(document(tables(**{allcnn.ALL: 9.9}), hold_out=False))
    assert [claim.holds for claim in worse] == [False, False, True, True, False]


@pytest.mark.parametrize("form", ["lines", "lines.after.counts", "google.bin"])
def test_word_vectors_are_read_from_either_form(form, tmp_path):
    given = {"film": [1.0, 2.0, 3.0], "of": [4.0, 5.0, 6.0], "bad": [-1.0, 0.5, 0.25]}
    path = tmp_path / form
    if form == "google.bin":
        path.write_bytes(
            b"3 3\n" + b"".join(w.encode() + b" " + np.array(v, "<f4").tobytes() + b"\n" for w, v in given.items())
        )
    else:
        first = ["3 3"] if "counts" in form else []
        path.write_text("\n".join(first + [f"{word} {' '.join(map(str, numbers))}" for word, numbers in given.items()]))
    found = textcnn_mr.vectors_of(("<padding>", "bad", "film", "unseen"), path, 0)
    np.testing.assert_array_equal(found[1:3], [given["bad"], given["film"]])
    assert found.shape == (4, 3) and np.abs(found[3]).max() <= 0.25 and found[3].any()
    with pytest.raises(ValueError, match="`vectors` must hold words of the sentences; "):
        textcnn_mr.vectors_of(("<padding>", "nothing"), path, 0)


def test_pairs_of_words_tell_what_words_do_not():
    def sentences(rows, labels):
        return textcnn_mr.data.Dataset(np.array(rows, np.int32), np.array(labels, np.int32), ("a", "b"), "x", "train")

    train = sentences([[2, 3, 4, 0], [3, 2, 4, 0]] * 4, [0, 1] * 4)
    assert textcnn_mr.naive_bayes(train, train, sentences([[4, 2, 3, 0], [4, 3, 2, 0]], [0, 1])) == 1.0
