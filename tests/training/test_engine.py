"""What a configuration asks of the engine is what the engine does."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxcnn import data, models, training
from jaxcnn.data.batches import train_batch
from jaxcnn.training.early_stopping import EarlyStopping
from jaxcnn.training.optimizer import frozen_paths, make_schedule

CONFIG = training.TrainConfig(epochs=3, batch_size=6, optimizer="sgd", momentum=0.0, learning_rate=0.05, log_every=1)


def fitted(small, config, kind="Convolutional", **options):
    model = getattr(small, kind)(nnx.Rngs(0))
    options = {"observer": None} | options
    return model, training.fit(model, small.noise(20), small.noise(7, "test"), config, **options)


def test_frozen_parameters_stay_and_frozen_norms_compute_as_in_evaluation(small):
    before = small.everything(small.Convolutional(nnx.Rngs(0)))
    model, _ = fitted(small, dataclasses.replace(CONFIG, freeze=("conv", "norm/*"), weight_decay=0.1))
    after = small.everything(model)
    moved = {"/".join(map(str, path)) for path in before if not np.array_equal(before[path], after[path])}
    assert {"head/kernel", "head/bias"} <= moved
    assert not {path for path in moved if path.startswith(("conv", "norm"))}, "statistics stay too"


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (("convv",), "`freeze` must name parameters, which begin with conv, head, norm; got 'convv'."),
        (("conv", "norm", "head"), "`freeze` must leave a parameter to train; got conv, norm, head."),
    ],
)
def test_freezing_nothing_or_everything_is_refused(small, patterns, told):
    params = nnx.state(small.Convolutional(nnx.Rngs(0)), nnx.Param)
    with pytest.raises(ValueError) as caught:
        frozen_paths(dataclasses.replace(CONFIG, freeze=patterns), params)
    assert str(caught.value) == told


def test_the_moving_average_is_that_of_parameters_and_statistics(small):
    """Against NumPy: the share that stays in step t is the smaller of the decay and (1 + t) / (10 + t)."""

    def stopped(steps: int, **changes):
        model, counter = small.Convolutional(nnx.Rngs(0)), itertools.count(1)
        config = dataclasses.replace(CONFIG, **changes)
        training.fit(model, small.noise(20), None, config, observer=None, should_stop=lambda: next(counter) == steps)
        return small.everything(model)

    found, begun = stopped(3, ema_decay=0.2), small.everything(small.Convolutional(nnx.Rngs(0)))
    visited = [stopped(steps) for steps in (1, 2, 3)]
    for path in (("conv", "kernel"), ("head", "bias"), ("norm", "scale"), ("norm", "mean"), ("norm", "var")):
        average = begun[path]
        for step, there in enumerate(visited):
            stays = min(0.2, (1 + step) / (10 + step))
            average = stays * average + (1 - stays) * there[path]
        np.testing.assert_allclose(found[path], average, rtol=1e-4, atol=1e-6, err_msg=str(path))


def test_averages_are_evaluated_beside_the_parameters(small):
    _, result = fitted(small, dataclasses.replace(CONFIG, ema_decay=0.9))
    assert all({"ema_loss", "ema_accuracy", "eval_loss"} <= row.keys() for row in result.history)
    assert result.history[-1]["ema_loss"] != result.history[-1]["eval_loss"]


def test_parts_of_a_batch_are_the_batch(small):
    (whole, log), (parts, same) = (fitted(small, dataclasses.replace(CONFIG, accumulate=k), "Linear") for k in (1, 3))
    np.testing.assert_allclose(parts.head.kernel[...], whole.head.kernel[...], rtol=1e-5, atol=1e-7)
    for row, other in zip(log.history, same.history, strict=True):
        np.testing.assert_allclose(row["loss"], other["loss"], rtol=1e-5)
        assert row["accuracy"] == other["accuracy"]


def test_each_part_moves_the_statistics_of_batch_norm(small):
    """They are those of the parts one after the other: momentum 0.9 (Flax has 0.99), biased variances."""
    train, parts = small.noise(6), 3
    config = dataclasses.replace(CONFIG, epochs=1, learning_rate=1e-30, accumulate=parts)
    model = small.Convolutional(nnx.Rngs(0))
    result = training.fit(model, train, None, config, observer=None)
    after = small.everything(model)
    order = np.asarray(train_batch(train, 6, config.seed, 0).ids)
    twin = small.Convolutional(nnx.Rngs(0))
    for part in np.split(order, parts):
        twin(result.scaling(train.images[part]))
    expected = small.everything(twin)
    for path in (("norm", "mean"), ("norm", "var")):
        np.testing.assert_allclose(after[path], expected[path], rtol=1e-5, atol=1e-7)


def test_waiting_ends_after_patience_and_the_best_comes_back(small, tmp_path):
    """On noise the held-out loss soon rises."""
    config = dataclasses.replace(CONFIG, epochs=60, learning_rate=0.5, monitor="loss", patience=2, schedule="constant")
    for folder in (None, tmp_path / "run"):
        model, result = fitted(small, config, folder=folder)
        losses = [row["eval_loss"] for row in result.history]
        assert len(losses) < 60 and not result.interrupted
        best = int(np.argmin(losses))
        assert len(losses) == best + 3 and result.best_step == 3 * (best + 1)
        found = training.evaluate(model, small.noise(7, "test"), result.scaling)
        np.testing.assert_allclose(found.loss, losses[best], rtol=1e-6)
    again = small.Convolutional(nnx.Rngs(5))
    training.restore_model(again, tmp_path / "run")
    small.assert_same_bits(again, model)
    _, resumed = fitted(small, config, folder=tmp_path / "run", resume=True)
    assert resumed.steps == result.steps, "a run that is over stays over"


def test_patience_needs_something_to_watch(small):
    with pytest.raises(ValueError, match="`patience` needs held-out examples; got 2 without any."):
        training.fit(small.Linear(nnx.Rngs(0)), small.noise(20), None, dataclasses.replace(CONFIG, patience=2))


def test_of_equally_good_epochs_the_later_is_kept_but_waiting_goes_on():
    best = EarlyStopping("accuracy", 2)
    for step, accuracy in enumerate((0.5, 0.7, 0.7), start=1):
        best.see({"step": step, "eval_accuracy": accuracy})
    assert (best.step, best.waited, best.over) == (3, 1, False)
    best.see({"step": 4, "eval_accuracy": float("nan")})
    assert (best.step, best.over) == (3, True)


def test_the_best_epoch_is_that_of_the_averages_where_they_are_evaluated():
    best = EarlyStopping("loss", None)
    for step, (loss, averaged) in enumerate(((0.1, 0.7), (0.9, 0.3), (0.5, 0.5)), start=1):
        best.see({"step": step, "eval_loss": loss, "ema_loss": averaged})
    assert (best.step, best.score, best.waited) == (2, -0.3, 1)


def test_the_best_checkpoint_outlives_the_newest(small, tmp_path):
    config = dataclasses.replace(
        CONFIG, epochs=12, learning_rate=0.5, monitor="loss", restore_best=True, keep_checkpoints=1, schedule="constant"
    )
    _, result = fitted(small, config, folder=tmp_path)
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert kept == {result.best_step, result.steps} and len(kept) == 2


@pytest.mark.parametrize("views", ["flip", "flip_shift"])
def test_views_are_averaged(small, views):
    model, test = small.Convolutional(nnx.Rngs(0)), small.noise(7, "test")
    scaling = data.measure_scaling(test)
    seen = [test.images]
    if views == "flip_shift":
        wide = np.pad(test.images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        seen += [wide[:, :6, :6], wide[:, 2:, 2:]]
    seen += [images[:, :, ::-1] for images in seen]
    model.eval()
    logits = np.mean([model(scaling(images)) for images in seen], 0)
    expected = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), jnp.asarray(test.labels)).mean()
    found = training.evaluate(model, test, scaling, views=views)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)


def test_unknown_views_are_refused(small):
    with pytest.raises(ValueError, match="`views` must be one of one, flip, flip_shift; got 'ten'."):
        training.evaluate(small.Linear(nnx.Rngs(0)), small.noise(7), data.measure_scaling(small.noise(7)), views="ten")


def test_the_top_five_are_counted():
    labels = np.arange(8, dtype=np.int32)
    images = np.zeros((8, 1, 1, 1), np.uint8)
    dataset = data.Dataset(images, labels, tuple("abcdefgh"), "fixed", "test")

    class Fixed(nnx.Module):
        def __init__(self):
            self.bias = nnx.Param(jnp.array([0.0, 7, 6, 5, 4, 3, 2, 1]))

        def __call__(self, images):
            return jnp.broadcast_to(self.bias[...], (len(images), 8))

    found = training.evaluate(Fixed(), dataset, data.Scaling((0.0,), (1.0,)), batch_size=3)
    assert (found.accuracy, found.top5_accuracy) == (1 / 8, 5 / 8)
    five = dataset._replace(labels=labels % 5, classes=tuple("abcde"))
    assert training.evaluate(Fixed(), five, data.Scaling((0.0,), (1.0,))).top5_accuracy is None, "it would be 1"


def test_augmentation_is_of_pictures(small):
    sounds = small.noise(20)._replace(images=np.zeros((20, 6, 6), np.float32))
    with pytest.raises(ValueError, match="`augment` needs pictures"):
        training.fit(small.Linear(nnx.Rngs(0)), sounds, None, dataclasses.replace(CONFIG, augment=("flip",)))


def test_warm_up_counts_in_epochs_too():
    config = dataclasses.replace(CONFIG, warmup_epochs=1.5, warmup_steps=1, schedule="constant")
    rates = [float(make_schedule(config, 30)(step)) for step in (0, 8, 16, 29)]
    np.testing.assert_allclose(rates, [0, 0.025, 0.05, 0.05], rtol=1e-6)


@pytest.mark.parametrize("name", training.RECIPES)
def test_recipes_are_whole_configurations(name):
    recipe = training.RECIPES[name]
    assert recipe.network and recipe.source
    assert training.TrainConfig(**dataclasses.asdict(recipe.config)) == recipe.config
    steps = 1000 * recipe.config.epochs
    rates = [float(make_schedule(recipe.config, steps)(step)) for step in range(0, steps, steps // 50)]
    assert max(rates) <= recipe.config.learning_rate * (1 + 1e-6) and min(rates) >= 0


def test_the_cifar_recipe_falls_where_the_paper_says():
    config = training.RECIPES["he2015-cifar"].config
    steps = 390 * config.epochs
    assert abs(steps - 64_000) < 100
    schedule = make_schedule(config, steps)
    np.testing.assert_allclose([float(schedule(s)) for s in (31_900, 32_100, 48_100)], [0.1, 0.01, 0.001], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ema_decay": 1.0}, "`ema_decay` must be between 0 and 1; got 1.0."),
        ({"patience": 0}, "`patience` must be positive; got 0."),
        ({"accumulate": 4}, "`accumulate` must divide the batch of 6; got 4."),
        (
            {"monitor": "f2"},
            "`monitor` must be one of loss, accuracy, top5_accuracy, exact_match, label_accuracy, auc, "
            "average_precision, f1, rmse, mae, r2, mean_iou, pixel_accuracy; got 'f2'.",
        ),
        ({"warmup_epochs": -1.0}, "`warmup_epochs` must not be negative; got -1.0."),
    ],
)
def test_values_that_make_no_sense_are_refused(change, told):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(CONFIG, **change)
    assert str(caught.value) == told


def test_bfloat16_inside_keeps_the_parameters_in_float32():
    train = data.load("digits").take(32)
    model = models.create("lenet5", num_classes=10, in_features=1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    result = training.fit(model, train, None, dataclasses.replace(CONFIG, batch_size=16), observer=None)
    assert np.isfinite(result.history[-1]["loss"])
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
