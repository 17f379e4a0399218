"""The classes of ImageNet in words, and the kinds above them."""

import pytest

from jaxcnn import data


def test_every_class_has_a_word_of_its_own():
    tree = data.imagenet_classes()
    assert len(tree.ids) == len(set(tree.ids)) == len(set(tree.names)) == 1000 and list(tree.ids) == sorted(tree.ids)
    places = {0: "tench", 207: "golden retriever", 281: "tabby", 999: "toilet tissue"}  # as every list of them has it
    assert {place: tree.names[place] for place in places} == places
    assert {tree.names[134], tree.names[517]} == {"crane (wading bird)", "crane (lifting device)"}


@pytest.mark.parametrize(
    ("kind", "count"),
    [("dog", 118), ("Domestic_Dog", 118), ("tabby", 1), ("n02084071", 118), ("crane", 2), ("entity", 1000)],
)
def test_a_kind_has_the_classes_below_it(kind, count):
    found = data.imagenet_classes().places(kind)
    assert len(found) == count and (found[1:] > found[:-1]).all()


def test_the_dogs_are_the_places_that_everyone_knows():
    assert data.imagenet_classes().places("dog").tolist() == list(range(151, 269))


def test_an_unknown_kind_is_refused_with_similar_words():
    with pytest.raises(ValueError, match=r"a more general word in WordNet, as .*'dog'.*; got 'dgo'\."):
        data.imagenet_classes().places("dgo")
