"""Bad input is one line on stderr and exit status 2: no traceback, no half-made folder."""

import re
import shutil
import subprocess
import sys

import pytest

REFUSED = {
    "no such model": (["train", "lenet6"], "`name` must be 'lenet5', "),
    "no such data": (["train", "--data", "cifar"], "'tfds:NAME'; got 'cifar'."),
    "data not there": (["train", "--data", "mnist"], "`data_dir` must name the folder of mnist"),
    "data folder not there": (["train", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
    "option unknown": (["train", "--model-options", "depth=3"], "got depth."),
    "option without value": (["train", "--model-options", "pool"], "`model_options` must be NAME=VALUE; got 'pool'."),
    "option out of choice": (["train", "--model-options", "pool=mean"], "`pool` must be one of 'max', 'average'"),
    "option of wrong type": (["train", "mlp", "--model-options", "hidden=3"], "hidden"),
    "option of wrong entries": (["train", "mlp", "--model-options", "hidden=('a',)"], "hidden"),
    "negative width": (["train", "mlp", "--model-options", "hidden=(-3,)"], "hidden"),
    "no such dtype": (["train", "mlp", "--model-options", "dtype=float33"], "float33"),
    "no such rule": (["train", "mlp", "--model-options", "rule=magic"], "'hand', 'autodiff'; got 'magic'"),
    "another image size": (["train", "mlp", "--model-options", "image_size=(8,8)"], "MLP expects images of shape"),
    "an option that the data decide": (["train", "--model-options", "in_features=3"], "in_features"),
    "an option that the seed decides": (["train", "--model-options", "rngs=3"], "rngs"),
    "not an integer": (["train", "--epochs", "three"], "`--epochs` must be an integer; got 'three'."),
    "a fraction": (["train", "--epochs", "1.5"], "`--epochs` must be an integer; got '1.5'."),
    "not a number": (["train", "--learning-rate", "fast"], "`--learning-rate` must be a number; got 'fast'."),
    "missing value": (["train", "--epochs"], "`--epochs` needs a value; got none."),
    "unknown flag": (
        ["train", "--speed", "3"],
        "`--speed` is not an option of `jaxcnn train`; perhaps you meant `--seed`.",
    ),
    "misspelled flag": (["train", "--epoch", "3"], "perhaps you meant `--epochs`."),
    "initials of a flag": (
        ["train", "--lr", "0.1"],
        "`--lr` is not an option of `jaxcnn train`; perhaps you meant `--learn",
    ),
    "part of a flag": (
        ["train", "--rate=0.1"],
        "`--rate` is not an option of `jaxcnn train`; perhaps you meant `--learn",
    ),
    "misspelled flag of a pair": (["train", "--no-nestrov"], "perhaps you meant `--no-nesterov`."),
    "nothing like a flag": (
        ["eval", "run", "--zzz"],
        "`--zzz` is not an option of `jaxcnn eval`; `jaxcnn eval --help`",
    ),
    "misspelled choice": (["train", "--optimizer", "adm"], "'adadelta'; got 'adm'; perhaps you meant 'adam'."),
    "misspelled command": (["trian"], "`trian` is not a command of `jaxcnn`; perhaps you meant `train`."),
    "unknown command": (["zzz"], "`zzz` is not a command of `jaxcnn`; the commands are train, sweep, eval, predict, "),
    "unknown flag first": (["--speed"], "`--speed` is not an option of `jaxcnn`; "),
    "too many words": (["models", "lenet5"], "`jaxcnn models` cannot use the word `lenet5`"),
    "weights as a program": (["export", "x.pt"], "needs OUT; to write weights, as in x.pt, use `jaxcnn convert`."),
    "a run as a program of weights": (["export", "run", "x.pt"], "x.pt; for files of weights use `jaxcnn convert`."),
    "epochs of zero": (["train", "--epochs", "0"], "`epochs` must be positive; got 0."),
    "negative seed": (["train", "--seed", "-1"], "`seed` must not be negative; got -1."),
    "rate of nan": (["train", "--learning-rate", "nan"], "`learning_rate` must be positive; got nan."),
    "smoothing of one": (["train", "--label-smoothing", "1"], "`label_smoothing` must be in [0, 1); got 1"),
    "no such optimizer": (["train", "--optimizer", "lion"], "adamw"),
    "long warm-up": (["train", "--warmup-steps", "9999"], "`warmup_steps` must be below the 440 steps in total"),
    "large batch": (["train", "--batch-size", "2000"], "between 1 and the 1438 training examples; got 2000."),
    "nothing to resume": (["train", "--resume"], "`resume` needs the folder of a run"),
    "nothing to resume there": (["train", "--resume", "--out", "nowhere"], "nowhere is none."),
    "missing run": (["eval", "nowhere"], "nowhere must be the folder of a run; it has no config.json."),
    "missing run to predict with": (["predict", "nowhere", "x.png"], "nowhere must be the folder of a run"),
    "an option of another command": (["eval", "nowhere", "--recipe", "typo"], "misplaced options: --recipe"),
    "no run": (["eval"], "`jaxcnn eval` needs RUN; see `jaxcnn eval --help`."),
    "no run and no file": (["export"], "`jaxcnn export` needs RUN and OUT; "),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_input_is_one_line_and_status_2(jaxcnn, alone, kind):
    arguments, part = REFUSED[kind]
    outcome = jaxcnn(*arguments)
    assert outcome.status == 2
    assert part in outcome.err
    assert re.fullmatch(r"jaxcnn: [^\n]+\.\n", outcome.err)
    assert not re.search(r"Traceback|tyro|helptext|[│╭╮╰╯─]|---", outcome.err)
    assert not list(alone.iterdir()), "nothing was written"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--split", "dev"], "`split` of digits must be one of 'train', 'validation', 'test'; got 'dev'."),
        (["--data", "cifar"], "`name` must be one of"),
        (["--data", "mnist"], "`data_dir` must name the folder of mnist"),
    ],
    ids=str,
)
def test_bad_input_to_eval_is_one_line_and_status_2(jaxcnn, alone, trained, arguments, part):
    outcome = jaxcnn("eval", trained[0], *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert part in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("config.json", "{", "config.json must be JSON"),
        ("config.json", "[]", "config.json"),
        ("config.json", "{}", "config.json must have 'model'"),
        (
            "config.json",
            '{"model": {"name": "lenet5", "options": {}}, "data": {"image_shape": [28, 28, 1]}}',
            "'classes'",
        ),
    ],
    ids=str,
)
def test_a_damaged_run_is_one_line_and_status_2(jaxcnn, alone, name, text, part):
    (alone / name).write_text(text)
    outcome = jaxcnn("eval", alone)
    assert (outcome.status, outcome.out) == (2, "")
    assert part in outcome.err and re.fullmatch(r"jaxcnn: [^\n]+\.\n", outcome.err)


def test_an_unknown_field_of_a_run_is_one_line_and_status_2(jaxcnn, alone, trained):
    text = (trained[0] / "config.json").read_text().replace('"epochs": 1', '"epochs": 1, "rounds": 2')
    (alone / "config.json").write_text(text)
    outcome = jaxcnn("eval", alone)
    assert (outcome.status, outcome.out) == (2, "")
    assert "rounds" in outcome.err and outcome.err.count("\n") == 1


def test_a_run_without_checkpoint_is_one_line_and_status_2(jaxcnn, alone, trained):
    (alone / "config.json").write_text((trained[0] / "config.json").read_text())
    outcome = jaxcnn("eval", ".")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "jaxcnn: . must hold a checkpoint; it holds none.\n"


def test_a_run_folder_that_is_a_file_is_refused(jaxcnn, tiny, alone):
    (alone / "file").write_text("")
    outcome = jaxcnn("train", *tiny, "--epochs", "1", "--out", "file")
    assert outcome.status == 2
    assert "file" in outcome.err and outcome.err.count("\n") == 1 and "Errno" not in outcome.err


def test_the_traceback_can_be_asked_for(jaxcnn, alone, monkeypatch):
    monkeypatch.setenv("JAXCNN_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        jaxcnn("eval", "nowhere")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_stream_without_box_characters_gets_the_same_line(spawn, alone, encoding):
    process = spawn("train", "--epochs", "0", cwd=alone, PYTHONIOENCODING=encoding)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "jaxcnn: `epochs` must be positive; got 0.\n")


def test_a_checkpoint_of_another_size_leaves_one_line(spawn, alone, trained):
    shutil.copytree(trained[0], alone / "run")
    told = (alone / "run" / "config.json").read_text()
    fewer = re.sub(r',\s*"9"', "", told)
    assert fewer != told
    (alone / "run" / "config.json").write_text(fewer)
    process = spawn("eval", "run", cwd=alone)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "does not fit" in err and err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(alone):
    """As in `jaxcnn doctor | true`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxcnn", "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == ("", 0)
    process.stderr.close()


def test_a_tilde_behind_an_equals_sign_is_the_home_folder(jaxcnn, alone, monkeypatch):
    monkeypatch.setenv("HOME", str(alone))
    outcome = jaxcnn("train", "--resume", "--out=~/none")
    assert (outcome.status, outcome.err) == (2, f"jaxcnn: `resume` needs the folder of a run; {alone}/none is none.\n")
