"""What trains, and at which rate: `freeze` and `layer_rates`, and a scaling that is given."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from jaxcnn import models, training
from jaxcnn.data import Scaling
from jaxcnn.training.optimizer import frozen_paths, make_optimizer, rates_by_path

CONFIG = training.TrainConfig(epochs=1, batch_size=6, schedule="constant", learning_rate=0.05, log_every=1)


def params(small):
    return nnx.state(small.Convolutional(nnx.Rngs(0)), nnx.Param)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "lars", "muon", "adadelta"])
def test_a_factor_on_the_rate_is_that_rate_in_every_optimizer(small, optimizer):
    """Two steps, so that moments are there: a tenth of the rate by factor, and by the learning rate itself."""
    config = dataclasses.replace(CONFIG, optimizer=optimizer, weight_decay=0.1)
    before = params(small)

    def updates(config):
        optimizer = make_optimizer(config, 5)

        @jax.jit
        def two_steps(params):
            state = optimizer.init(params)
            gradient = jax.tree.map(lambda leaf: leaf + 1, params)
            _, state = optimizer.update(gradient, state, params)
            return optimizer.update(gradient, state, params)[0]

        with jax.numpy_dtype_promotion("standard"):
            return small.everything_of(two_steps(before))

    whole, tenth = updates(config), updates(dataclasses.replace(config, learning_rate=0.005))
    found = updates(dataclasses.replace(config, layer_rates=("conv=0.1",)))
    for path in whole:
        wanted = tenth if path[0] == "conv" else whole
        np.testing.assert_allclose(found[path], wanted[path], rtol=2e-5, atol=1e-9, err_msg=str(path))


def test_of_several_patterns_that_fit_the_last_counts(small):
    config = training.TrainConfig(layer_rates=("*=0.5", "conv*=0.1", "*/bias=2", "norm=3"))
    assert rates_by_path(config, params(small)) == {
        "conv/bias": 2.0,
        "conv/kernel": 0.1,
        "head/bias": 2.0,
        "head/kernel": 0.5,
        "norm/bias": 3.0,
        "norm/scale": 3.0,
    }


def test_frozen_parameters_stay_beside_slow_ones(small):
    config = dataclasses.replace(CONFIG, freeze=("norm",), layer_rates=("conv=1e-3",))
    model = small.Convolutional(nnx.Rngs(0))
    before = small.everything(model)
    training.fit(model, small.noise(12), config=config, observer=None)
    after = small.everything(model)
    moved = {path: np.abs(after[path] - before[path]).max() for path in before if path[-1] in ("kernel", "scale")}
    assert moved[("norm", "scale")] == 0 < moved[("conv", "kernel")] < 0.05 * moved[("head", "kernel")]


@pytest.mark.parametrize("rate", ["conv", "=0.1", "conv=", "conv=slow", "conv=0", "conv=-1", "conv=nan", "conv=inf"])
def test_a_rate_without_a_positive_factor_is_refused(rate):
    with pytest.raises(ValueError) as caught:
        training.TrainConfig(layer_rates=(rate,))
    assert str(caught.value) == f"`layer_rates` must be PATTERN=FACTOR with a positive factor; got {rate!r}."


def test_a_rate_of_no_parameter_is_refused_before_anything_is_written(small, tmp_path):
    config = dataclasses.replace(CONFIG, layer_rates=("convv=0.1",))
    with pytest.raises(ValueError) as caught:
        training.fit(small.Linear(nnx.Rngs(0)), small.noise(12), config=config, folder=tmp_path / "run")
    assert str(caught.value) == "`layer_rates` must name parameters, which begin with head; got 'convv'."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["freeze", "augment", "layer_rates"])
def test_one_pattern_may_be_a_string(name):
    text = {"freeze": "conv*", "augment": "flip", "layer_rates": "conv*=0.1"}[name]
    assert getattr(training.TrainConfig(**{name: text}), name) == (text,)


def test_fit_takes_what_to_freeze_and_how_images_are_fed(small, tmp_path):
    model = small.Convolutional(nnx.Rngs(0))
    before = small.everything(model)
    given = Scaling((0.25,), (0.75,))
    config = dataclasses.replace(CONFIG, freeze=("head",))
    result = training.fit(
        model, small.noise(12), config=config, freeze="conv*", scaling=given, folder=tmp_path / "run", observer=None
    )
    after = small.everything(model)
    assert np.array_equal(before["conv", "kernel"], after["conv", "kernel"])
    assert not np.array_equal(before["head", "kernel"], after["head", "kernel"])
    description = training.read_description(tmp_path / "run")
    assert description["training"]["freeze"] == ["conv*"]
    assert (
        result.scaling == given and training.restore_model(small.Convolutional(nnx.Rngs(1)), tmp_path / "run") == given
    )


def test_a_scaling_of_other_channels_is_refused(small):
    scaling = Scaling((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError) as caught:
        training.fit(small.Linear(nnx.Rngs(0)), small.noise(12), config=CONFIG, scaling=scaling)
    assert str(caught.value) == "`scaling` must have an entry for each of the 1 channels; got 3."


def test_the_names_of_the_summary_are_names_for_freeze_and_rates():
    model = models.create("resnet20", widths=(4, 6, 8), rngs=nnx.Rngs(0))
    for row in models.summary(model, (1, 12, 12, 3)).rows:
        if row.parameters:
            found = frozen_paths(training.TrainConfig(freeze=(row.name,)), nnx.state(model, nnx.Param))
            assert found and all(path.startswith(f"{row.name}/") for path in found), row.name
