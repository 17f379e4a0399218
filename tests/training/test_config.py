"""The configuration: every value is checked, and the schedule is what its words say."""

import dataclasses
import math

import numpy as np
import pytest

from jaxcnn.training import TrainConfig
from jaxcnn.training.config import make_schedule


@pytest.mark.parametrize(
    "name", ["epochs", "batch_size", "learning_rate", "log_every", "checkpoint_every", "keep_checkpoints"]
)
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_what_counts_must_be_positive(name, value):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must be positive; got {value}."


@pytest.mark.parametrize("name", ["warmup_steps", "weight_decay", "seed"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_what_may_be_zero_must_not_be_negative(name, value):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must not be negative; got {value}."
    assert getattr(TrainConfig(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", ["momentum", "label_smoothing"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 2, math.nan])
def test_shares_lie_between_zero_and_one(name, value):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must be in [0, 1); got {value}."


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_what_is_infinite_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        TrainConfig(**{name: math.inf})


@pytest.mark.parametrize(
    ("name", "value", "options"), [("optimizer", "lion", "adamw, adam, sgd"), ("schedule", "step", "cosine, constant")]
)
def test_choices_are_answered_with_the_known_ones(name, value, options):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must be one of {options}; got {value!r}."


def test_a_configuration_is_a_frozen_value():
    config = TrainConfig(epochs=3)
    assert config == TrainConfig(**dataclasses.asdict(config))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 4


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_cosine_rises_in_a_line_and_falls_to_zero_at_the_last_step(warmup):
    schedule = make_schedule(TrainConfig(learning_rate=0.5, warmup_steps=warmup), 20)
    rates = [float(schedule(step)) for step in range(21)]
    expected = [
        0.5 * step / warmup if step < warmup else 0.25 * (1 + math.cos(math.pi * (step - warmup) / (20 - warmup)))
        for step in range(21)
    ]
    np.testing.assert_allclose(rates, expected, atol=1e-7)
    assert rates[-1] == pytest.approx(0, abs=1e-7) and max(rates) == 0.5


def test_constant_stays():
    schedule = make_schedule(TrainConfig(learning_rate=0.5, warmup_steps=2, schedule="constant"), 9)
    np.testing.assert_allclose([float(schedule(step)) for step in range(5)], [0, 0.25, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("warmup", [9, 10])
def test_a_warm_up_longer_than_the_run_is_refused(warmup):
    with pytest.raises(ValueError) as caught:
        make_schedule(TrainConfig(warmup_steps=warmup), 9)
    assert str(caught.value) == f"`warmup_steps` must be below the 9 steps in all; got {warmup}."
