"""A run that stops, fails or is cut anywhere goes on to the same bits and the same log."""

import dataclasses
import functools
import gc
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import training
from jaxcnn.training.integrity import sum_on_host, sums_on_device

CONFIG = training.TrainConfig(epochs=3, batch_size=6, learning_rate=0.05, log_every=1, checkpoint_every=2)
STEPS = 9


class Stop(Exception):
    """The run's process dies here, as far as the run can tell."""


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """For each kind of network the run that nothing interrupted: the network, its log, its result."""

    @functools.cache
    def run(kind: str):
        folder = tmp_path_factory.mktemp("whole") / "run"
        model = getattr(small, kind)(nnx.Rngs(0))
        result = sit(small, model, folder)
        return model, read(folder), result

    return run


def sit(small, model, folder, config=CONFIG, **options):
    options = {"observer": None} | options
    return training.fit(model, small.noise(20), small.noise(7, "test"), config, folder=folder, **options)


def read(folder):
    return list(training.read_log(folder / "metrics.jsonl"))


def stop_after(steps: int):
    asked = iter(range(1, steps + 1))
    return lambda: next(asked) == steps


def die_at(step: int):
    def observe(row):
        if row["step"] == step:
            raise Stop

    return observe


@pytest.mark.parametrize(("kind", "step"), [("Convolutional", 4), ("Linear", 1), ("Linear", 3), ("Linear", 8)])
def test_a_stopped_run_goes_on_to_the_same_bits(small, whole, tmp_path, kind, step):
    expected, log, result = whole(kind)
    first = sit(small, getattr(small, kind)(nnx.Rngs(0)), tmp_path, should_stop=stop_after(step))
    assert (first.interrupted, first.steps) == (True, step)
    model = getattr(small, kind)(nnx.Rngs(7))
    last = sit(small, model, tmp_path, resume=True)
    assert (last.interrupted, last.steps) == (False, STEPS)
    small.assert_same_bits(model, expected)
    assert small.timeless(read(tmp_path)) == small.timeless(log)
    assert small.timeless(last.history) == small.timeless(result.history)


def test_a_run_with_everything_on_goes_on_within_an_epoch_to_the_same_bits(small, tmp_path):
    """Augmentation, dropout, batch statistics, moving averages, accumulation, frozen parameters."""
    config = dataclasses.replace(
        CONFIG, augment=("pad_crop=1", "flip", "mixup"), ema_decay=0.9, accumulate=3, freeze=("conv",), clip_norm=1.0
    )
    sit(small, expected := small.Convolutional(nnx.Rngs(0)), tmp_path / "whole", config)
    sit(small, small.Convolutional(nnx.Rngs(0)), tmp_path / "cut", config, should_stop=stop_after(5))
    sit(small, model := small.Convolutional(nnx.Rngs(7)), tmp_path / "cut", config, resume=True)
    small.assert_same_bits(model, expected)
    log = [row for row in small.timeless(read(tmp_path / "cut")) if "ema_loss" in row]
    assert log == [row for row in small.timeless(read(tmp_path / "whole")) if "ema_loss" in row] and len(log) == 3


def test_a_run_in_many_sittings_is_the_same_run(small, whole, tmp_path):
    expected, log, _ = whole("Linear")
    for steps in (2, 3, 1):
        sit(small, small.Linear(nnx.Rngs(0)), tmp_path, resume=True, should_stop=stop_after(steps))
    model = small.Linear(nnx.Rngs(0))
    sit(small, model, tmp_path, resume=True)
    small.assert_same_bits(model, expected)
    assert small.timeless(read(tmp_path)) == small.timeless(log)


@pytest.mark.parametrize(("kind", "step"), [("Convolutional", 5), ("Linear", 1), ("Linear", 3), ("Linear", 9)])
def test_a_run_that_died_goes_on_from_its_newest_checkpoint(small, whole, tmp_path, kind, step):
    expected, log, _ = whole(kind)
    with pytest.raises(Stop):
        sit(small, getattr(small, kind)(nnx.Rngs(0)), tmp_path, observer=die_at(step))
    assert [row["step"] for row in read(tmp_path)] == list(range(1, step + 1))
    model = getattr(small, kind)(nnx.Rngs(0))
    sit(small, model, tmp_path, resume=True)
    small.assert_same_bits(model, expected)
    assert small.timeless(read(tmp_path)) == small.timeless(log)


def test_a_log_cut_in_a_line_is_mended(small, whole, tmp_path):
    expected, log, _ = whole("Linear")
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path, should_stop=stop_after(5))
    file = tmp_path / "metrics.jsonl"
    file.write_text(file.read_text() + '{"kind": "step", "st')
    model = small.Linear(nnx.Rngs(0))
    sit(small, model, tmp_path, resume=True)
    assert small.timeless(map(json.loads, file.read_text().splitlines())) == small.timeless(log)
    small.assert_same_bits(model, expected)


def test_a_finished_run_is_left_as_it_is(small, whole, tmp_path):
    expected, log, result = whole("Linear")
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    model = small.Linear(nnx.Rngs(3))
    again = sit(small, model, tmp_path, resume=True)
    assert (again.steps, again.interrupted) == (STEPS, False)
    assert small.timeless(again.history) == small.timeless(result.history)
    assert (tmp_path / "metrics.jsonl").read_text() == before
    small.assert_same_bits(model, expected)


def test_resuming_in_a_new_folder_begins(small, whole, tmp_path):
    model = small.Linear(nnx.Rngs(0))
    sit(small, model, tmp_path / "run", resume=True)
    small.assert_same_bits(model, whole("Linear")[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rate": 0.1}, "training.learning_rate was 0.05, now 0.1."),
        ({"epochs": 4}, "training.epochs was 3, now 4."),
        ({"seed": 1, "batch_size": 5}, "training.batch_size was 6, now 5, training.seed was 0, now 1."),
    ],
    ids=str,
)
def test_another_configuration_is_refused_by_field(small, tmp_path, change, told):
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path, should_stop=stop_after(1))
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError) as caught:
        sit(small, small.Linear(nnx.Rngs(0)), tmp_path, dataclasses.replace(CONFIG, **change), resume=True)
    assert str(caught.value) == f"{tmp_path} must be resumed with its own configuration, or with force; {told}"
    assert (tmp_path / "config.json").read_text() == before


def test_other_data_are_refused_by_field(small, tmp_path):
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path, should_stop=stop_after(1))
    with pytest.raises(ValueError, match=r"data\.count was 20, now 19, .*scaling\.mean was "):
        training.fit(small.Linear(nnx.Rngs(0)), small.noise(20).take(19), None, CONFIG, folder=tmp_path, resume=True)


def test_another_model_is_refused_by_field_and_another_command_is_not(small, tmp_path):
    def details(**options):
        return {"model": {"name": "linear", "options": options}, "command": f"with {options}"}

    sit(small, small.Linear(nnx.Rngs(0)), tmp_path, should_stop=stop_after(1), details=details(width=3))
    with pytest.raises(ValueError, match="model.options.width was 3, now 4"):
        sit(small, small.Linear(nnx.Rngs(0)), tmp_path, resume=True, details=details(width=4))
    with pytest.raises(ValueError, match="model.options.devices was None, now 4"):
        sit(small, small.Linear(nnx.Rngs(0)), tmp_path, resume=True, details=details(width=3, devices=4))
    other_command = details(width=3) | {"command": "another"}
    assert sit(small, small.Linear(nnx.Rngs(0)), tmp_path, resume=True, details=other_command).steps == STEPS


def test_a_restored_model_is_the_trained_one(small, tmp_path):
    result = sit(small, trained := small.Convolutional(nnx.Rngs(0)), tmp_path)
    model = small.Convolutional(nnx.Rngs(5))
    assert training.restore_model(model, tmp_path) == result.scaling
    small.assert_same_bits(model, trained)
    assert model.dropout.deterministic and model.norm.use_running_average
    assert training.restore_model(small.Convolutional(nnx.Rngs(5)), str(tmp_path)) == result.scaling


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("x")], ids=["missing", "a file"])
def test_what_is_no_run_cannot_be_restored(small, tmp_path, make):
    make(tmp_path / "run")
    with pytest.raises(FileNotFoundError) as caught:
        training.restore_model(small.Linear(nnx.Rngs(0)), tmp_path / "run")
    assert str(caught.value) == f"{tmp_path / 'run'} must be the folder of a run; it has no config.json."


def test_a_run_without_a_checkpoint_cannot_be_restored(small, tmp_path):
    with pytest.raises(Stop):
        sit(small, small.Linear(nnx.Rngs(0)), tmp_path, observer=die_at(1))
    with pytest.raises(ValueError, match="must hold a checkpoint; it holds none.") as caught:
        training.restore_model(small.Linear(nnx.Rngs(0)), tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"training": '])
def test_a_damaged_description_is_one_sentence(small, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json must be JSON") as caught:
        training.restore_model(small.Linear(nnx.Rngs(0)), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_kind_does_not_fit(small, tmp_path):
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path)
    with pytest.raises(ValueError, match="does not fit") as caught:
        training.restore_model(small.Convolutional(nnx.Rngs(0)), tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    gc.collect()


class Wide(nnx.Module):
    """As `Linear`, with more outputs."""

    def __init__(self, rngs: nnx.Rngs):
        self.head = nnx.Linear(6 * 6, 4, rngs=rngs)

    def __call__(self, images):
        return self.head(images.reshape(images.shape[0], -1))


def test_a_network_of_another_size_does_not_fit(small, tmp_path):
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path)
    model = Wide(nnx.Rngs(0))
    before = small.everything(model)
    with pytest.raises(ValueError, match="does not fit") as caught:
        training.restore_model(model, tmp_path)
    assert "\n" not in str(caught.value)
    gc.collect()  # reads that were begun and given up would raise here
    for path, array in small.everything(model).items():
        np.testing.assert_array_equal(array, before[path])


def test_checkpoints_restore_in_a_process_that_only_reads(small, tmp_path):
    """Reading a run changes none of its files."""
    sit(small, small.Linear(nnx.Rngs(0)), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    training.restore_model(small.Linear(nnx.Rngs(0)), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))} == before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "bool", "int8", "uint32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0,)])
def test_what_is_read_adds_up_as_what_was_written(float64, random, dtype, shape):
    array = jnp.asarray(100 * random.standard_normal(shape), dtype)
    (written,) = sums_on_device([array]).tolist()
    assert sum_on_host(np.asarray(array)) == written


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "uint32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_no_change_of_a_single_bit_adds_up_to_the_same(float64, random, dtype, shape):
    array = np.asarray(jnp.asarray(100 * random.standard_normal(shape), dtype))
    found = sum_on_host(array)
    for place in range(8 * array.nbytes):
        changed = bytearray(array.tobytes())
        changed[place // 8] ^= 1 << place % 8
        assert sum_on_host(np.frombuffer(changed, array.dtype).reshape(shape)) != found, place
