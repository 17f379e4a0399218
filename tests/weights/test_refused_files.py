"""Files that are damaged, dangerous or of another kind: one sentence each, nothing run, the network untouched."""

import io
import json
import pickle
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from jaxcnn import weights
from jaxcnn.weights.schemes import leaves


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def mlp(drawn):
    return drawn("mlp", num_classes=3, options={"image_size": [2, 2], "hidden": [3]})


def refused(model, file, rule):
    """Holds that the file is refused in one sentence by `load` and `open_model`; and what `load` leaves."""
    before = {path: np.array(leaf) for path, leaf in leaves(model).items()}
    for strict in (True, False):
        with pytest.raises(ValueError) as caught:
            weights.load(model, file, strict=strict)
        message = str(caught.value)
        assert message.startswith(f"{file} must ") and re.search(rule, message), message
        assert re.fullmatch(r"[^\n]+\.", message) and caught.value.__cause__ is None
    with pytest.raises(ValueError, match=re.escape(str(file))):
        weights.open_model(file)
    for path, leaf in leaves(model).items():
        np.testing.assert_array_equal(leaf, before[path])


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_malicious_pickle_for_pytorch_runs_nothing(mlp, tmp_path, protocol, wrapped):
    torch = pytest.importorskip("torch")
    trap, file = tmp_path / "trap", tmp_path / "w.pth"
    bomb = {"state_dict": {"head.weight": torch.zeros(3), "x": Bomb(trap)}} if wrapped else Bomb(trap)
    if wrapped:
        torch.save(bomb, file, pickle_protocol=max(protocol, 2))
    else:
        file.write_bytes(pickle.dumps(bomb, protocol))
    refused(mlp, file, "whole PyTorch file of tensors alone; reading it failed")
    assert not trap.exists()


def test_a_legacy_archive_for_pytorch_runs_nothing(mlp, tmp_path):
    pytest.importorskip("torch")
    trap, file = tmp_path / "trap", tmp_path / "w.pt"
    with tarfile.open(file, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Bomb(trap))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    refused(mlp, file, "whole PyTorch file of tensors alone")
    assert not trap.exists()


def test_pickled_objects_in_an_archive_run_nothing(mlp, tmp_path):
    trap, file = tmp_path / "trap", tmp_path / "w.npz"
    np.savez(file, head=np.array([Bomb(trap)], object))
    refused(mlp, file, "NumPy archive without pickled objects")
    file.write_bytes(pickle.dumps(Bomb(trap)))
    refused(mlp, file, "NumPy archive without pickled objects")
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_truncated_file_is_refused(mlp, tmp_path, suffix, share):
    if suffix == ".pth":
        pytest.importorskip("torch")
    file = weights.save(mlp, tmp_path / f"w{suffix}")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    refused(mlp, file, "whole")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_text_is_refused(mlp, tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    refused(mlp, file, "whole")


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "uint8"])
def test_weights_that_are_no_real_numbers_are_refused(mlp, tmp_path, dtype):
    arrays = weights.to_torch(mlp, "jaxcnn")
    arrays["head/kernel"] = np.ones(arrays["head/kernel"].shape, dtype)
    np.savez(tmp_path / "w.npz", **arrays)
    before = np.array(mlp.head.bias[...])
    with pytest.raises(ValueError, match=f"w.npz must hold weights in float16, .*; head/kernel is {dtype}.$"):
        weights.load(mlp, tmp_path / "w.npz")
    np.testing.assert_array_equal(mlp.head.bias[...], before)


def test_a_dtype_that_numpy_has_not_is_refused(mlp, tmp_path):
    header = json.dumps({"head/kernel": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refused(mlp, tmp_path / "w.safetensors", "weights in float16, .*; head/kernel is F8_E4M3")


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_configuration_that_is_no_json_object_is_refused(mlp, tmp_path, text):
    np.savez(tmp_path / "w.npz", **weights.to_torch(mlp, "jaxcnn"), __jaxcnn__=np.array(text))
    refused(mlp, tmp_path / "w.npz", "must describe its network in JSON")


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"options": {}}, "`config` must have the `name`"),
        ({"name": "lenet6"}, "`name` must be"),
        ({"name": "mlp", "options": {"depth": 3}}, "got depth"),
        ({"name": "mlp", "options": {"hidden": "x"}}, "hidden"),
        ({"name": "mlp", "num_classes": "x"}, ""),
        ({"name": "mlp", "options": {"rngs": 3}}, "rngs"),
    ],
)
def test_a_configuration_of_no_network_is_refused(mlp, tmp_path, config, part):
    np.savez(tmp_path / "w.npz", **weights.to_torch(mlp, "jaxcnn"), __jaxcnn__=np.array(json.dumps(config)))
    with pytest.raises(ValueError, match=f"w.npz must describe a network that can be built; .*{part}"):
        weights.open_model(tmp_path / "w.npz")


def test_a_configuration_of_a_giant_is_refused_before_it_is_built(mlp, tmp_path):
    config = {"name": "mlp", "num_classes": 3, "options": {"image_size": [2, 2], "hidden": [10**9]}}
    np.savez(tmp_path / "w.npz", **weights.to_torch(mlp, "jaxcnn"), __jaxcnn__=np.array(json.dumps(config)))
    with pytest.raises(ValueError, match="w.npz must match the MLP in every weight"):
        weights.open_model(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "shapes",
    [
        {"layer1.0.conv1.weight": (3,)},
        {"layer1.0.conv1.weight": (3, 3, 3, 3), "fc.weight": (2, 3), "conv1.weight": (3,)},
        {"features.0.weight": (3,), "classifier.6.weight": (2, 3)},
        {"inception3a.branch1.conv.weight": (1, 1)},
        {"params/ResNetBlock_0/Conv_0/kernel": (3, 3, 4, 4)},
    ],
    ids=str,
)
def test_names_of_a_known_network_with_other_shapes_are_refused(mlp, tmp_path, shapes):
    np.savez(tmp_path / "w.npz", **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    refused(mlp, tmp_path / "w.npz", "must hold weights of a MLP")


def test_weights_without_a_configuration_must_be_of_a_known_network(mlp, tmp_path):
    file = weights.save(mlp, tmp_path / "w.npz")
    with pytest.raises(ValueError, match="w.npz must describe its network, or have the names of a known one"):
        weights.open_model(file)


def test_other_members_of_an_archive_are_refused(mlp, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(mlp, tmp_path / "w.npz", "NumPy archive .* notes.txt is no array")


def test_empty_files_and_missing_ones_say_so(mlp, tmp_path):
    np.savez(tmp_path / "w.npz")
    refused(mlp, tmp_path / "w.npz", "must hold arrays by name; it holds none")
    with pytest.raises(FileNotFoundError, match="nowhere.npz does not exist"):
        weights.load(mlp, tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        weights.load(mlp, tmp_path)
    (tmp_path / "w.h5").write_text("")
    with pytest.raises(ValueError, match="w.h5 must be a run folder or end in .*; got '.h5'"):
        weights.load(mlp, tmp_path / "w.h5")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"x": 1}}], ids=str)
def test_a_pytorch_file_without_tensors_is_refused(mlp, tmp_path, content):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "w.pth")
    refused(mlp, tmp_path / "w.pth", "PyTorch file of plain tensors by name")


def test_pytorch_s_sparse_tensors_are_refused(mlp, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"head.weight": torch.eye(3).to_sparse()}, tmp_path / "w.pth")
    refused(mlp, tmp_path / "w.pth", "PyTorch file of plain tensors by name")


def test_without_pytorch_its_files_say_what_to_install(mlp, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(ImportError, match=r"w.pth needs PyTorch: pip install 'jaxcnn\[torch\]'"):
        weights.load(mlp, tmp_path / "w.pth")


def test_an_old_pytorch_whose_reader_could_be_fooled_is_refused(mlp, tmp_path, monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1+cpu"))
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(ImportError, match=r"w.pth needs PyTorch 2.6, whose reader runs no code; got 2.5.1\+cpu"):
        weights.load(mlp, tmp_path / "w.pth")
