"""What papers report on ImageNet: each error with its protocol and table, and the winners of the challenge."""

import pytest

from jaxcnn import models
from jaxcnn.models.imagenet import ERRORS, OTHERS

ERRORS_OF = {name: card.errors for name, card in models.CARDS.items() if card.errors}


def test_the_errors_are_those_of_networks():
    assert ERRORS_OF == ERRORS and set(ERRORS) <= set(models.MODELS)
    for error in [*OTHERS.values(), *(error for errors in ERRORS.values() for error in errors)]:
        assert error.protocol and ("table" in error.source or "figure" in error.source)
        assert error.top1 is not None or error.top5 is not None
        if error.top1 is not None and error.top5 is not None:
            assert 2 < error.top5 < error.top1 < 50


@pytest.mark.parametrize("name", ERRORS_OF)
def test_a_card_says_its_first_error_in_words(name):
    first, told = ERRORS_OF[name][0], models.CARDS[name].published
    value = first.top5 if first.top1 is None else first.top1
    assert told.startswith(f"ImageNet top-{5 if first.top1 is None else 1} error {value:.2f} %, ")
    assert told.endswith(first.source)


def test_options_of_shortcuts_are_told_apart():
    found = {error.protocol: error.top1 for error in models.CARDS["resnet34"].errors}
    assert found["validation 2012, option B, several scales"] == 21.84  # what `resnet34` builds by default
    assert found["validation 2012, option A, ten crops"] == 25.03
    assert min(found, key=lambda protocol: found[protocol]) == "validation 2012, option C, several scales"


def test_winners_are_of_consecutive_years_and_ever_better():
    assert [winner.year for winner in models.ILSVRC] == list(range(2010, 2018))
    errors = [winner.top5 for winner in models.ILSVRC]
    assert errors == sorted(errors, reverse=True)
    assert [winner.layers for winner in models.ILSVRC][:5] == [None, None, 8, 8, 22]
    assert {winner.model for winner in models.ILSVRC if winner.model} == {"alexnet", "googlenet", "resnet152"}
