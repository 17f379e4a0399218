"""The order and the arithmetic of alternating measurement, on a clock that the test sets."""

import pytest

from experiments.benchmarks.timing import alternate, ratios, spread


class Clock:
    """Time that passes only where work is done."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        def call():
            self.done.append(name)
            self.now += seconds

        return call


def test_every_contestant_has_its_turn_and_another_begins_each_round():
    clock = Clock()
    calls = {"a": clock.work("a", 0.1), "b": clock.work("b", 0.2), "c": clock.work("c", 0.3)}
    samples = alternate(calls, rounds=4, clock=clock)
    twice = "".join(2 * name for name in "abc" + "bca" + "cab" + "abc")  # the first time not timed
    assert "".join(clock.done) == "aabbcc" + twice
    assert samples == {
        "a": pytest.approx([0.1] * 4),
        "b": pytest.approx([0.2] * 4),
        "c": pytest.approx([0.3] * 4),
    }


def test_short_calls_are_repeated_after_a_rest_and_one_call_that_does_not_count():
    clock, rests = Clock(), []
    samples = alternate({"a": clock.work("a", 0.002)}, rounds=2, clock=clock, rest=rests.append)
    assert len(clock.done) == 2 + 2 * (1 + 3)  # 3 of 2 ms are the first to reach 5 ms
    assert len(rests) == 2
    assert samples["a"] == pytest.approx([0.002] * 2)


def test_the_budget_ends_it_but_not_before_three_rounds():
    clock = Clock()
    assert len(alternate({"a": clock.work("a", 10)}, rounds=9, budget=1, clock=clock)["a"]) == 3
    assert len(alternate({"a": clock.work("a", 10)}, rounds=9, budget=85, clock=clock)["a"]) == 5
    assert len(alternate({"a": clock.work("a", 10)}, rounds=2, budget=1, clock=clock)["a"]) == 2


def test_what_must_not_be_warm_is_not_warmed():
    clock = Clock()
    alternate({"a": clock.work("a", 10)}, rounds=3, warm_up=False, clock=clock)
    assert len(clock.done) == 3


def test_quartiles_and_ratios_within_rounds():
    assert spread([4, 1, 3, 2, 5]) == (3, 2, 4)
    assert spread([1, 2]) == (1.5, 1.25, 1.75)
    # a machine that slows down by 10 in the last round does not touch the ratios
    assert ratios([2, 4, 30], [1, 2, 10]) == (2, 2, 2.5)
