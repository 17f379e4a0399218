"""`jaxcnn sweep`: trials, their results, and that nothing is lost or done twice."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from jaxcnn.cli.listed_run import read_run
from jaxcnn.cli.sweep_jobs import environment, part
from jaxcnn.cli.sweep_plan import Plan, begin
from jaxcnn.cli.sweep_plan import alone as alone_with
from jaxcnn.cli.sweep_result import summaries
from jaxcnn.cli.sweep_space import Varied
from jaxcnn.cli.sweep_trials import end, has_ended, progress, record
from jaxcnn.training import read_log
from jaxcnn.training.lock import FolderLock, is_held

PATIENCE = 120  # seconds until a process is given up
STEPS = 1438 // 64
SPEED = {"images_per_second", "steps_per_second", "input_wait", "flops_per_second", "host_memory"}


@pytest.fixture(autouse=True, scope="module")
def one_device_for_others():
    """The processes of a sweep have one device each."""
    before = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in before.split() if "device_count" not in flag)
    yield
    os.environ["XLA_FLAGS"] = before


@pytest.fixture(scope="module")
def sweep(tiny):
    """The words of a sweep that takes seconds; four trials."""
    settings = "--epochs 2 --log-every 1 --checkpoint-every 5 --over optimizer=sgd,adamw --seeds 2 --out s".split()
    return ["sweep", *tiny, *settings]


@pytest.fixture(scope="module")
def whole(jaxcnn, sweep, tmp_path_factory):
    """The folder of the sweep that nothing disturbs, and what was printed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = jaxcnn(*sweep)
    return folder / "s", outcome


def trials(out):
    return sorted(path for path in out.iterdir() if path.is_dir() and path.name[0].isdigit())


def rows(folder):
    return list(read_log(folder / "metrics.jsonl"))


def timeless(folder):
    return [{key: value for key, value in row.items() if key not in SPEED} for row in rows(folder)]


def starts(folder):
    return (folder / "output.txt").read_text().count("training mlp")


def start(words, cwd):
    """A sweep with its processes in a group of their own, which can be killed together."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxcnn", *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def wait_until(condition, process=None):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def steps_done(out):
    return sum(len(rows(path)) for path in trials(out)) if out.exists() else 0


def assert_same_sweep(found, expected):
    """Every trial has each step once, with the same numbers; so has the result."""
    assert [path.name for path in trials(found)] == [path.name for path in trials(expected)]
    for path in trials(found):
        assert [row["step"] for row in rows(path)] == list(range(1, 2 * STEPS + 1))
        assert timeless(path) == timeless(expected / path.name)
        assert (path / "evaluation.json").read_text() == (expected / path.name / "evaluation.json").read_text()
        assert record(path)["state"] == "finished"
    before, now = (json.loads((out / "sweep.json").read_text()) for out in (expected, found))
    assert before == now and before["over"]


def test_trials_are_runs_and_their_results_a_table(jaxcnn, whole, monkeypatch):
    out, outcome = whole
    assert (outcome.status, outcome.err) == (0, "")
    names = [
        f"{number:03d}-optimizer={name}-seed{seed}" for number, name in enumerate(("sgd", "adamw")) for seed in (0, 1)
    ]
    assert [path.name for path in trials(out)] == names
    lines = outcome.out.splitlines()
    assert lines[0] == "2 settings with 2 seeds each in s"
    runs = {name: read_run(out / name) for name in names}
    for number, seed in ((0, 0), (1, 0), (0, 1), (1, 1)):  # every setting once before any again
        name = names[2 * number + seed]
        accuracy = f"accuracy {100 * runs[name].value('accuracy'):.2f} %"
        told = f"trial {number:03d} (optimizer={('sgd', 'adamw')[number]}, seed {seed}): {accuracy}"
        assert lines.index(told) == 1 + number + 2 * seed
    content = json.loads((out / "sweep.json").read_text())
    means = [result["mean"] for result in content["results"]]
    assert means == sorted(means, reverse=True) and len(means) == 2
    best = content["results"][0]
    values = [runs[trial["folder"]].value("accuracy") for trial in best["trials"]]
    assert best["mean"] == pytest.approx(sum(values) / 2)
    assert best["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    row = next(line for line in lines if line.startswith(f"{best['number']:03d} "))
    assert f"{100 * best['mean']:.2f} ± {100 * best['spread']:.2f} %" in row and row.endswith("  2/2")
    chosen = next(line for line in lines if line.startswith("to repeat it: jaxcnn ")).partition("jaxcnn ")[2]
    assert f"its best run: s/{content['best']['folder']}" in lines and content["best"]["repeat"] == f"jaxcnn {chosen}"
    page = (out / "sweep.html").read_text()
    assert page.count("<img") == 1 and f"{best['trials'][0]['folder'][:3]}</a>" in page
    monkeypatch.chdir(out.parent)
    assert jaxcnn("runs", "s", "--filter", "state=finished").out.count("finished") == 4
    monkeypatch.setenv("COLUMNS", "200")
    repeated = jaxcnn(*chosen.split(), "--out", "again", "--print-config")
    assert json.loads(repeated.out)["optimizer"] == best["setting"]["optimizer"]


def test_a_finished_sweep_is_not_done_again(jaxcnn, sweep, whole, monkeypatch):
    out, outcome = whole
    monkeypatch.chdir(out.parent)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    for words in (sweep, ["sweep", "--resume", "s"]):
        again = jaxcnn(*words)
        first, *lines = again.out.splitlines()
        assert (again.status, first) == (0, "s is complete: 2 settings with 2 seeds each")
        assert lines == outcome.out.splitlines()[-len(lines) :]
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    other = jaxcnn(*sweep, "--learning-rate", "0.1")
    assert other.status == 2 and "in s learning_rate was 0.002, now it is 0.1." in other.err
    other = jaxcnn(*sweep, "--over", "momentum=0.5,0.9")
    assert "space was optimizer=sgd,adamw, now it is optimizer=sgd,adamw; momentum=0.5,0.9." in other.err


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_done_twice(sweep, whole, tmp_path):
    out, kept = tmp_path / "s", {}
    for steps in (1, 30, 2 * STEPS + 3, 3 * 2 * STEPS, 4 * 2 * STEPS - 1):
        process = start(sweep, tmp_path)
        wait_until(lambda steps=steps: steps_done(out) >= steps, process)
        os.killpg(process.pid, signal.SIGKILL)
        assert finish(process)[0] == -signal.SIGKILL
        for path, text in kept.items():
            assert (path / "output.txt").read_text() == text, "what was finished is left alone"
        kept |= {path: (path / "output.txt").read_text() for path in trials(out) if has_ended(path)}
    status, told, err = finish(start(["sweep", "--resume", "s"], tmp_path))
    assert (status, err) == (0, "")
    assert_same_sweep(out, whole[0])
    assert max(map(starts, trials(out))) > 1 and kept


def test_killed_and_resumed(sweep, whole, tmp_path):
    """The kill comes in the middle of the second trial."""
    out = tmp_path / "s"
    process = start(sweep, tmp_path)
    wait_until(lambda: steps_done(out) >= 2 * STEPS + 12, process)
    os.killpg(process.pid, signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    ended = [path for path in trials(out) if has_ended(path)]
    done = steps_done(out)
    assert ended and len(ended) < 4 and done < 4 * 2 * STEPS
    status, told, err = finish(start(sweep, tmp_path))
    assert (status, err) == (0, "")
    assert f"; {len(ended)} of 4 trials are done" in told
    assert_same_sweep(out, whole[0])
    assert [starts(path) for path in ended] == [1] * len(ended)
    assert sorted(map(starts, trials(out)))[-1] == 2, "one trial was under way, and went on"


@pytest.mark.slow
def test_two_at_once_share_the_trials(sweep, whole, tmp_path):
    processes = [start(sweep, tmp_path) for _ in range(2)]
    told = [finish(process) for process in processes]
    assert [(status, err) for status, _, err in told] == [(0, "")] * 2
    assert_same_sweep(tmp_path / "s", whole[0])
    assert [starts(path) for path in trials(tmp_path / "s")] == [1] * 4, "no trial was begun twice"
    tables = [out.partition("trial  ")[2] for _, out, _ in told]
    assert tables[0] == tables[1] != ""
    by = [len(re.findall(r"^trial \d{3} \(", out, re.MULTILINE)) for _, out, _ in told]
    assert sum(by) == 4


@pytest.mark.slow
def test_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(sweep, whole, tmp_path):
    process = start([*sweep, "--jobs", "2"], tmp_path)
    wait_until(lambda: steps_done(tmp_path / "s") >= 20, process)
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert (status, err) == (130, "")
    assert out.splitlines()[-1] == "stopped; go on with: jaxcnn sweep --resume s"
    assert not list((tmp_path / "s").glob("*/trial.json")) or steps_done(tmp_path / "s") < 8 * STEPS
    status, out, err = finish(start(["sweep", "--resume", "s", "--jobs", "2"], tmp_path))
    assert (status, err) == (0, "")
    assert_same_sweep(tmp_path / "s", whole[0])


@pytest.mark.slow
def test_a_process_that_dies_ends_no_sweep(sweep, whole, tmp_path):
    """As the system ends one that needs too much memory: once it is tried again, twice is a failure."""
    out = tmp_path / "s"
    process = start(sweep, tmp_path)
    first = out / "000-optimizer=sgd-seed0"

    def begun(times):
        there = first.exists() and is_held(first, ".claim") and (first / "output.txt").exists()
        return there and starts(first) == times

    for count in (1, 2):
        wait_until(lambda count=count: begun(count), process)
        worker = int((first / ".claim").read_text().split()[1])
        assert worker in [child.pid for child in psutil.Process(process.pid).children()]
        os.kill(worker, signal.SIGKILL)
    status, told, err = finish(process)
    assert (status, err) == (0, "")
    assert "trial 000 (optimizer=sgd, seed 0): its process died; it is tried once more" in told
    problem = "its process was ended by SIGKILL, 2 times."
    assert record(first) == {"deaths": 2, "state": "failed", "problem": problem}
    assert f"000-optimizer=sgd-seed0 failed: {problem}" in told.splitlines()
    assert re.search(r"^000 .* 1/2 +1 failed, 1 finished$", told, re.MULTILINE)
    status, told, err = finish(start(["sweep", "--resume", "s", "--retry"], tmp_path))
    assert (status, err) == (0, "")
    assert_same_sweep(out, whole[0])


@pytest.mark.slow
def test_without_its_parent_a_process_stops(sweep, tmp_path):
    out = tmp_path / "s"
    process = start(sweep, tmp_path)
    wait_until(lambda: steps_done(out) >= 5, process)
    process.kill()
    finish(process)
    wait_until(lambda: not any(is_held(path, ".claim") for path in trials(out)))
    assert steps_done(out) < 8 * STEPS
    assert "go on with: jaxcnn train mlp" in (trials(out)[0] / "output.txt").read_text() or has_ended(trials(out)[0])


def test_failures_are_told_and_the_sweep_goes_on(jaxcnn, tiny, alone):
    words = ["--epochs", "1", "--over", "learning-rate=0.01,1e30", "batch-size=64,5000", "--out", "s"]
    outcome = jaxcnn("sweep", *tiny, *words)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert sum("failed: " in line and line.startswith("trial ") for line in lines) == 3
    big, wild = ("001-learning-rate=0.01,batch-size=5000-seed0", "002-learning-rate=1e+30,batch-size=64-seed0")
    assert any(line.startswith(f"{big} failed: `batch_size` must") for line in lines)
    assert any(line.startswith(f"{wild} failed: loss and gradient must be finite; ") for line in lines)
    assert lines[-4].startswith("best: trial 000, learning-rate=0.01 batch-size=64, accuracy ")
    states = [result["trials"][0]["state"] for result in json.loads((alone / "s/sweep.json").read_text())["results"]]
    assert states == ["finished", "failed", "failed", "failed"]
    assert jaxcnn("sweep", "--resume", "s").out.startswith("s is complete: 4 settings\n")


@pytest.mark.slow
def test_halving_stops_the_worse_settings_at_the_rungs(jaxcnn, tiny, alone):
    rates = "1e-5,1e-4,1e-3,1e-2"
    words = ["--epochs", "4", "--optimizer", "sgd", "--over", f"learning-rate={rates}", "--halving", "2", "--out", "s"]
    outcome = jaxcnn("sweep", *tiny, *words)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("4 settings, halving after epochs 1, 2 in s\n")
    results = json.loads((alone / "s/sweep.json").read_text())["results"]
    assert [result["trials"][0]["epochs"] for result in results] == [4, 2, 1, 1]
    assert results[0]["trials"][0]["state"] == "finished" and results[1]["trials"][0]["state"] == "stopped at epoch 2"
    at_first = [rows(path) for path in trials(alone / "s")]
    scores = [next(row["eval_accuracy"] for row in some if row["kind"] == "epoch") for some in at_first]
    better = sorted(range(4), key=lambda place: (-scores[place], place))[:2]
    assert sorted(result["number"] for result in results[:2]) == sorted(better)
    full = [row["learning_rate"] for row in rows(alone / "s" / results[0]["trials"][0]["folder"])]
    assert full[-1] < 1e-3 * max(full), "the schedule is that of all epochs"
    assert jaxcnn("sweep", "--resume", "s").out.startswith("s is complete")


def test_settings_that_are_stopped_and_that_go_on(alone):
    """By logs as trainings leave them: of nine settings three go on, and of these one; a failed one never does."""
    space = (Varied("learning_rate", values=tuple(range(1, 10))),)
    plan = Plan({"seed": 0, "epochs": 9}, space, trials=9, halving=3)
    begin(alone, plan)
    every = [plan.trial(alone, number, {"learning_rate": number + 1}, 0) for number in range(9)]

    def log(trial, *scores):
        trial.folder.mkdir(exist_ok=True)
        told = {"training": {"epochs": 9}, "data": {"name": "digits"}}
        (trial.folder / "config.json").write_text(json.dumps(told))
        lines = [{"kind": "epoch", "step": n, "epoch": n, "eval_accuracy": score} for n, score in enumerate(scores, 1)]
        (trial.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))

    def left():
        found = progress(alone)[1]
        return [(work.trial.number, work.epoch) for work in found.open], found.stopped

    assert left() == ([(number, 1) for number in range(9)], {})
    for trial in every[:8]:
        log(trial, 0.1 * trial.number)
    log(every[8], 0.95)
    end(every[8].folder, "failed", "its loss must be finite.")
    going, stopped = left()
    assert going == [(5, 3), (6, 3), (7, 3)] and stopped == {trial.folder: 1 for trial in every[:5]}
    for place, score in ((5, 0.9), (6, 0.3), (7, 0.2)):
        log(every[place], 0.1 * place, score, score)
    going, stopped = left()
    assert going == [(5, None)] and [stopped[every[place].folder] for place in (0, 6, 7)] == [1, 3, 3]
    log(every[5], 0.5, *[0.9] * 8)
    end(every[5].folder, "finished")
    assert progress(alone)[1].over
    results = summaries(progress(alone)[1])
    assert [result.number for result in results][:4] == [5, 6, 7, 4] and results[-1].state == "failed"
    assert results[0].rung is None and results[1].rung == 3 and results[3].state == "stopped at epoch 1"


def test_rungs():
    def rungs(trials, epochs, halving):
        return Plan({"epochs": epochs}, (), trials=trials, halving=halving).rungs

    assert rungs(27, 27, 3) == [1, 3, 9] and rungs(9, 27, 3) == [3, 9] and rungs(10, 27, 3) == [1, 3, 9]
    assert rungs(27, 3, 3) == [1] and rungs(1, 9, 3) == [] and rungs(4, 1, 2) == [] and rungs(9, 27, None) == []
    plan = Plan({"epochs": 9}, (), seeds=2, trials=9, halving=3)
    assert plan.all_epochs == 2 * (9 * 1 + 3 * 2 + 1 * 6)


@pytest.mark.slow
def test_a_sweep_may_grow(jaxcnn, tiny, alone, monkeypatch):
    """More trials and more seeds; those that are done stay."""
    words = [*tiny, "--epochs", "1", "--over", "learning-rate=log:1e-3..1e-1", "--out", "s"]
    assert jaxcnn("sweep", *words, "--trials", "1").status == 0
    first = trials(alone / "s")
    assert jaxcnn("sweep", *words, "--trials", "2", "--seeds", "2").status == 0
    assert len(trials(alone / "s")) == 4 and first[0] in trials(alone / "s") and starts(first[0]) == 1
    assert jaxcnn("sweep", *words, "--trials", "2").out.startswith("s is complete: 2 settings with 2 seeds each")
    assert jaxcnn("sweep", *words, "--trials", "2", "--search-seed", "5").status == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--over", "lr=1"], "`over` must name options of `jaxcnn train` or of the network; got lr:"),
        (
            ["--over", "learning-rate=0..1", "--search", "grid"],
            "`search` grid needs lists of values; learning_rate has",
        ),
        (["--search", "random"], "`search` random needs `over`; got none."),
        (
            ["--over", "momentum=0.1,0.2", "--search", "grid", "--trials", "3"],
            "`trials` is for random and optuna; got 3",
        ),
        (["--over", "epochs=1,2", "--halving", "2"], "`halving` compares settings after the same epochs; it cannot be"),
        (["--over", "momentum=0.1,0.2", "--halving", "1"], "`halving` must be at least 2; got 1."),
        (["--seeds", "0"], "`seeds` must be positive; got 0."),
        (["--jobs", "0"], "`jobs` must be positive; got 0."),
        (["--find-lr"], "`find_lr` cannot be given with a sweep; it is for one training."),
        (["--epoch", "3"], "`--epoch` is not an option of `jaxcnn train`; perhaps you meant `--epochs`."),
        (["--resume", "nowhere"], "nowhere must be the folder of a sweep; it has no sweep.json."),
        (["--resume", "s", "--seeds", "2"], "`resume` goes on with a sweep as it is; got `seeds` too."),
        (
            ["--resume", "s", "--epochs", "2"],
            "`resume` goes on with a sweep as it is; got options of `jaxcnn train` too.",
        ),
        (["--out", "full"], "`out` must be a new folder, or that of a sweep; full holds notes.txt."),
    ],
    ids=str,
)
def test_refusals(jaxcnn, alone, words, message):
    (alone / "full").mkdir()
    (alone / "full" / "notes.txt").write_text("mine")
    outcome = jaxcnn("sweep", *words)
    assert (outcome.status, outcome.out) == (2, "") and outcome.err.startswith(f"jaxcnn: {message}"), outcome.err
    assert outcome.err.count("\n") == 1 and not (alone / "sweeps").exists()


def test_a_damaged_file_is_refused(jaxcnn, alone):
    (alone / "s").mkdir()
    for text in ("{", "{}", '{"plan": {"base": {}, "space": [{"name": 1}]}}'):
        (alone / "s" / "sweep.json").write_text(text)
        outcome = jaxcnn("sweep", "--resume", "s")
        assert outcome.status == 2 and outcome.err.startswith(
            "jaxcnn: s/sweep.json must be what `jaxcnn sweep` wrote; "
        )


def test_without_optuna_the_search_is_refused(jaxcnn, alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    outcome = jaxcnn("sweep", "--over", "momentum=0..0.9", "--search", "optuna")
    assert outcome.err == "jaxcnn: `search` optuna needs Optuna: pip install 'jaxcnn[sweep]'.\n"


def test_processes_divide_the_machine(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert [part(list(range(8)), slot, 3) for slot in range(3)] == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert [part([4, 6], slot, 3) for slot in range(3)] == [[4], [4], [6]]
    assert environment(1, 4, 8, []) == {"OMP_NUM_THREADS": "2"}
    assert environment(3, 4, 2, ["0", "5"]) == {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "5",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450",
    }
    assert environment(1, 2, 8, ["0", "1"]) == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "1"}


def test_names_of_trials_are_names_of_files(tmp_path):
    space = (Varied("model", values=("my/net:make", "b")), Varied("hidden", True, ("(8,)", "(9,)")))
    plan = Plan({"seed": 3, "epochs": 1}, space, seeds=2)
    trial = plan.trial(tmp_path, 7, {"model": "my/net:make", "hidden": "(8,)"}, 1)
    assert trial.folder.name == "007-model=my-net-make,hidden=8-seed4"
    assert "/" not in trial.folder.name
    long = plan.trial(tmp_path, 8, {"model": "x" * 400, "hidden": "(8,)"}, 0)
    assert len(long.folder.name) < 150


def test_the_file_changes_for_one_at_a_time(tmp_path):
    lock = FolderLock(tmp_path, ".sweep")
    began = time.monotonic()
    threading.Timer(0.2, lock.release).start()
    with alone_with(tmp_path):
        assert time.monotonic() - began > 0.15
