"""The speed run's own parts, and the whole of it on a few easy pictures."""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cifar_speedrun
from experiments.speedrun import network
from jaxcnn import ops


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
    assert cifar_speedrun.EXPERIMENT.main(["--data", f"npz:{tmp_path / 'small.npz'}", "--quick"]) == 2
    assert "`data` must have pictures of 32x32; " in capsys.readouterr().err


def test_a_quick_run_learns_to_tell_colors(tmp_path, capsys):
    out = tmp_path / "found" / "run.json"
    options = ["--quick", "--target", "0.8", "--seeds", "0", "--out", str(out)]
    assert cifar_speedrun.EXPERIMENT.main(options) == 0
    found = json.loads(out.read_text())
    accuracy = found["tables"][cifar_speedrun.ACCURACY]
    assert min(accuracy["this network"]["accuracy"]["values"]) > 80 == accuracy["to reach"]["accuracy"]["mean"]
    seconds = found["tables"][cifar_speedrun.TIME]["a run"]
    assert seconds["all"]["mean"] > seconds["up to the test"]["mean"] > 0
    said = capsys.readouterr()
    assert "10 steps of 64" in said.err and said.err.count("compiled in") == 1
    assert "a small network reaches 80.00 % in less" in said.out


def test_a_peer_moves_the_target(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.benchmarks.peers_flax.network", lambda *_: None)
    monkeypatch.setattr(cifar_speedrun.training, "fit", lambda *_, **__: argparse.Namespace(scaling=None))
    monkeypatch.setattr(cifar_speedrun.training, "evaluate", lambda *_: argparse.Namespace(accuracy=0.89))
    train = cifar_speedrun.colors("train")
    found = cifar_speedrun.calibrated(train, train, 0.94, None)
    assert found == {"ResNet-20, Flax": 0.89, "to reach": pytest.approx(1 - 0.06 * 0.11 / 0.0875)}
