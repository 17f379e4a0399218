"""`jaxcnn runs`: what it lists of whole, interrupted and damaged runs, in which order, and how it compares them."""

import json
import os
import re
import shutil

import pytest

from jaxcnn.training.lock import FolderLock


@pytest.fixture(scope="module")
def made(jaxcnn, tiny, tmp_path_factory):
    """Three runs of digits, and what kills, hands and other tasks leave."""
    top = tmp_path_factory.mktemp("made") / "runs"
    assert jaxcnn("train", *tiny, "--epochs", "1", "--out", top / "short").status == 0
    longer = ["--epochs", "3", "--optimizer", "sgd", "--learning-rate", "0.1", "--out", top / "deep" / "long"]
    assert jaxcnn("train", *tiny, *longer).status == 0
    shutil.copytree(top / "deep" / "long", top / "killed")
    log = top / "killed" / "metrics.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0] + '{"kind": "ep')
    for number, name in enumerate(("short", "deep/long", "killed")):
        os.utime(top / name / "metrics.jsonl", (1e9 + 36800 + 864000 * number,) * 2)  # noon
    (top / "notes").mkdir()
    return top


@pytest.fixture
def runs(made, alone, monkeypatch):
    """A copy of them, as `runs/`."""
    monkeypatch.setenv("COLUMNS", "120")
    shutil.copytree(made, alone / "runs")
    return alone / "runs"


def rows_of(outcome):
    assert (outcome.status, outcome.err) == (0, "")
    return [re.split(r" {2,}", line) for line in outcome.out.splitlines()]


def accuracy(folder):
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["eval_accuracy"]


def test_runs_are_listed_with_their_results(jaxcnn, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = jaxcnn("runs")
    title, *rows = rows_of(outcome)
    assert title == ["run", "network", "data", "epochs", "accuracy", "date", "state"]
    long, short = (f"{100 * accuracy(runs / name):.2f} %" for name in ("deep/long", "short"))
    assert rows[0] == ["runs/deep/long", "mlp", "digits", "3/3", long, "2001-09-19", "finished"]
    assert rows[1][3] == "1/3" and rows[1][-1] == "interrupted"
    assert rows[2] == ["runs/short", "mlp", "digits", "1/1", short, "2001-09-09", "finished"]
    assert len(rows) == 3 and max(map(len, outcome.out.splitlines())) <= 80
    assert jaxcnn("runs", "runs/deep", "runs/short", "runs", "runs/killed").out.count("long") == 1
    monkeypatch.setenv("COLUMNS", "60")
    narrow = jaxcnn("runs").out.splitlines()
    assert narrow[2].strip() == "runs/deep/long" and narrow[3].startswith("  mlp ") and max(map(len, narrow)) <= 60


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--sort", "date"], ["killed", "long", "short"]),
        (["--sort", "epochs"], ["killed", "short", "long"]),
        (["--sort", "accuracy"], None),
        (["--filter", "state=finished"], ["long", "short"]),
        (["--filter", "optimizer=s*", "epochs=3.0", "state=INTER*"], ["killed"]),
        (["--filter", "training.optimizer=adamw"], ["short"]),
        (["--filter", "name=l*"], ["long"]),
        (["--filter", "milestones=0.75", "name=s*"], ["short"]),
        (["--filter", "data=digits", "learning-rate=1e-1"], ["long", "killed"]),
    ],
    ids=str,
)
def test_they_are_sorted_and_filtered(jaxcnn, runs, options, names):
    found = [row[0].rpartition("/")[2] for row in rows_of(jaxcnn("runs", *options))[1:]]
    if names is None:
        scores = {path.name: accuracy(path) for path in (runs / "deep/long", runs / "short")}
        scores["killed"] = json.loads((runs / "killed/metrics.jsonl").read_text().splitlines()[0])["eval_accuracy"]
        assert [scores[name] for name in found] == sorted(scores.values(), reverse=True)
    else:
        assert found == names


DAMAGES = {
    "no JSON": (lambda run: (run / "config.json").write_text("{"), "config.json must be JSON; "),
    "no configuration": (lambda run: (run / "config.json").unlink(), "it has no config.json."),
    "no object": (lambda run: (run / "config.json").write_text("[]"), "config.json must be a JSON object; got list."),
    "no epochs": (
        lambda run: (run / "config.json").write_text('{"training": {}, "data": {}, "model": {}}'),
        "config.json must have 'epochs'; it does not.",
    ),
    "a list": (lambda run: (run / "config.json").write_text('{"training": []}'), "config.json must describe a run; "),
    "a broken log": (lambda run: (run / "metrics.jsonl").write_text("x\n{}\n"), "line 1 of "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_listed(jaxcnn, runs, damage):
    break_it, message = DAMAGES[damage]
    break_it(runs / "short")
    outcome = jaxcnn("runs")
    *rows, problem = rows_of(outcome)
    assert rows[-1][0] == "runs/short" and rows[-1][-1] == "damaged" and rows[-1][1:4] == ["-"] * 3
    assert outcome.out.splitlines()[-1].startswith("runs/short is damaged: ") and message in outcome.out
    assert json.loads(jaxcnn("runs", "--json").out)[-1]["state"] == "damaged"
    compared = jaxcnn("runs", "--compare", "--out", "both.html")
    assert compared.status == 0 and compared.out.startswith("runs/short is damaged, and left out: ")


def test_a_run_that_trains_is_told_of(jaxcnn, runs):
    lock = FolderLock(runs / "killed")
    try:
        assert rows_of(jaxcnn("runs"))[2][-1] == "training"
    finally:
        lock.release()
    assert rows_of(jaxcnn("runs"))[2][-1] == "interrupted"
    (runs / "killed" / ".lock").write_text("process 1 on gone\n")  # as a kill leaves it
    assert rows_of(jaxcnn("runs"))[2][-1] == "interrupted"


def test_a_run_that_stopped_early_is_finished_with_its_best(jaxcnn, runs):
    config = json.loads((runs / "short/config.json").read_text())
    config["training"] |= {"epochs": 50, "patience": 2, "monitor": "accuracy"}
    (runs / "short/config.json").write_text(json.dumps(config))
    rows = [
        {"kind": "epoch", "step": step, "epoch": step, "eval_split": "validation", "eval_accuracy": value}
        for step, value in enumerate((0.5, 0.7, 0.6, 0.65), 1)
    ]
    log = runs / "short/metrics.jsonl"
    for count, state in ((3, "interrupted"), (4, "finished")):
        log.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
        found = rows_of(jaxcnn("runs", "--filter", "name=short"))[1]
        assert found[3:5] == [f"{count}/50", "70.00 %"] and found[-1] == state


def test_runs_of_several_tasks(jaxcnn, runs):
    """The metric of each is named; one that falls is sorted the other way."""
    for name, error in (("worse", 2.0), ("better", 0.5)):
        (runs / name).mkdir()
        config = {"epochs": 1, "task": "regression", "loss": "mean_squared_error"}
        told = {"training": config, "data": {"name": "angles"}, "task": {"mean": [0.0], "std": [1.0]}}
        (runs / name / "config.json").write_text(json.dumps(told))
        row = {"kind": "epoch", "step": 1, "epoch": 1, "loss": 1.0, "eval_loss": 1.0, "eval_rmse": error}
        (runs / name / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    title, *rows = rows_of(jaxcnn("runs", "--sort", "rmse"))
    assert title[3:6] == ["task", "epochs", "held out"]
    assert [row[0] for row in rows[:2]] == ["runs/better", "runs/worse"]
    assert rows[0][1:6] == ["-", "angles", "regression", "1/1", "RMSE 0.5"]
    assert rows[2][3] == "classification" and rows[2][5].startswith("accuracy ")
    page = jaxcnn("runs", "--compare", "--out", "tasks.html")
    assert page.status == 0 and (runs.parent / "tasks.html").read_text().count("<img") == 2


def test_the_comparison_tells_what_differs(jaxcnn, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = jaxcnn("runs", "runs/short", "runs/deep", "--compare")
    assert (outcome.status, outcome.err) == (0, "")
    lines = [re.split(r" {2,}", line) for line in outcome.out.splitlines()]
    assert lines[4:] == [
        ["", "runs/deep/long", "runs/short"],
        ["training.epochs", "3", "1"],
        ["training.optimizer", "sgd", "adamw"],
        ["training.learning_rate", "0.1", "0.002"],
        ["page runs-compared.html"],
    ]
    page = (runs.parent / "runs-compared.html").read_text()
    assert page.count("<img") == 1 and 'href="runs/short/report.html"' in page
    assert "<td>training.optimizer</td><td>sgd</td><td>adamw</td>" in page and "No epoch" not in page
    monkeypatch.setenv("COLUMNS", "40")
    assert "training.optimizer\n  runs/deep/long  sgd\n  runs/short      adamw\n" in jaxcnn(
        "runs", "--compare"
    ).out.replace("  runs/killed     sgd\n", "")
    shutil.copytree(runs / "short", runs / "twin")
    (runs / "twin/metrics.jsonl").write_text("")
    outcome = jaxcnn("runs", "runs/short", "runs/twin", "--compare", "--out", "twins.html")
    assert "their configurations do not differ" in outcome.out
    page = (runs.parent / "twins.html").read_text()
    assert "No epoch was finished in runs/twin." in page and "Nothing: they are repetitions." in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "`folders` must be runs or folders of runs; nowhere is no folder."),
        (["runs/notes"], "`folders` must be runs or folders of runs; runs/notes holds none."),
        (
            ["--sort", "acuracy"],
            "`sort` must be one of name, network, data, task, state, epochs, date, loss, accuracy,",
        ),
        (["--filter", "digits"], "`filter` must be NAME=VALUE; got 'digits'."),
        (["--filter", "dta=x"], "`filter` must name name, network, data, task, state or a value of config.json; got"),
        (["runs/short", "--compare"], "`compare` needs two undamaged runs or more; got runs/short."),
        (["--compare", "--json"], "`json` and `compare` print different things; give one of them."),
        (["--compare", "--out", "x.txt"], "`out` must end in .html or .htm; got x.txt."),
        (["--out", "x.html"], "`out` needs `compare`; got x.html without it."),
        (["--compare", "--out", "no/x.html"], "`out` must be in a folder that exists; got no/x.html."),
    ],
    ids=str,
)
def test_refusals(jaxcnn, runs, arguments, message):
    outcome = jaxcnn("runs", *arguments)
    assert (outcome.status, outcome.out) == (2, "") and outcome.err.startswith(f"jaxcnn: {message}")
    assert outcome.err.count("\n") == 1 and not list(runs.parent.glob("*.html"))


def test_nothing_left_is_said(jaxcnn, runs):
    assert jaxcnn("runs", "--filter", "data=mnist").out == "none of 3 runs has data=mnist\n"
    outcome = jaxcnn("runs", "--filter", "data=mnist", "--compare")
    assert outcome.err == "jaxcnn: `compare` needs two undamaged runs or more; got none.\n"
