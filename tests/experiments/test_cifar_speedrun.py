"""The speed run's own parts, and the whole of it on a few easy pictures."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cifar_speedrun
from experiments.speedrun import network
from jaxcnn import ops

HEADINGS = ("Hypothesis", "Proxy", "Protocol", "Expected", "Result", "Command", "Cost")


def test_it_says_what_it_asks():
    lines = (cifar_speedrun.__doc__ or "").splitlines()
    assert tuple(line.partition(":")[0] for line in lines if line.startswith(HEADINGS)) == HEADINGS


def test_whitened_patches_are_uncorrelated_with_variance_one(random):
    rough = random.normal(size=(50, 33, 33, 3))
    smooth = jnp.asarray(rough[:, :-1, :-1] + rough[:, 1:, :-1] + rough[:, :-1, 1:], jnp.float32)
    smooth = smooth.at[..., 1].add(smooth[..., 0])
    kernel = network.whitening_kernel(smooth)
    whitened = np.asarray(ops.conv(smooth, kernel, padding="VALID")).reshape(-1, 24)
    np.testing.assert_allclose(whitened[:, :12].T @ whitened[:, :12] / len(whitened), np.eye(12), atol=0.01)
    np.testing.assert_array_equal(whitened[:, 12:], -whitened[:, :12])


def test_a_kernel_passes_its_inputs_on_first(random):
    kernel = network.identity_first(jax.random.key(0), (3, 3, 4, 6))
    x = jnp.asarray(random.normal(size=(2, 5, 5, 4)), jnp.float32)
    outputs = ops.conv(x, kernel)
    np.testing.assert_array_equal(outputs[..., :4], x)
    assert 0 < jnp.abs(kernel[..., 4:]).max() <= 1 / 6


def test_pictures_of_another_size_are_refused(tmp_path, capsys):
    pictures = np.zeros((4, 28, 28, 3), np.uint8)
    labels = np.arange(4)
    np.savez(tmp_path / "small.npz", x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    assert cifar_speedrun.main(["--data", f"npz:{tmp_path / 'small.npz'}", "--quick"]) == 2
    assert "`data` must have pictures of 32x32; " in capsys.readouterr().err


def test_a_quick_run_learns_to_tell_colours(tmp_path, random, capsys):
    labels = random.integers(0, 4, 900)
    colours = np.array([[220, 60, 60], [60, 220, 60], [60, 60, 220], [200, 200, 60]])
    pictures = np.clip(random.normal(colours[labels][:, None, None], 60, (900, 32, 32, 3)), 0, 255).astype(np.uint8)
    arrays = {"x_train": pictures[:640], "y_train": labels[:640], "x_test": pictures[640:], "y_test": labels[640:]}
    np.savez(tmp_path / "colours.npz", **arrays)
    out = tmp_path / "found" / "run.json"
    options = ["--data", f"npz:{tmp_path / 'colours.npz'}", "--quick", "--target", "0.8", "--out", str(out)]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        assert cifar_speedrun.main(options) == 0
    found = json.loads(out.read_text())
    assert found["reached"] and found["accuracy"]["mean"] > 0.8
    assert [trial["seed"] for trial in found["trials"]] == [0]
    assert found["trials"][0]["seconds"] > found["trials"][0]["training_s"] > 0
    assert found["plan"]["steps"] == 10 and found["about"]["versions"]["jax"] == jax.__version__
    assert "the target of 80.00 % is reached" in capsys.readouterr().out
