"""The configuration: every value is checked, and the schedule is what its words say."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.training import TrainConfig
from jaxcnn.training.optimizer import make_optimizer, make_schedule


@pytest.mark.parametrize(
    "name", ["epochs", "batch_size", "learning_rate", "log_every", "checkpoint_every", "keep_checkpoints"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_what_counts_must_be_positive(name, value):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must be positive; got {value}."


@pytest.mark.parametrize(
    "name", ["epochs", "batch_size", "accumulate", "log_every", "warmup_steps", "seed", "patience"]
)
@pytest.mark.parametrize("value", [2.5, math.nan, "3"])
def test_what_counts_is_an_integer(name, value):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    assert str(caught.value) == f"`{name}` must be an integer; got {value!r}."


def test_a_learning_rate_is_a_number():
    with pytest.raises(ValueError) as caught:
        TrainConfig(learning_rate=math.nan)
    assert str(caught.value) == "`learning_rate` must be positive; got nan."


@pytest.mark.parametrize(
    ("name", "value"), [("warmup_steps", -1), ("weight_decay", -1), ("weight_decay", math.nan), ("seed", -1)]
)
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
    ("name", "value", "options"),
    [
        ("optimizer", "lion", "adamw, adam, sgd, lars, muon, adadelta"),
        ("schedule", "linear", "cosine, constant, step, one_cycle"),
        ("loss", "hinge", "cross_entropy, mean_squared_error, half_squared_error, huber, dice, cross_entropy_dice"),
        ("task", "detection", "classification, binary, multi_label, regression, segmentation"),
        ("scaling", "none", "standard, symmetric"),
    ],
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
    assert str(caught.value) == f"`warmup_steps` must be below the 9 steps in total; got {warmup}."


def test_steps_fall_to_a_tenth_at_the_milestones():
    config = TrainConfig(learning_rate=1.0, warmup_steps=4, schedule="step", milestones=(0.5, 0.75))
    rates = [float(make_schedule(config, 24)(step)) for step in (3, 4, 13, 14, 15, 18, 19, 20, 23)]
    np.testing.assert_allclose(rates, [0.75, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-6)


def test_one_cycle_rises_and_falls():
    schedule = make_schedule(TrainConfig(learning_rate=1.0, schedule="one_cycle"), 100)
    rates = [float(schedule(step)) for step in range(101)]
    assert np.argmax(rates) == 30 and max(rates) == pytest.approx(1)
    assert rates[0] == pytest.approx(1 / 25) and rates[-1] < 1e-3
    assert np.all(np.diff(rates[:31]) > 0) and np.all(np.diff(rates[30:]) < 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, "`clip_norm` must be positive and finite; got 0.0."),
        ({"clip_norm": math.nan}, "`clip_norm` must be positive and finite; got nan."),
        ({"milestones": (0.5, 0.2)}, "`milestones` must be increasing shares between 0 and 1; got (0.5, 0.2)."),
        ({"milestones": (1.5,)}, "`milestones` must be increasing shares between 0 and 1; got (1.5,)."),
    ],
    ids=str,
)
def test_clipping_and_milestones_are_checked(options, message):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**options)
    assert str(caught.value) == message


PARAMS = {"kernel": jnp.full((3, 2, 4), 2.0), "bias": jnp.full(4, 2.0)}


def update(gradient, **options):
    config = TrainConfig(learning_rate=0.1, schedule="constant", momentum=0.0, **options)
    optimizer = make_optimizer(config, 10)
    with jax.numpy_dtype_promotion("standard"):
        return optimizer.update(gradient, optimizer.init(PARAMS), PARAMS)[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon", "lars"])
@pytest.mark.parametrize("everything", [False, True])
def test_biases_decay_when_they_are_asked_to(optimizer, everything):
    still = jax.tree.map(jnp.zeros_like, PARAMS)
    moved = update(still, optimizer=optimizer, weight_decay=0.5, decay_all=everything)
    assert np.all(moved["kernel"] < 0)
    assert np.all(moved["bias"] < 0) == everything


def test_clipping_scales_the_whole_gradient():
    steep = jax.tree.map(lambda leaf: 3.0 * jnp.ones_like(leaf), PARAMS)
    norm = 3 * np.sqrt(28)
    free, clipped = (update(steep, optimizer="sgd", weight_decay=0.0, clip_norm=c) for c in (None, 0.5))
    for name in PARAMS:
        np.testing.assert_allclose(clipped[name], free[name] * 0.5 / norm, rtol=1e-5)
    same = update(steep, optimizer="sgd", weight_decay=0.0, clip_norm=100.0)
    np.testing.assert_allclose(same["kernel"], free["kernel"], rtol=1e-6)


def test_muon_moves_every_kernel_by_an_orthogonal_matrix():
    gradient = {"kernel": jax.random.normal(jax.random.key(0), (3, 2, 4)), "bias": jnp.ones(4)}
    moved = update(gradient, optimizer="muon", weight_decay=0.0)
    values = np.linalg.svd(np.asarray(moved["kernel"]).reshape(6, 4), compute_uv=False)
    assert values.max() / values.min() < 2.2, "Newton and Schulz's five steps bring all near to one"
