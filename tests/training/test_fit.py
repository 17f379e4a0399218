"""Training learns, equals a computation in NumPy, repeats to the bit, compiles once, stops at what is not finite."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import data, layers, ops, training
from jaxcnn.training.optimizer import make_optimizer, make_schedule
from jaxcnn.training.state import first_state, split
from jaxcnn.training.train_step import TrainStep

SHORT = training.TrainConfig(epochs=2, batch_size=6, learning_rate=0.05, log_every=1)


def fit(model, train, held_out=None, config=SHORT, **options):
    return training.fit(model, train, held_out, config, observer=None, **options)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_network_learns_random_labels_by_heart(small, optimizer):
    train = small.noise(24)
    model = small.Convolutional(nnx.Rngs(0))
    rate = {"sgd": 0.05}.get(optimizer, 0.05)
    config = training.TrainConfig(epochs=60, batch_size=8, optimizer=optimizer, learning_rate=rate, weight_decay=1e-4)
    result = fit(model, train, config=config)
    assert result.history[0]["loss"] > 0.9
    found = training.evaluate(model, train, result.scaling)
    assert found.accuracy == 1.0
    assert found.loss < 0.1


@pytest.mark.parametrize("kind", ["Linear", "Convolutional"])
def test_two_runs_end_with_the_same_bits(small, kind):
    runs = [
        (model := getattr(small, kind)(nnx.Rngs(0)), fit(model, small.noise(20), small.noise(7, "test"))) for _ in "12"
    ]
    (first, one), (second, two) = runs
    small.assert_same_bits(first, second)
    assert small.timeless(one.history) == small.timeless(two.history)


def test_another_seed_gives_another_order_and_so_other_bits(small):
    models_ = [small.Linear(nnx.Rngs(0)) for _ in "12"]
    for seed, model in enumerate(models_):
        fit(model, small.noise(20), config=dataclasses.replace(SHORT, seed=seed))
    a, b = (small.everything(model) for model in models_)
    assert any(not np.array_equal(a[path], b[path]) for path in a)


def test_the_model_ends_trained_and_in_evaluation_mode(small):
    model = small.Convolutional(nnx.Rngs(0))
    before = small.everything(model)
    fit(model, small.noise(20))
    after = small.everything(model)
    assert model.dropout.deterministic and model.norm.use_running_average
    for path in (("conv", "kernel"), ("head", "bias"), ("norm", "mean"), ("dropout", "rngs", "count")):
        assert not np.array_equal(before[path], after[path]), path


def test_the_history_tells_every_epoch(small):
    observed = []
    train, test = small.noise(20), small.noise(7, "test")
    model = small.Linear(nnx.Rngs(0))
    config = dataclasses.replace(SHORT, epochs=3, log_every=2)
    result = training.fit(model, train, test, config, observer=observed.append)
    assert (result.steps, result.folder, result.interrupted) == (9, None, False)
    assert result.scaling == data.measure_scaling(train)
    assert [(row["kind"], row["step"], row["epoch"]) for row in observed] == [
        ("step", 2, 1),
        ("epoch", 3, 1),
        ("step", 4, 2),
        ("epoch", 6, 2),
        ("step", 8, 3),
        ("epoch", 9, 3),
    ]
    assert result.history == [row for row in observed if row["kind"] == "epoch"]
    schedule = make_schedule(config, 9)  # of a step by the steps done before it
    assert [row["learning_rate"] for row in observed] == [float(schedule(step)) for step in (1, 2, 3, 5, 7, 8)]
    for row in result.history:
        assert row["eval_split"] == "test" and row["images_per_second"] > 0
        assert row["accuracy"] * 18 == pytest.approx(round(row["accuracy"] * 18))
    found = training.evaluate(model, test, result.scaling)
    assert (found.loss, found.accuracy) == (result.history[-1]["eval_loss"], result.history[-1]["eval_accuracy"])


def test_without_held_out_examples_nothing_is_evaluated(small):
    assert not any(
        key.startswith("eval") for row in fit(small.Linear(nnx.Rngs(0)), small.noise(20)).history for key in row
    )


def test_without_a_folder_nothing_is_written(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(small.Linear(nnx.Rngs(0)), small.noise(20))
    assert not list(tmp_path.iterdir())


def test_an_epoch_is_one_line_of_print(small, capsys):
    training.fit(small.Linear(nnx.Rngs(0)), small.noise(20), small.noise(7, "test"), SHORT)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch   1  loss ") and "test loss" in first and first.endswith("images/s")
    assert second.startswith("epoch   2  loss ")


def cross_entropy(logits, targets):
    """Mean loss over a batch and its gradient in the logits."""
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return -(targets * np.log(p)).sum(-1).mean(), (p - targets) / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("warmup", [0, 3])
def test_sgd_is_nesterov_s_by_hand(small, warmup, smoothing):
    """Softmax regression in NumPy, float64: scaling, order, smoothing, decay of the kernel, schedule, momentum."""
    train = small.noise(20)
    config = training.TrainConfig(
        epochs=3,
        batch_size=6,
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.8,
        weight_decay=0.3,
        warmup_steps=warmup,
        label_smoothing=smoothing,
        log_every=1,
    )
    model = small.Linear(nnx.Rngs(0))
    w, b = (np.array(p[...], np.float64) for p in (model.head.kernel, model.head.bias))
    speed_w, speed_b, losses, norms = 0, 0, [], []
    pixels = train.images.reshape(20, -1) / 255
    mean, std = pixels.mean(), pixels.std()
    for step in range(9):
        batch = data.train_batch(train, 6, 0, step)
        x = (batch.images.reshape(6, -1) / 255 - mean) / std
        targets = np.eye(3)[batch.labels] * (1 - smoothing) + smoothing / 3
        loss, error = cross_entropy(x @ w + b, targets)
        gradient_w, gradient_b = x.T @ error, error.sum(0)
        losses.append(loss)
        norms.append(np.sqrt((gradient_w**2).sum() + (gradient_b**2).sum()))
        falling = 0.1 * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (9 - warmup)))
        rate = 0.1 * step / warmup if step < warmup else falling
        gradient_w = gradient_w + 0.3 * w
        speed_w, speed_b = gradient_w + 0.8 * speed_w, gradient_b + 0.8 * speed_b
        w, b = w - rate * (gradient_w + 0.8 * speed_w), b - rate * (gradient_b + 0.8 * speed_b)
    rows = []
    training.fit(model, train, None, config, observer=rows.append)
    np.testing.assert_allclose(model.head.kernel[...], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.head.bias[...], b, rtol=1e-4, atol=1e-5)
    steps = [row for row in rows if row["kind"] == "step"]
    np.testing.assert_allclose([row["loss"] for row in steps], [losses[row["step"] - 1] for row in steps], rtol=1e-4)
    np.testing.assert_allclose([r["gradient_norm"] for r in steps], [norms[r["step"] - 1] for r in steps], rtol=1e-4)
    epochs = [row["loss"] for row in rows if row["kind"] == "epoch"]
    np.testing.assert_allclose(epochs, np.reshape(losses, (3, 3)).mean(1), rtol=1e-4)


@pytest.mark.parametrize(("optimizer", "decays"), [("adamw", True), ("adam", False), ("sgd", True)])
def test_weight_decay_shrinks_kernels_and_never_biases(small, optimizer, decays):
    """On black images the scaled input is 0, and so is the kernel's gradient: only decay acts."""
    blank = small.noise(20)._replace(images=np.zeros((20, 6, 6, 1), np.uint8))
    model = small.Linear(nnx.Rngs(0))
    model.head.bias[...] = jnp.array([5.0, 5.0, 5.0])
    before = np.array(model.head.kernel[...])
    fit(model, blank, config=dataclasses.replace(SHORT, optimizer=optimizer, weight_decay=0.5, learning_rate=0.01))
    ratio = np.array(model.head.kernel[...]) / before
    assert (ratio < 0.999).all() if decays else (np.abs(ratio - 1) < 1e-3).all()
    np.testing.assert_allclose(model.head.bias[...].sum(), 15, atol=0.5)


def test_training_works_where_64_bits_are_the_default(small, float64):
    model, train, test = small.Linear(nnx.Rngs(0)), small.noise(20), small.noise(7, "test")
    result = fit(model, train, test)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert model.head.kernel[...].dtype == jnp.float32
    assert training.evaluate(model, test, result.scaling).count == 7
    assert training.predict(model, test.images, result.scaling).shape == (7, 3)


def test_the_steps_compile_once(small):
    calls = []

    class Counted(small.Convolutional):  # a class of its own, of which no earlier test has left a trace in a cache
        def __call__(self, images):
            calls.append(self.dropout.deterministic)
            return super().__call__(images)

    fit(Counted(nnx.Rngs(0)), small.noise(20), small.noise(7, "test"), dataclasses.replace(SHORT, epochs=4))
    assert sorted(calls) == [False, True, True], "one trace in training, one in evaluation, one before both"


def test_a_second_step_finds_the_first_one_s_program(small):
    train = small.noise(20)
    graphs, params, rest = split(small.Convolutional(nnx.Rngs(0)))
    optimizer = make_optimizer(SHORT, 6)
    programs = []

    class Remembering(training.Layout):
        def compile(self, *args, **options):
            programs.append(super().compile(*args, **options))
            return programs[-1]

    layout = Remembering()
    step = TrainStep(graphs, optimizer, data.measure_scaling(train), layout=layout).compiled().run
    state = layout.place(first_state(params, rest, optimizer))
    for number in range(3):
        state, _ = step(state, [layout.put(data.train_batch(train, 6, 0, number))])
    assert [program._cache_size() for program in programs] == [1]


def test_the_model_given_to_split_stays_usable(small):
    """Steps donate their state; the network's own arrays must not go with it."""
    train, model = small.noise(20), small.Linear(nnx.Rngs(0))
    graphs, params, rest = split(model)
    optimizer = make_optimizer(SHORT, 6)
    TrainStep(graphs, optimizer, data.measure_scaling(train)).compiled().run(
        first_state(params, rest, optimizer), [data.train_batch(train, 6, 0, 0)]
    )
    assert np.isfinite(model(jnp.zeros((1, 6, 6, 1)))).all()


class Stages(nnx.Module):
    """Both poolings, two convolutions and a dense layer, under one rule."""

    def __init__(self, rule, rngs: nnx.Rngs):
        self.rule = rule
        self.conv1 = layers.Conv(1, 4, (5, 5), strides=2, rule=rule, rngs=rngs)
        self.pool1 = layers.MaxPool(2, rule=rule)
        self.conv2 = layers.Conv(4, 6, (3, 3), padding="VALID", rule=rule, rngs=rngs)
        self.pool2 = layers.AvgPool(2, (2, 1), rule=rule)
        self.head = nnx.Linear(2 * 4 * 6, 10, rngs=rngs)

    def __call__(self, images):
        x = self.pool1(ops.relu(self.conv1(images), rule=self.rule))
        x = self.pool2(ops.tanh(self.conv2(x), rule=self.rule))
        return self.head(x.reshape(x.shape[0], -1))


def test_the_hand_rule_trains_to_the_parameters_of_autodiff():
    train = data.load("digits", "train").take(640)
    config = training.TrainConfig(epochs=1, batch_size=32, optimizer="sgd", learning_rate=0.02)
    states = {}
    for rule in ("hand", "autodiff"):
        model = Stages(rule, nnx.Rngs(0))
        start = nnx.to_flat_state(nnx.state(model, nnx.Param))
        start = {path: np.array(leaf[...]) for path, leaf in start}
        fit(model, train, config=config)
        states[rule] = {path: np.array(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    for path, initial in start.items():
        hand, autodiff = states["hand"][path], states["autodiff"][path]
        moved = np.linalg.norm(autodiff - initial)
        assert moved > 0, path
        assert np.linalg.norm(hand - autodiff) < 1e-4 * moved, path


@pytest.mark.parametrize(
    "options", [{"optimizer": "adamw", "learning_rate": 1e30}, {"optimizer": "sgd", "learning_rate": 1e30}]
)
def test_what_is_not_finite_stops_the_run_and_leaves_a_finite_checkpoint(small, tmp_path, options):
    config = training.TrainConfig(epochs=3, batch_size=6, checkpoint_every=1, log_every=1, **options)
    with pytest.raises(training.NonFiniteError) as caught:
        fit(small.Convolutional(nnx.Rngs(0)), small.noise(20), config=config, folder=tmp_path / "run")
    rows = list(training.read_log(tmp_path / "run" / "metrics.jsonl"))
    good = rows[-1]["step"]
    assert f"at step {good + 1}, the last good checkpoint is step {good} in {tmp_path / 'run'}." in str(caught.value)
    assert "\n" not in str(caught.value)
    restored = small.Convolutional(nnx.Rngs(1))
    training.restore_model(restored, tmp_path / "run")
    for path, array in small.everything(restored).items():
        assert np.isfinite(array).all(), path


def test_parameters_that_overflow_in_the_update_itself_are_not_saved(small, tmp_path):
    """Loss and gradient of the first step are finite; it is the update that gives infinities."""
    config = training.TrainConfig(epochs=3, batch_size=6, checkpoint_every=1, optimizer="sgd", learning_rate=3e38)
    train = small.noise(20)
    with pytest.raises(training.NonFiniteError, match="step"):
        fit(small.Linear(nnx.Rngs(0)), train, small.noise(7, "test"), config, folder=tmp_path / "run")
    restored = small.Linear(nnx.Rngs(1))
    try:
        training.restore_model(restored, tmp_path / "run")
    except ValueError as error:
        assert "holds none" in str(error)
    for path, array in small.everything(restored).items():
        assert np.isfinite(array).all(), path


def test_a_run_never_returns_parameters_that_are_not_finite(small):
    """One step only: no later loss can notice what the update did."""
    config = training.TrainConfig(epochs=1, batch_size=20, optimizer="sgd", learning_rate=3e38, weight_decay=1e30)
    model = small.Linear(nnx.Rngs(0))
    with pytest.raises(training.NonFiniteError):
        fit(model, small.noise(20), config=config)


def test_a_loss_that_is_not_finite_is_found_between_rows_of_the_log(small):
    config = training.TrainConfig(epochs=3, batch_size=6, log_every=1000, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(training.NonFiniteError, match="at step [23], no checkpoint was written before"):
        fit(small.Linear(nnx.Rngs(0)), small.noise(20), config=config)


def test_the_folder_tells_how_the_run_was_done(small, tmp_path):
    train = small.noise(20)
    details = {"model": {"name": "linear"}, "command": "by hand"}
    result = fit(small.Linear(nnx.Rngs(0)), train, folder=tmp_path / "a" / "run", details=details)
    assert result.folder == tmp_path / "a" / "run"
    told = json.loads((tmp_path / "a" / "run" / "config.json").read_text())
    assert told == training.read_description(result.folder)
    assert training.TrainConfig(**told["training"]) == training.settled(SHORT, train)
    assert told["data"] == {
        "name": "noise",
        "split": "train",
        "count": 20,
        "image_shape": [6, 6, 1],
        "features": 1,
        "classes": ["a", "b", "c"],
    }
    scaling = told["scaling"]
    assert data.Scaling(tuple(scaling["mean"]), tuple(scaling["std"]), scaling["unit"]) == result.scaling
    assert (told["model"], told["command"]) == ({"name": "linear"}, "by hand")
    assert [
        row for row in training.read_log(result.folder / "metrics.jsonl") if row["kind"] == "epoch"
    ] == result.history


@pytest.mark.parametrize("keep", [1, 3])
def test_only_the_newest_checkpoints_stay(small, tmp_path, keep):
    config = dataclasses.replace(SHORT, checkpoint_every=1, keep_checkpoints=keep)
    fit(small.Linear(nnx.Rngs(0)), small.noise(20), config=config, folder=tmp_path)
    steps = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert steps == list(range(7 - keep, 7))


def test_a_folder_that_holds_a_run_is_not_written_over(small, tmp_path):
    fit(small.Linear(nnx.Rngs(0)), small.noise(20), folder=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(ValueError) as caught:
        fit(small.Linear(nnx.Rngs(0)), small.noise(20), folder=tmp_path)
    assert str(caught.value) == f"{tmp_path} already holds a run; resume it, or name another folder."
    assert (tmp_path / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("batch_size", [0, 21])
def test_a_batch_larger_than_the_data_is_refused(small, batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be"):
        fit(small.Linear(nnx.Rngs(0)), small.noise(20), config=dataclasses.replace(SHORT, batch_size=batch_size))


def test_a_refused_configuration_leaves_no_folder(small, tmp_path):
    with pytest.raises(ValueError, match="`warmup_steps` must be below the 6 steps"):
        fit(
            small.Linear(nnx.Rngs(0)),
            small.noise(20),
            config=dataclasses.replace(SHORT, warmup_steps=6),
            folder=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_no_transfer_is_hidden_in_a_step(small):
    """The step takes host batches and device state; its metrics stay on the device until they are asked for."""
    train = small.noise(20)
    graphs, params, rest = split(small.Linear(nnx.Rngs(0)))
    optimizer = make_optimizer(SHORT, 6)
    step = TrainStep(graphs, optimizer, data.measure_scaling(train)).compiled().run
    _, metrics = step(first_state(params, rest, optimizer), [data.train_batch(train, 6, 0, 0)])
    assert metrics.keys() == {"loss", "counts", "gradient_norm", "parameters_finite"} and "correct" in metrics["counts"]
    assert all(isinstance(value, jax.Array) and value.shape == () for value in jax.tree.leaves(metrics))


def test_a_tilde_is_the_home_folder(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = training.TrainConfig(epochs=1, batch_size=6)
    result = training.fit(small.Linear(nnx.Rngs(0)), small.noise(6), config=config, folder="~/run", observer=None)
    assert result.folder == tmp_path / "run" and (tmp_path / "run" / "config.json").exists()
    assert not (tmp_path / "~").exists()
