"""`jaxcnn train --config` and `--print-config`: options in a file, a run's own file, and what is refused."""

import json
import shutil

import pytest

from jaxcnn import training
from jaxcnn.cli.main import _parse

FILES = {
    "run.json": '{"model": "mlp", "epochs": 3, "learning_rate": 1e-3,'
    ' "augment": ["shift=1", "flip"], "nesterov": false}',
    "run.yaml": "model: mlp\nepochs: 3\nlearning-rate: 1e-3\naugment: [shift=1, flip]\nnesterov: false\n",
    "run.toml": 'model = "mlp"\nepochs = 3\nlearning_rate = 1e-3\naugment = ["shift=1", "flip"]\nnesterov = false\n',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_options_and_the_command_line_wins(alone, name):
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    (alone / name).write_text(FILES[name])
    found = _parse(["train", "--config", name])
    config = found.config
    assert (found.model, config.epochs, config.learning_rate, config.nesterov) == ("mlp", 3, 1e-3, False)
    assert config.augment == ("shift=1", "flip")
    other = _parse(["train", "lenet5", f"--config={name}", "--epochs", "5", "--augment", "--nesterov"])
    assert (other.model, other.config.epochs, other.config.augment, other.config.nesterov) == ("lenet5", 5, (), True)
    assert other.config.learning_rate == 1e-3, "what is not said again stays"


def test_a_recipe_of_the_command_line_takes_the_place_of_the_files_values(alone):
    (alone / "run.json").write_text('{"data": "mnist", "epochs": 3, "momentum": 0.5}')
    found = _parse(["train", "--config", "run.json", "--recipe", "he2015-cifar", "--epochs", "7"])
    wanted = training.RECIPES["he2015-cifar"].config
    assert (found.data, found.config.epochs, found.config.momentum) == ("mnist", 7, wanted.momentum)
    (alone / "run.json").write_text('{"recipe": "he2015-cifar", "epochs": 3}')
    found = _parse(["train", "--config", "run.json"])
    assert (found.config.epochs, found.config.milestones) == (3, wanted.milestones)


def test_what_is_printed_is_read_again(jaxcnn, alone):
    options = ["mlp", "--model-options", "hidden=(8,)", "--epochs", "2", "--clip-norm", "1", "--freeze", "dense1"]
    printed = jaxcnn("train", *options, "--data-dir", "somewhere", "--print-config")
    assert (printed.status, printed.err) == (0, "")
    assert not list(alone.iterdir()), "nothing is trained"
    (alone / "all.json").write_text(printed.out)
    assert json.loads(printed.out)["freeze"] == ["dense1"]
    assert jaxcnn("train", "--config", "all.json", "--print-config").out == printed.out


def test_a_runs_own_file_repeats_it(jaxcnn, alone):
    run = ["train", "mlp", "--model-options", "hidden=(8,)", "--epochs", "1", "--learning-rate", "0.01"]
    assert jaxcnn(*run, "--views", "flip", "--out", "first").status == 0
    again = jaxcnn("train", "--config", "first/config.json", "--out", "second")
    assert again.status == 0, again.err
    first, second = (training.read_description(alone / name) for name in ("first", "second"))
    for part in ("model", "training", "data", "arguments"):
        assert first[part] == second[part], part
    assert first["arguments"]["views"] == "flip"
    results = [json.loads((alone / name / "evaluation.json").read_text()) for name in ("first", "second")]
    assert results[0] == results[1]
    resumed = jaxcnn("train", "--config", "first/config.json", "--out", "first", "--resume")
    assert resumed.status == 0, resumed.err


def test_the_file_of_an_older_run_is_read_by_its_command(alone, trained):
    told = training.read_description(trained[0])
    del told["arguments"], told["training"]["weight_decay"]
    told["command"] = "jaxcnn train lenet5 --epochs 9 --validation 0.25 --image-size 24 --out there"
    (alone / "config.json").write_text(json.dumps(told))
    found = _parse(["train", "--config", "config.json"])
    assert (found.model, found.data, found.validation, found.image_size, found.out) == (
        "lenet5",
        "digits",
        0.25,
        24,
        None,
    )
    assert found.config.epochs == 1, "what was trained counts, not what was asked for"
    assert found.config.weight_decay == training.TrainConfig().weight_decay


def test_a_run_from_before_an_option_resumes(jaxcnn, alone, trained):
    """What it does not tell had the effect of the default."""
    shutil.copytree(trained[0], alone / "run")
    told = training.read_description(alone / "run")
    del told["arguments"], told["training"]["nesterov"]
    (alone / "run" / "config.json").write_text(json.dumps(told))
    assert jaxcnn("train", "--epochs", "1", "--out", "run", "--resume").status == 0
    refused = jaxcnn("train", "--epochs", "1", "--out", "run", "--resume", "--no-nesterov")
    assert refused.status == 2 and "training.nesterov was True, now False" in refused.err


REFUSED = {
    "unknown key": (
        '{"epoch": 3}',
        "`epoch` in f.json is not an option of `jaxcnn train`; perhaps you meant `epochs",
    ),
    "unknown key of words": ('{"learning-rte": 3}', "`learning-rte` in f.json is not an option"),
    "nothing like a key": ('{"zzz": 3}', "`jaxcnn train --print-config` prints them all."),
    "a key of the call": ('{"resume": true}', "`resume` in f.json is not an option"),
    "no integer": ('{"epochs": "many"}', "f.json: `epochs` must be an integer; got 'many'."),
    "out of range": ('{"batch_size": 0}', "f.json: `batch_size` must be positive; got 0."),
    "misspelled choice": ('{"optimizer": "adm"}', "got 'adm'; perhaps you meant 'adam'."),
    "no flag": ('{"nesterov": "yes"}', "`nesterov` in f.json must be true or false; got 'yes'."),
    "a list": ('{"epochs": [1, 2]}', "`epochs` in f.json must be one value; got [1, 2]."),
    "no list": ('{"augment": null}', "`augment` in f.json must be a list of words or numbers; got None."),
    "no object": ("[1]", "f.json must hold options by name; got list."),
    "a key twice": ('{"epochs": 1, "epochs": 2}', "f.json must be JSON; the key 'epochs' occurs twice."),
    "no JSON": ("{", "f.json must be JSON;"),
    "a run without a network": ('{"training": {}, "data": {}}', "f.json must have the name of its network"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_in_a_file_is_one_sentence(jaxcnn, alone, kind):
    text, part = REFUSED[kind]
    (alone / "f.json").write_text(text)
    outcome = jaxcnn("train", "--config", "f.json")
    assert (outcome.status, outcome.out) == (2, "")
    assert part in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "part"),
    [("gone.json", "`config` must be a file that exists; got gone.json."), ("run.ini", "`config` must end in .json, ")],
)
def test_a_file_that_cannot_be_read_is_one_sentence(jaxcnn, alone, name, part):
    outcome = jaxcnn("train", "--config", name)
    assert outcome.status == 2 and part in outcome.err and outcome.err.count("\n") == 1


def test_the_file_of_a_run_gives_no_task_that_the_data_decided(jaxcnn, alone):
    """Task, loss and metric are those of the next data set, unless the run was told of them."""
    tiny = ["mlp", "--model-options", "hidden=(4,)", "--epochs", "1", "--batch-size", "256"]
    assert jaxcnn("train", *tiny, "--data", "rotated_digits", "--out", "angles").status == 0
    settled = ("task", "loss", "monitor")
    plain = _parse(["train", "--config", "angles/config.json", "--data", "digits"]).config
    assert [getattr(plain, name) for name in settled] == [None] * 3
    given = ["--loss", "huber", "--monitor", "mae"]
    assert jaxcnn("train", *tiny, "--data", "rotated_digits", *given, "--out", "huber").status == 0
    again = _parse(["train", "--config", "huber/config.json"]).config
    assert [getattr(again, name) for name in settled] == [None, "huber", "mae"]


def test_the_file_of_a_run_on_published_weights_names_them_once(alone):
    told = {
        "model": {"name": "resnet18", "options": {}},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "init": "resnet18",
        "arguments": {"pretrained": True},
    }
    (alone / "config.json").write_text(json.dumps(told))
    found = _parse(["train", "--config", "config.json"])
    assert found.pretrained and found.init is None


def test_no_model_in_a_file_is_the_usual_one(alone):
    (alone / "run.json").write_text('{"model": null}')
    assert _parse(["train", "--config", "run.json"]).model == _parse(["train"]).model
