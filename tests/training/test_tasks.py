"""Each task: the form of its targets, its loss against PyTorch's, its metrics against scikit-learn's, its runs."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn import metrics as theirs

from jaxcnn import training
from jaxcnn.data import Dataset, Scaling
from jaxcnn.training import TrainConfig, tasks

KINDS = ("binary", "multi_label", "regression")
SCALING = Scaling((0.5,), (0.5,))
CONFIG = TrainConfig(epochs=2, batch_size=8, learning_rate=0.05, log_every=1, checkpoint_every=2)


class Linear(nnx.Module):
    """One dense layer on the flattened image."""

    def __init__(self, outputs, seed=0):
        self.head = nnx.Linear(16, outputs, rngs=nnx.Rngs(seed))

    def __call__(self, images):
        return self.head(images.reshape(images.shape[0], -1))


def some(kind, count=37, split="train"):
    """Noise, whose targets are a noisy function of it."""
    random = np.random.default_rng([count, len(split)])
    images = random.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    values = images.reshape(count, -1) @ np.random.default_rng(1).normal(size=(16, 3)) / 300
    values = values - np.median(values, 0) + random.normal(size=values.shape) / 10
    if kind == "binary":
        return Dataset(images, (values[:, 0] > 0).astype(np.int32), ("no", "yes"), "noise", split, task=kind)
    if kind == "multi_label":
        return Dataset(images, (values > 0).astype(np.int32), ("a", "b", "c"), "noise", split, task=kind)
    return Dataset(images, 40 * values[:, :2] + 7, ("x", "y"), "noise", split, task=kind)


def outputs_of(kind):
    return {"binary": 1, "multi_label": 3, "regression": 2}[kind]


def fit(model, train, held_out=None, config=CONFIG, **options):
    return training.fit(model, train, held_out, config, observer=None, **options)


def parameters(model):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))])


@pytest.mark.parametrize("weights", [(), (3.0,), (0.5, 2.0, 7.0)])
def test_the_loss_of_labels_is_pytorchs(random, weights):
    torch = pytest.importorskip("torch")
    logits = random.normal(size=(5, 3)).astype(np.float32) * 4
    targets = random.integers(0, 2, (5, 3))
    task = tasks.MultiLabel(pos_weight=weights)
    loss, slope = jax.value_and_grad(lambda z: task.losses(z, targets).mean())(jnp.asarray(logits))
    z = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        z, torch.tensor(targets, dtype=torch.float32), pos_weight=torch.tensor(weights) if weights else None
    )
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(slope, z.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_the_losses_of_a_regression_are_pytorchs(random):
    torch = pytest.importorskip("torch")
    outputs, targets = random.normal(size=(2, 6, 2)).astype(np.float32) * 3
    mean, std = (1.5, -2.0), (2.0, 0.5)
    scaled = torch.tensor((targets - mean) / std, dtype=torch.float32)
    z = torch.tensor(outputs)
    functional = torch.nn.functional
    for loss, expected in {
        "mean_squared_error": functional.mse_loss(z, scaled),
        "half_squared_error": 0.5 * functional.mse_loss(z, scaled, reduction="none").sum(-1).mean(),
        "huber": functional.huber_loss(z, scaled),
    }.items():
        found = tasks.Regression(loss, mean, std).losses(jnp.asarray(outputs), targets).mean()
        np.testing.assert_allclose(found, expected.item(), rtol=1e-5, err_msg=loss)


def test_the_lectures_form_has_the_error_as_gradient(random):
    outputs, targets = random.normal(size=(2, 4, 1)).astype(np.float32)
    slope = jax.grad(lambda y: tasks.Regression("half_squared_error").losses(y, targets).sum())(jnp.asarray(outputs))
    np.testing.assert_allclose(slope, outputs - targets, rtol=1e-6)


def test_the_metrics_of_labels_are_scikit_learns(random):
    logits, truth = random.normal(size=(40, 3)).astype(np.float32), random.integers(0, 2, (40, 3))
    said = logits >= 0
    found = tasks.MultiLabel().metrics({}, logits, truth, "abc")
    assert found["auc"] == pytest.approx(theirs.roc_auc_score(truth, logits))
    assert found["average_precision"] == pytest.approx(theirs.average_precision_score(truth, logits))
    assert found["f1"] == pytest.approx(theirs.f1_score(truth, said, average="macro"))
    assert found["exact_match"] == pytest.approx(theirs.accuracy_score(truth, said))
    assert found["label_accuracy"] == pytest.approx(1 - theirs.hamming_loss(truth, said))
    binary = tasks.Binary().metrics({}, logits[:, :1], truth[:, 0], ("no", "yes"))
    assert binary["accuracy"] == pytest.approx((said[:, 0] == truth[:, 0]).mean())
    assert binary["f1"] == pytest.approx(theirs.f1_score(truth[:, 0], said[:, 0]))


def test_a_label_that_none_has_is_left_out_of_what_it_leaves_undefined(random):
    logits, truth = random.normal(size=(9, 2)), np.array([[1, 0], [0, 0], [1, 0]] * 3)
    found = tasks.MultiLabel().metrics({}, logits, truth, "ab")
    assert found["auc"] == pytest.approx(theirs.roc_auc_score(truth[:, 0], logits[:, 0]))
    nothing = tasks.MultiLabel().metrics({}, logits, np.zeros_like(truth), "ab")
    assert "auc" not in nothing and nothing["f1"] == 0


def test_the_metrics_of_a_regression_are_scikit_learns(random):
    outputs, truth = random.normal(size=(2, 30, 2))
    task = tasks.Regression(mean=(1.0, 2.0), std=(3.0, 4.0))
    said = outputs * task.std + task.mean
    found = task.metrics({}, outputs, truth, "ab")
    assert found["rmse"] == pytest.approx(theirs.mean_squared_error(truth, said) ** 0.5)
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(truth, said))
    assert found["r2"] == pytest.approx(theirs.r2_score(truth, said))
    assert "r2" not in task.metrics({}, outputs, np.ones_like(truth), "ab")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["jit", "fsdp", "pmap"])
def test_evaluation_is_exact_on_several_devices(kind, layout):
    """The last batch is filled up; nothing of the filling counts, and the order of the devices does not either."""
    dataset, model = some(kind), Linear(outputs_of(kind))
    task = tasks.Regression.measured("huber", dataset.labels) if kind == "regression" else tasks.TASKS[kind]()
    scaling = training.fit(Linear(outputs_of(kind)), dataset, None, CONFIG, observer=None).scaling
    found = training.evaluate(model, dataset, scaling, 8, task=task, layout=training.Layout(layout))
    outputs = np.asarray(model(scaling(dataset.images)))
    expected = task.metrics({}, outputs, dataset.labels, dataset.classes)
    assert found.count == 37 and found.metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    assert found.loss == pytest.approx(float(task.losses(jnp.asarray(outputs), dataset.labels).mean()), rel=1e-5)
    assert jax.device_count() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_learns_and_resumes_to_the_bit(kind, tmp_path):
    train, held_out = some(kind), some(kind, 11, "test")
    model = Linear(outputs_of(kind))
    config = dataclasses.replace(CONFIG, epochs=6, ema_decay=0.5)
    whole = fit(model, train, held_out, config, folder=tmp_path / "whole")
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    first = tasks.TASKS[kind].METRICS[0]
    assert {f"eval_{first}", f"ema_{first}"} <= whole.history[-1].keys()
    again, steps = Linear(outputs_of(kind)), iter(range(100))
    fit(again, train, held_out, config, folder=tmp_path / "cut", should_stop=lambda: next(steps) == 9)
    again = Linear(outputs_of(kind), seed=5)
    resumed = fit(again, train, held_out, config, folder=tmp_path / "cut", resume=True)
    np.testing.assert_array_equal(parameters(model), parameters(again))
    drop = ("images_per_second", "steps_per_second", "input_wait", "device_memory", "host_memory", "flops_per_second")
    rows = [[{k: v for k, v in row.items() if k not in drop} for row in run.history] for run in (whole, resumed)]
    assert rows[0] == rows[1]
    kept = training.read_description(tmp_path / "cut")
    assert training.task_of(kept) == whole.task and kept["training"]["task"] == kind


@pytest.mark.parametrize("kind", [pytest.param("binary", marks=pytest.mark.slow), "multi_label", "regression"])
def test_parts_of_a_batch_and_mixtures_do_what_the_batch_does(kind):
    train = some(kind, 16)
    rows = [
        fit(Linear(outputs_of(kind)), train, None, dataclasses.replace(CONFIG, accumulate=parts)).history[0]
        for parts in (1, 2)
    ]
    for name in ("loss", next(name for name in tasks.METRICS if name != "loss" and name in rows[0])):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-5)
    mixed = fit(Linear(outputs_of(kind)), train, None, dataclasses.replace(CONFIG, augment=("mixup",)))
    assert np.isfinite(mixed.history[-1]["loss"])


def test_the_rmse_of_training_is_that_of_the_mixed_targets():
    """As the loss: of the others, the network has not been shown the pictures."""
    train = some("regression", 64)
    train = train._replace(labels=train.labels[:, :1], classes=("x",))
    run = fit(Linear(1), train, None, dataclasses.replace(CONFIG, augment=("mixup=1",)))
    (std,) = run.task.std
    for row in run.history:
        assert row["rmse"] == pytest.approx(std * np.sqrt(row["loss"]), rel=1e-4)


def test_targets_are_standardized_and_undone():
    """Other units of the targets change nothing but the units of the answers."""
    train = some("regression")
    models = [Linear(2), Linear(2)]
    other = train._replace(labels=1000 * train.labels - 5)
    runs = [fit(model, examples) for model, examples in zip(models, (train, other), strict=True)]
    answers = [
        training.predict(model, train.images, run.scaling, task=run.task)
        for model, run in zip(models, runs, strict=True)
    ]
    np.testing.assert_allclose(1000 * answers[0] - 5, answers[1], rtol=1e-3, atol=5)
    assert runs[0].task.std == pytest.approx(train.labels.std(0))


def test_a_regression_learns_the_mean_of_noisy_targets():
    """E[y given x]: two targets of one picture, and the network tells their mean."""
    images = np.repeat(np.array([0, 255], np.uint8), 16)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    labels = np.concatenate([np.tile([1.0, 5.0], 8), np.tile([10.0, 20.0], 8)])
    train, model = Dataset(images, labels, ("y",), "steps", "train", task="regression"), Linear(1)
    config = dataclasses.replace(CONFIG, epochs=150, batch_size=32, optimizer="adam")
    run = fit(model, train, None, config)
    said = training.predict(model, images[[0, -1]], run.scaling, task=run.task)
    np.testing.assert_allclose(said[:, 0], [3, 15], atol=0.1)


def test_predictions_are_probabilities_or_values():
    for kind, total in (("binary", 1.0), ("multi_label", None)):
        train, model = some(kind), Linear(outputs_of(kind))
        run = fit(model, train)
        shares = training.predict(model, train.images, run.scaling, task=run.task)
        logits = np.asarray(model(run.scaling(train.images)))
        np.testing.assert_allclose(shares[:, -logits.shape[1] :], 1 / (1 + np.exp(-logits)), rtol=1e-4)
        assert shares.shape == (37, len(train.classes))
        mirrored = np.asarray(model(run.scaling(train.images[:, :, ::-1])))
        both = training.predict(model, train.images, run.scaling, views="flip", task=run.task)
        mean = 1 / (1 + np.exp(-(logits + mirrored) / 2))
        np.testing.assert_allclose(both[:, -logits.shape[1] :], mean, rtol=1e-4)
        if total is not None:
            np.testing.assert_allclose(shares.sum(-1), total, rtol=1e-6)


def test_one_output_with_two_classes_is_told_of_binary():
    train = some("binary")._replace(task="classification")
    with pytest.raises(ValueError, match="one output is for the tasks 'binary' and 'regression'"):
        fit(Linear(1), train)
    run = fit(Linear(1), train, None, dataclasses.replace(CONFIG, task="binary", epochs=4))
    assert 0 < run.history[-1]["loss"] < run.history[0]["loss"]


@pytest.mark.parametrize(
    ("kind", "labels", "told"),
    [
        ("binary", np.zeros((8, 1)), "must be 0 or 1 for each of 8 examples; got shape (8, 1)."),
        ("binary", np.full(8, 2.0), "must be 0 or 1; 8 of 8 are not, the first is 2.0."),
        ("binary", np.full(8, np.nan), "must be 0 or 1; 8 of 8 are not, the first is nan."),
        ("multi_label", np.zeros(8), "must be rows of 0 and 1, one for each of 8 examples; got shape (8,)."),
        ("multi_label", np.zeros((8, 2)), "must have 3 columns, one for each name; got 2."),
        ("multi_label", np.full((8, 3), 0.5), "must be 0 or 1; 24 of 24 are not, the first is 0.5."),
        ("regression", np.zeros((8, 3)), "must have 2 values, one for each name; got 3."),
        ("regression", np.zeros(8, int), "must have 2 values, one for each name; got 1; a class is no value."),
        ("regression", np.full((8, 2), np.inf), "must be finite; 16 of 16 are not, the first is inf."),
        ("regression", np.zeros((7, 2)), "must be numbers, (N,) or (N, K), for 8 examples; got shape (7, 2)."),
        ("regression", np.array(["a"] * 8), "must be real numbers; got <U1."),
    ],
)
def test_other_targets_are_refused(kind, labels, told):
    train = some(kind, 8)._replace(labels=labels)
    with pytest.raises(ValueError, match=re.escape(f"`labels` of the train split of noise {told}")):
        fit(Linear(outputs_of(kind)), train)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_outputs_is_refused(kind):
    with pytest.raises(ValueError, match="`model` must have "):
        fit(Linear(5), some(kind))
    if kind == "regression":
        with pytest.raises(ValueError, match="`task` must be given for the train split of noise, as `fit` returns it"):
            training.evaluate(Linear(2), some(kind), SCALING)


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        (
            "regression",
            {"loss": "cross_entropy"},
            "`loss` of the task 'regression' must be one of mean_squared_error, ",
        ),
        ("binary", {"loss": "huber"}, "`loss` of the task 'binary' must be one of cross_entropy; got 'huber'."),
        ("binary", {"monitor": "rmse"}, "`monitor` of the task 'binary' must be one of loss, accuracy, auc, "),
        ("binary", {"label_smoothing": 0.1}, "`label_smoothing` is not for the task 'binary'; got 0.1."),
        ("regression", {"pos_weight": 2.0}, "`pos_weight` is not for the task 'regression'; got (2.0,)."),
        (
            "multi_label",
            {"pos_weight": (2.0, 1.0)},
            "`pos_weight` must be one number, or one for each of 3 labels; got 2",
        ),
        ("binary", {"class_weights": ("balanced",)}, "`class_weights` is not for the task 'binary'; got balanced."),
        ("regression", {"sampling": "balanced"}, "`sampling` of the task 'regression' must be uniform; got balanced."),
        ("multi_label", {"task": "binary"}, "must be 0 or 1 for each of 37 examples; got shape (37, 3)."),
    ],
)
def test_options_of_other_tasks_are_refused(kind, change, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        fit(Linear(outputs_of(kind)), some(kind), None, dataclasses.replace(CONFIG, **change))


def test_pos_weight_makes_the_network_say_yes():
    train = some("binary")
    said = []
    for weight in (0.05, 1.0, 20.0):
        model = Linear(1)
        run = fit(model, train, None, dataclasses.replace(CONFIG, epochs=8, pos_weight=weight))
        said.append((training.predict(model, train.images, run.scaling, task=run.task)[:, 1] > 0.5).mean())
    assert said[0] < said[1] < said[2]


def test_the_least_rmse_is_the_best_epoch(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=5, learning_rate=2.0, optimizer="adam", restore_best=True)
    run = fit(Linear(2), some("regression"), some("regression", 11, "test"), config, folder=tmp_path / "run")
    best = min(run.history, key=lambda row: row["eval_rmse"])
    assert run.best_step == best["step"]


def test_a_run_that_tells_of_no_task_is_classification(tmp_path):
    """Run folders from before there were tasks open, and resume."""
    train = some("binary")._replace(task="classification")
    fit(Linear(2), train, None, CONFIG, folder=tmp_path)
    file = tmp_path / "config.json"
    described = json.loads(file.read_text())
    assert "task" not in described
    del described["training"]["task"], described["training"]["pos_weight"]
    file.write_text(json.dumps(described))
    assert training.task_of(described) == tasks.Classification()
    assert fit(Linear(2), train, None, CONFIG, folder=tmp_path, resume=True).steps == 8


def test_splits_and_other_names_keep_the_targets():
    labels = some("multi_label")
    kept, drawn = labels.split_off(0.3)
    assert len(drawn.labels) == 11 and kept.task == drawn.task == "multi_label"
    other = labels.for_classes(("c", "d", "a", "b"))
    np.testing.assert_array_equal(other.labels[:, [2, 3, 0]], labels.labels)
    with pytest.raises(ValueError, match="the values of noise must be y, x; got x, y."):
        some("regression").for_classes(("y", "x"))
