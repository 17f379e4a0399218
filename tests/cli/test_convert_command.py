"""`jaxcnn convert`: runs and files of weights, from one library's names to another's."""

import json

import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file

from jaxcnn import models, training, weights
from jaxcnn.weights.runs import empty


def test_a_run_becomes_a_file_that_tells_what_it_is_of(jaxcnn, trained, alone):
    outcome = jaxcnn("convert", trained[0], "lenet.safetensors")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (
        f"read {trained[0]}: lenet5, jaxcnn names, 10 matched\nwrote lenet.safetensors: jaxcnn names, 10 arrays\n"
    )
    model, config = weights.open_model("lenet.safetensors")
    expected = models.create("lenet5", rngs=nnx.Rngs(0))
    scaling = training.restore_model(expected, trained[0])
    np.testing.assert_array_equal(model.dense1.kernel[...], expected.dense1.kernel[...])
    assert config["classes"] == list("0123456789") and config["scaling"]["mean"] == list(scaling.mean)


def test_the_way_to_pytorch_and_back_changes_nothing(jaxcnn, trained, alone):
    pytest.importorskip("torch")
    assert jaxcnn("convert", trained[0], "lenet.pth").status == 0
    outcome = jaxcnn("convert", "lenet.pth", "lenet.npz", "--model", "lenet5", "--to", "pytorch")
    assert outcome.out.startswith("read lenet.pth: lenet5, pytorch names, 10 matched\nwrote lenet.npz: pytorch names")
    assert jaxcnn("convert", "lenet.npz", "again.safetensors").status == 0
    assert jaxcnn("convert", trained[0], "direct.safetensors").status == 0
    again, direct = load_file("again.safetensors"), load_file("direct.safetensors")
    assert again.keys() == direct.keys()
    for name, array in direct.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_a_resnet_goes_out_under_torchvision_s_names(jaxcnn, alone):
    options = {"widths": [2, 2, 4], "shortcut": "B"}
    model = empty({"name": "resnet20", "num_classes": 3, "options": options}, nnx.Rngs(0))
    model.blocks[1][0].shortcut.conv.kernel[...] = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    weights.save(model, "ours.npz")
    words = ("--model", "resnet20", "--model-options", "num_classes=3", "widths=(2,2,4)", "shortcut=B")
    outcome = jaxcnn("convert", "ours.npz", "theirs.safetensors", "--to", "torchvision", *words)
    assert (outcome.status, outcome.err) == (0, "")
    with safe_open("theirs.safetensors", "np") as file:
        assert file.metadata()["format"] == "pt"
        assert json.loads(file.metadata()["jaxcnn"])["options"]["widths"] == [2, 2, 4]
        kernel = file.get_tensor("layer2.0.downsample.0.weight")
    np.testing.assert_array_equal(kernel[..., 0, 0], np.asarray(model.blocks[1][0].shortcut.conv.kernel[0, 0]).T)


def test_of_weights_and_their_average_either_is_taken(jaxcnn, alone):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(x) for name, x in weights.to_torch(models.LeNet5(rngs=nnx.Rngs(0))).items()}
    average = {f"module.{name}": tensor + 1 for name, tensor in state.items()}
    torch.save({"model_ema": average, "model": state, "epoch": 3, "optimizer": {"state": {0: {}}}}, "both.ckpt")
    outcome = jaxcnn("convert", "both.ckpt", "trained.npz")
    assert outcome.out == (
        "read both.ckpt: lenet5, tutorial names, 10 matched\n  taken: model\n"
        "  there too, for part='model_ema': weights of such a network\n"
        "  ignored: model_ema.* (10 arrays)\n  ignored: epoch\n  ignored: optimizer\n"
        "wrote trained.npz: jaxcnn names, 10 arrays\n"
    )
    assert jaxcnn("convert", "both.ckpt", "average.npz", "--part", "model_ema").status == 0
    with np.load("trained.npz") as trained, np.load("average.npz") as averaged:
        np.testing.assert_array_equal(averaged["head/bias"], trained["head/bias"] + 1)


REFUSED = {
    "no such file": (["nowhere.npz", "out.npz"], "nowhere.npz does not exist."),
    "no run": ([".", "out.npz"], "must be the folder of a run; it has no config.json."),
    "unknown format": (["w.npz", "out.onnx"], "out.onnx must be a run folder or end in .safetensors, .npz"),
    "options alone": (["w.npz", "out.npz", "--model-options", "depth=3"], "`model_options` need a `model`; got none."),
    "no known network": (["w.npz", "out.npz"], "w.npz must describe its network, or have the names of a known one"),
    "another network": (
        ["w.npz", "out.npz", "--model", "mlp"],
        "w.npz must hold weights of a MLP; none of its 1 names",
    ),
    "no such network": (["w.npz", "out.npz", "--model", "lenet6"], "`name` must be 'lenet5'"),
    "no such scheme": (["w.npz", "out.npz", "--to", "keras"], "--to"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_is_one_line_and_status_2(jaxcnn, alone, kind):
    np.savez("w.npz", x=np.zeros(3, np.float32))
    arguments, part = REFUSED[kind]
    outcome = jaxcnn("convert", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert part in outcome.err and outcome.err.count("\n") == 1
    assert [path.name for path in alone.iterdir()] == ["w.npz"]


def test_without_pytorch_one_line_tells_how_to_add_it(jaxcnn, trained, alone, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    outcome = jaxcnn("convert", trained[0], "out.pth")
    assert outcome.status == 2
    assert (
        outcome.err
        == "jaxcnn: out.pth needs PyTorch: pip install 'jaxcnn[torch]', or convert it where PyTorch is installed.\n"
    )
    assert not list(alone.iterdir())
