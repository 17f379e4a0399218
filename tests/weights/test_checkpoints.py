"""Weights as training programs leave them: wrapped, prefixed, averaged, beside optimizers; nothing run."""

import argparse
import pathlib
import re

import numpy as np
import pytest

from jaxcnn import weights
from jaxcnn.weights.opening import recognize
from jaxcnn.weights.runs import read_any

torch = pytest.importorskip("torch")
import pytorch_twins as twins  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

CLASSES = 7
THIN = {"num_classes": CLASSES, "options": {"widths": [2, 2, 4]}}


class AttributeDict(dict):
    """As Lightning keeps what its users call hyper-parameters."""


class Settings:
    """Of a program that is not here when its checkpoint is read."""

    def __init__(self):
        self.rate = 0.1


def other(state):
    """Weights of the same names and shapes with other values, as an average of them has."""
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def prefixed(state, words):
    return {f"{words}.{name}": tensor for name, tensor in state.items()}


def trained_for_a_step(state):
    """What an optimizer remembers of these weights."""
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in state.values() if tensor.is_floating_point()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


SCORE = torch.tensor(91.2)

# what is saved, which part is taken, which others there are, and what is passed over
KEPT = {
    "PyTorch's example for ImageNet": (
        lambda w: {
            "epoch": 3,
            "arch": "resnet20",
            "state_dict": prefixed(w, "module"),
            "best_acc1": SCORE,
            "optimizer": trained_for_a_step(w),
            "scheduler": {"last_epoch": 3},
        },
        "state_dict",
        (),
        {"epoch", "arch", "best_acc1", "optimizer", "scheduler"},
    ),
    "torchvision's references": (
        lambda w: {
            "model": w,
            "model_ema": {"n_averaged": torch.tensor(4), **prefixed(other(w), "module")},
            "epoch": 3,
            "args": argparse.Namespace(lr=0.1, output_dir=pathlib.PosixPath("here")),
        },
        "model",
        ("model_ema",),
        {"epoch", "args"},
    ),
    "the average before what was trained": (
        lambda w: {"state_dict_ema": other(w), "state_dict": w, "metric": np.float64(3.0)},
        "state_dict",
        ("state_dict_ema",),
        {"metric"},
    ),
    "PyTorch's tutorial": (
        lambda w: {"epoch": 1, "model_state_dict": w, "optimizer_state_dict": {}, "loss": SCORE},
        "model_state_dict",
        (),
        {"epoch", "loss", "optimizer_state_dict"},
    ),
    "fastai": (lambda w: {"model": w, "opt": trained_for_a_step(w)}, "model", (), {"opt"}),
    "a ResNet for CIFAR": (lambda w: {"net": prefixed(w, "module"), "acc": 93.1}, "net", (), {"acc"}),
    "an average alone": (
        lambda w: {"n_averaged": torch.tensor(4), **prefixed(w, "module")},
        "",
        (),
        {"n_averaged"},
    ),
    "an average by its key": (lambda w: {"ema": w, "step": 3}, "ema", (), {"step"}),
    "Lightning": (
        lambda w: {
            "state_dict": {
                **prefixed(w, "model"),
                "criterion.weight": torch.ones(CLASSES),
                **prefixed(other(w), "ema_model.module"),
            },
            "hyper_parameters": AttributeDict(rate=0.1, settings=Settings()),
            "pytorch-lightning_version": "2.5",
        },
        "state_dict.model",
        ("state_dict.ema_model",),
        {"state_dict.criterion.weight", "hyper_parameters", "pytorch-lightning_version"},
    ),
    "Lightning with another word": (
        lambda w: {"state_dict": {**prefixed(w, "backbone"), "loss.weight": SCORE}},
        "state_dict.backbone",
        (),
        {"state_dict.loss.weight"},
    ),
    "compiled": (lambda w: prefixed(w, "_orig_mod"), "", (), set()),
    "compiled and parallel": (lambda w: {"model": prefixed(w, "module._orig_mod")}, "model", (), set()),
    "parallel in part": (
        lambda w: {re.sub(r"^(layer\d)", r"\1.module", name): tensor for name, tensor in w.items()},
        "",
        (),
        set(),
    ),
    "a score beside the weights": (lambda w: {"model": {**prefixed(w, "net"), "best": SCORE}}, "model.net", (), None),
}


@pytest.fixture(scope="module")
def state():
    return twins.randomized(twins.CifarResNet(CLASSES)).state_dict()


def assert_holds(model, state):
    for name, array in weights.to_torch(model, "cifar").items():
        np.testing.assert_array_equal(array, state[name].numpy(), err_msg=name)


@pytest.mark.parametrize("kind", KEPT)
def test_weights_are_found_in_what_a_training_program_saves(kind, state, tmp_path):
    make, part, others, passed_over = KEPT[kind]
    file = tmp_path / "checkpoint.pth.tar"
    torch.save(make(state), file)
    model, config = weights.open_model(file)
    assert (config["name"], config["num_classes"]) == ("resnet20", CLASSES)
    assert_holds(model, state)
    report = weights.load(model, file)
    assert report.complete and report.scheme == "cifar"
    assert (report.part, report.other_parts) == (part, others)
    assert len(report.matched) == len(weights.to_torch(model, "cifar")) - 19, "all but the counts of batches"
    told = {name for name in report.passed_over if not name.endswith("arrays)")}
    assert passed_over is None or told == passed_over
    assert ("taken: " + part in str(report).splitlines()) == bool(part)
    for name in others:
        assert f"part={name!r}" in str(report)
        weights.load(model, file, part=name)
        assert_holds(model, other(state))
        assert_holds(weights.open_model(file, part=name)[0], other(state))


@pytest.mark.parametrize("kind", ["module", "model._orig_mod", "ema_model.module", "classifier"])
def test_safetensors_with_words_before_most_names(kind, state, tmp_path):
    save_file({**prefixed(state, kind), "criterion.weight": torch.ones(CLASSES)}, tmp_path / "model.safetensors")
    model, _ = weights.open_model(tmp_path / "model.safetensors")
    assert_holds(model, state)
    report = weights.load(model, tmp_path / "model.safetensors")
    assert report.passed_over == ("criterion.weight",) and report.part == re.sub(r"(^|\.)(module|_orig_mod)", "", kind)


@pytest.mark.parametrize("ending", [".pth.tar", ".ckpt", ".bin", ".PTH"])
@pytest.mark.parametrize("inside", ["pytorch", "pytorch before 1.6", "safetensors", "npz"])
def test_endings_that_say_little_are_read_as_what_is_inside(ending, inside, state, tmp_path):
    file, written = tmp_path / f"w{ending}", tmp_path / "w.npz"
    if inside.startswith("pytorch"):
        content = {"state_dict": state, "args": argparse.Namespace(lr=0.1)}
        torch.save(content, file, _use_new_zipfile_serialization=inside == "pytorch")
    elif ending == ".PTH":
        pytest.skip("an ending that says it")
    elif inside == "safetensors":
        save_file(state, file)
    else:
        np.savez(written, **{name: tensor.numpy() for name, tensor in state.items()})
        written.rename(file)
    assert_holds(weights.open_model(file)[0], state)


@pytest.mark.parametrize("ending", [".tar", ".ckpt", ".bin"])
def test_they_are_not_written(ending, drawn, tmp_path):
    with pytest.raises(ValueError, match=f"must be a run folder or end in .*; got '{ending}'"):
        weights.save(drawn("mlp", options={"hidden": [3]}), tmp_path / f"w{ending}")


def test_a_part_that_is_not_there_is_refused_by_name(state, tmp_path, drawn):
    torch.save({"model": state, "model_ema": other(state), "epoch": 3}, tmp_path / "w.pth")
    model = weights.open_model(tmp_path / "w.pth")[0]
    with pytest.raises(ValueError, match=r"`part` must be one in which .*, 'model', 'model_ema'; got 'teacher'\.$"):
        weights.load(model, tmp_path / "w.pth", part="teacher")
    with pytest.raises(
        ValueError, match=r"w.pth must describe its network, or have in teacher the names of a known one"
    ):
        weights.open_model(tmp_path / "w.pth", part="teacher")


def test_of_two_networks_in_one_file_each_finds_its_own(tmp_path):
    large, small = (twins.randomized(twins.ResNet(depth, CLASSES)).state_dict() for depth in (50, 18))
    torch.save({"teacher": large, "student": small}, tmp_path / "w.pth")
    stored = read_any(tmp_path / "w.pth")
    assert recognize(stored)["name"] == "resnet18", "one that taught comes last"
    model, config = weights.open_model(tmp_path / "w.pth", part="teacher")
    assert config["name"] == "resnet50"
    report = weights.load(model, tmp_path / "w.pth")
    assert report.complete and report.part == "teacher"


def test_of_two_parts_with_the_same_names_the_shapes_decide(state, tmp_path):
    other_head = twins.randomized(twins.CifarResNet(CLASSES + 1)).state_dict()
    torch.save({"net": state}, tmp_path / "alone.pth")
    torch.save({"model": other_head, "net": state}, tmp_path / "w.pth")
    model, _ = weights.open_model(tmp_path / "alone.pth")
    report = weights.load(model, tmp_path / "w.pth")
    assert (report.part, report.other_parts) == ("net", ("model",))
    assert_holds(model, state)


LAST = {
    "moving_average": "net",
    "shadow": "model",
    "polyak_model": "model",
    "target": "online",
    "modelEMA": "model",
    "emaModel": "model",
    "EMAModel": "model",
    "init_state_dict": "final_state_dict",
}


@pytest.mark.parametrize(("last", "first"), LAST.items())
def test_averages_copies_and_beginnings_come_last(last, first, state, tmp_path):
    torch.save({last: other(state), first: state}, tmp_path / "w.pth")
    model, _ = weights.open_model(tmp_path / "w.pth")
    assert_holds(model, state)
    report = weights.load(model, tmp_path / "w.pth")
    assert (report.part, report.other_parts, report.alike) == (first, (last,), ())
    assert_holds(model, state)
    weights.load(model, tmp_path / "w.pth", part=last)
    assert_holds(model, other(state))


def test_which_of_two_equal_parts_was_taken_is_told(state, tmp_path):
    torch.save({"left": state, "right": other(state)}, tmp_path / "w.pth")
    sentence = r"w.pth holds weights that fit as well in 'left', 'right', and 'left', the first, was taken; `part=`"
    with pytest.warns(UserWarning, match=sentence):
        model, _ = weights.open_model(tmp_path / "w.pth")
    assert_holds(model, state)
    with pytest.warns(UserWarning, match=sentence) as found:
        report = weights.load(model, tmp_path / "w.pth")
    assert report.alike == ("right",) and found[0].filename == __file__
    for part in ("left", "right"):  # no warning
        weights.load(model, tmp_path / "w.pth", part=part)
        weights.open_model(tmp_path / "w.pth", part=part)
    assert_holds(model, other(state))


def test_of_two_names_that_mean_the_same_the_first_is_taken(state, tmp_path):
    torch.save({**state, **prefixed(other(state), "module")}, tmp_path / "w.pth")
    torch.save(state, tmp_path / "alone.pth")
    model, _ = weights.open_model(tmp_path / "alone.pth")
    with pytest.raises(ValueError, match=r"unless strict=False; unexpected: module\."):
        weights.load(model, tmp_path / "w.pth")
    weights.load(model, tmp_path / "w.pth", strict=False)
    assert_holds(model, state)


def test_a_few_names_in_common_are_not_a_part(tmp_path, drawn):
    """A residual network's first block begins with two convolutions, as LeNet does."""
    torch.save(twins.ResNet(18, CLASSES).state_dict(), tmp_path / "w.pth")
    model = drawn("lenet5")
    with pytest.raises(ValueError, match=r"must match the LeNet5 in every weight, unless strict=False; missing: "):
        weights.load(model, tmp_path / "w.pth")
    report = weights.load(model, tmp_path / "w.pth", strict=False)
    assert report.part == "" and not report.matched


class Whole(torch.nn.Module):
    """A network that is saved with its code's name."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_a_whole_pickled_network_is_told_how_to_be_saved(wrapped, new, tmp_path, drawn):
    net = Whole()
    content = {"epoch": 3, "model": net} if wrapped else net
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError) as caught:
        weights.load(drawn("lenet5"), tmp_path / "w.pt")
    said = str(caught.value)
    assert re.search(
        (rf"of plain tensors by name; {'model' if wrapped else 'it'} is a pickled " if new else "failed: it holds a ")
        + r"\S*Whole, which only its code could restore; where that code is, torch\.save\(model\.state_dict\(\), "
        r"'weights\.pth'\) writes what can be read\.$",
        said,
    )
    assert "damaged" not in said


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda w: {0: w, 1: w}, "a dict with the key 0, which is no name"),
        (lambda w: [w], "a list, which gives tensors no names"),
        (lambda w: {"nets": [w]}, "a dict of nets"),
        (lambda w: {}, "an empty dict"),
    ],
    ids=["numbers", "list", "list by name", "empty"],
)
def test_tensors_without_names_are_refused_in_a_whole_sentence(make, told, state, tmp_path):
    torch.save(make(state), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=f"w.pth must be a PyTorch file of plain tensors by name; it holds {told}.$"):
        weights.open_model(tmp_path / "w.pth")


def test_a_part_of_a_file_without_parts_is_refused_in_a_whole_sentence(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    model, _ = weights.open_model(tmp_path / "w.pth")
    told = r"`part` must not be given for .*w.pth, whose weights are not nested; got 'ema'.$"
    with pytest.raises(ValueError, match=told):
        weights.load(model, tmp_path / "w.pth", part="ema")


def test_what_names_a_function_of_python_s_is_refused_for_that(tmp_path, drawn):
    torch.save({"state_dict": {"head.weight": torch.ones(3)}, "hook": print}, tmp_path / "w.pth")
    with pytest.raises(ValueError) as caught:
        weights.load(drawn("lenet5"), tmp_path / "w.pth", strict=False)
    assert str(caught.value).endswith("failed: it names builtins.print, which cannot be part of weights.")


def test_what_stands_in_for_other_objects_is_inert_and_leaves_no_trace(tmp_path, monkeypatch, state):
    """Not even the class is imported, though it could be."""
    seen = []
    monkeypatch.setattr(Settings, "__setstate__", lambda self, held: seen.append(held), raising=False)
    torch.save({"state_dict": state, "settings": Settings(), "many": {1: [Settings()]}}, tmp_path / "w.pth")
    before = set(torch.serialization.get_safe_globals())  # which come in any order
    weights.open_model(tmp_path / "w.pth")
    assert not seen and set(torch.serialization.get_safe_globals()) == before
