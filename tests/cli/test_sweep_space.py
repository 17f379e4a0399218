"""What a sweep varies: how it is written, and what is drawn from it."""

import math

import numpy as np
import pytest

from jaxcnn.cli.main import _parse, _UsageError
from jaxcnn.cli.sweep import parted
from jaxcnn.cli.sweep_space import Varied, drawn, grid, varied, written_value


def parse(*over, network="lenet5"):
    return varied(over, network, lambda words: _parse(["train", *words]))


def test_lists_have_the_kinds_of_their_options():
    space = parse("learning-rate=0.01,1e-1", "optimizer=sgd,adamw", "nesterov=true,no", "clip_norm=None,1")
    assert [option.values for option in space] == [(0.01, 0.1), ("sgd", "adamw"), (True, False), (None, 1.0)]
    several, hidden = parse("augment=,flip,flip+cutout=8", "hidden=(8,),(16,8)", network="mlp")
    assert several.values == ([], ["flip"], ["flip", "cutout=8"]) and not several.of_network
    assert hidden == Varied("hidden", True, ("(8,)", "(16,8)"))
    assert [option.name for option in parse("model=mlp,lenet5", "hidden=(8,)")] == ["model", "hidden"]


def test_ranges():
    rate, decay, batch = parse("learning-rate=log:1e-4..1e-1", "weight-decay=0..1", "batch-size=16..20")
    assert (rate.log, rate.low, rate.high) == (True, 1e-4, 0.1)
    assert (decay.whole, batch.whole) == (False, True), "the option says whether numbers are integers"
    assert parse("hidden=1..3", network="mlp")[0].whole and not parse("hidden=1..3.5", network="mlp")[0].whole
    values = [batch.at(share) for share in np.linspace(0, 1, 1000, endpoint=False)]
    assert {value: values.count(value) for value in set(values)} == dict.fromkeys(range(16, 21), 200)
    logs = [math.log10(rate.at(share)) for share in np.linspace(0, 1, 4, endpoint=False)]
    np.testing.assert_allclose(logs, [-4, -3.25, -2.5, -1.75], atol=1e-4)
    assert Varied("x", low=0.0, high=0.12347).at(0.999999) == 0.12347, "rounding stays in the range"


def test_a_drawn_setting_depends_on_seed_and_number_only():
    space = parse("learning-rate=log:1e-4..1e-1", "optimizer=sgd,adamw", "batch-size=16..256")
    settings = [drawn(space, 3, number) for number in range(200)]
    assert settings[7] == drawn(space, 3, 7) != drawn(space, 4, 7)
    assert settings[0] == {"learning_rate": 0.04306, "optimizer": "adamw", "batch_size": 61}
    fewer = drawn(space[:1], 3, 7)
    assert fewer["learning_rate"] == settings[7]["learning_rate"], "an option more changes no other"
    rates = np.array([math.log10(setting["learning_rate"]) for setting in settings])
    assert rates.min() < -3.8 and rates.max() > -1.2 and abs(rates.mean() + 2.5) < 0.2
    assert 70 < sum(setting["optimizer"] == "sgd" for setting in settings) < 130


def test_a_grid_has_all_combinations():
    space = parse("learning-rate=0.01,0.1", "optimizer=sgd,adamw,adam")
    settings = list(grid(space))
    assert len(settings) == 6 and settings[1] == {"learning_rate": 0.01, "optimizer": "adamw"}
    assert list(grid(())) == [{}]


def test_values_are_written_as_they_are_given():
    assert [written_value(value) for value in (0.0001, 1e-6, 0.123476789, True, None, ["flip", "cutout=8"])] == [
        "0.0001",
        "1e-06",
        "0.123476789",
        "True",
        "None",
        "flip+cutout=8",
    ]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("learning-rate", "`over` must be NAME=VALUE,VALUE or NAME=LOW..HIGH; got 'learning-rate'."),
        ("learning-rat=1,2", "got learning_rat: perhaps you meant `learning-rate`."),
        ("seed=1,2", "`over` must not name seed; give the number of `seeds` instead."),
        ("out=a,b", "`over` must name an option that changes the training; got out."),
        ("optimizer=1..2", "`over` must list the values of optimizer, which are no numbers; got '1..2'."),
        ("learning-rate=0.1..0.01", "`over` must have ranges that grow; got '0.1..0.01' for learning_rate."),
        ("learning-rate=log:0..1", "`over` must have positive numbers in a range with log; got 'log:0..1'"),
        ("batch-size=1.5..8", "`over` must have integers for batch_size; got '1.5..8'."),
        ("epochs=1,1", "`over` must list different values; got 1 twice for epochs."),
        ("nesterov=perhaps", "`--nesterov` must be true or false; got 'perhaps'."),
        ("learning-rate=fast,slow", "`--learning-rate` must be a number; got 'fast'."),
        ("learning-rate=0.1,-1", "`learning_rate` must be positive; got -1.0."),
        ("optimizer=sgd,adamv", "`--optimizer` must be one of"),
    ],
    ids=str,
)
def test_refusals(over, message):
    with pytest.raises((ValueError, _UsageError)) as refused:
        parse(over)
    assert message in str(refused.value)


def test_words_of_the_sweep_and_of_its_trainings():
    line = "lenet5 --over a=1,2 b=3 --data digits --seeds 3 --augment flip shift=2 --out=x --retry --over c=4"
    own, theirs = parted(line.split())
    assert theirs == "lenet5 --data digits --augment flip shift=2".split()
    assert own == ["--seeds", "3", "--out=x", "--retry", "--over", "a=1,2", "b=3", "c=4"]
    assert parted(["--retry", "mlp", "--search_seed", "4"]) == (["--retry", "--search-seed", "4"], ["mlp"])
    assert parted(["mlp", "--help", "--seeds"]) == (["--help"], [])
