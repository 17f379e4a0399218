"""The command, its files, the bars, and the README's table."""

import contextlib
import copy
import dataclasses
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from flax import nnx

import jaxcnn
from experiments.benchmarks import __main__, bars, command, measure, plots, results, rows, selection, tables
from experiments.benchmarks.contestants import Contestant, LeftOut, timed_step
from experiments.benchmarks.networks import Task
from experiments.benchmarks.peers_flax import nnx_program
from jaxcnn.cli import main
from jaxcnn.cli.bench import Bench

ROOT = Path(__file__).parent.parent.parent
ABOUT = {"device": "cpu", "processor": "a processor", "cores": 2, "versions": {"jax": "0.10.2"}}


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )


def row(ours=1.0, *, oneDNN=None, **peers):
    """A row in which everybody takes so many milliseconds."""
    times = {"jaxcnn": ours, **({"jaxcnn-onednn": oneDNN} if oneDNN else {}), **peers}
    times = {name.replace("_", "-"): time for name, time in times.items()}

    def spread(value):
        return {"median": value, "low": 0.9 * value, "high": 1.1 * value}

    return {
        "date": "2026-01-02T03:04Z",
        "contestants": {name: {"ms": spread(time)} for name, time in times.items()},
        "ratios": {
            one: {name: spread(time / times[one]) for name, time in times.items() if name != one}
            for one in rows.OURS
            if one in times
        },
    }


def verdicts(found, about=ABOUT):
    return {verdict["what"]: verdict for verdict in bars.judge({"about": about, "rows": found})}


def test_a_quick_run_writes_figures_of_everybody_who_is_there(tmp_path):
    out = tmp_path / "figures.json"
    done = bench("--quick", "--rows", "conv/lenet-conv1/kernel*", "--peers", "flax", "--out", out)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert set(document) == {"about", "rows", "bars"}
    assert {"backend", "device", "processor", "cores", "platform", "python", "versions"} == set(document["about"])
    assert {"jax", "flax", "jaxcnn"} <= set(document["about"]["versions"])
    (name,) = document["rows"]
    assert name == "conv/lenet-conv1/kernel-gradient"
    found = document["rows"][name]
    assert {"date", "commit", "contestants", "ratios", "left_out"} <= set(found)
    assert {"jaxcnn", "flax"} <= set(found["contestants"]) <= {"jaxcnn", "jaxcnn-onednn", "flax"}
    for entry in found["contestants"].values():
        assert 0 < entry["ms"]["low"] <= entry["ms"]["median"] <= entry["ms"]["high"]
        assert entry["rounds"] == command.QUICK_ROUNDS
        assert entry["temporaries_bytes"] >= 0
    ratio = found["ratios"]["jaxcnn"]["flax"]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert name in done.stdout


class Tiny(nnx.Module):
    """One dense layer."""

    def __init__(self):
        self.head = nnx.Linear(784, 10, kernel_init=nnx.initializers.zeros_init(), rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.head(x.reshape(x.shape[0], -1))


def test_a_step_tells_its_temporaries_parameters_and_throughput():
    task = Task("lenet5", 4)
    program = nnx_program(Tiny(), task)
    losses = []

    def step(*arguments):
        state, loss = program.step(*arguments)
        jax.debug.callback(losses.append, loss)
        return state, loss

    chosen = rows.Row("a", lambda _: timed_step(program._replace(step=step)), ("jaxcnn",), task=task)
    with jax.numpy_dtype_promotion("standard"):
        found = measure.measure(chosen, ["jaxcnn"], rounds=1, budget=1, say=print)["contestants"]["jaxcnn"]
    assert {"temporaries_bytes", "compile_s", "flops", "images_per_s"} <= set(found)
    assert found["parameters"] == 7850
    assert found["images_per_s"] == pytest.approx(4e3 / found["ms"]["median"], rel=1e-3)
    jax.effects_barrier()
    assert len(losses) > 2 and losses[-1] < losses[0]  # every step goes on from the last


def test_who_is_missing_is_named_and_the_others_run():
    def build(name):
        if name == "keras":
            raise ModuleNotFoundError("No module named 'keras'", name="keras")
        if name == "torch-compile":
            raise LeftOut("no C++ compiler")
        return Contestant(lambda: None, {})

    said, chosen = [], rows.Row("some/row", build, ("jaxcnn", "keras", "torch-compile"))
    found = measure.measure(chosen, chosen.contestants, rounds=1, budget=1, say=said.append)
    assert list(found["contestants"]) == ["jaxcnn"]
    assert found["left_out"] == {"keras": "keras is not installed", "torch-compile": "no C++ compiler"}
    assert len(said) == 2


def test_rows_and_peers_are_chosen_by_name_or_part():
    def names(*patterns):
        return {found.name for found in selection.chosen_rows(patterns, quick=False)}

    assert {"step/lenet5", "compile/lenet5", "stage/lenet"} <= names("lenet*")
    assert names("step/*") == {name for name in selection.all_rows() if name.startswith("step/")}
    assert all(found.quick for found in selection.chosen_rows((), quick=True))
    step = selection.all_rows()["step/lenet5"]
    assert selection.chosen_contestants(step, ["flax", "torch"]) == [*rows.OURS, "flax", *rows.PEERS[3:]]
    assert selection.chosen_contestants(step, ["torch-nchw"]) == [*rows.OURS, "torch-nchw"]
    assert selection.chosen_contestants(step, []) == [*rows.OURS, *rows.PEERS]
    with pytest.raises(ValueError, match="`rows` must .*'nothing'"):
        names("nothing")
    with pytest.raises(ValueError, match="`peers` must .*'linen'"):
        selection.chosen_contestants(step, ["linen"])


def test_every_row_that_a_bar_reads_exists_with_all_whom_it_compares():
    known = selection.all_rows()
    for bar in bars.BARS:
        for case in bar.cases:
            for name in case.rows:
                assert {case.ours, *case.peers} <= set(known[name].contestants), (bar.what, name)


def test_bars_are_met_missed_or_not_run():
    found = verdicts({"max-pool/k2s2": row(oneDNN=0.5, flax=12.0, torch_nchw=3.0, torch_channels_last=0.25)})
    two, three = found["max-pool, value and gradient"]["cases"]
    assert (two["value"], two["met"]) == (12, True)
    assert (three["value"], three["met"]) == (None, None)
    assert found["max-pool by the C++ backend"]["cases"][0]["value"] == 24
    against_torch = found["max-pool by the C++ backend, against PyTorch"]["cases"][0]
    assert (against_torch["value"], against_torch["met"]) == (0.5, False)  # of the better layout
    assert found["training step of LeNet-5, batch 128"]["cases"][0]["met"] is None


def test_a_mean_needs_all_rows_and_is_geometric():
    found = {name: row(oneDNN=1.0, flax=2.0, torch_nchw=1.0, torch_channels_last=1.0) for name in bars.CONV_ROWS}
    slow, fast = bars.CONV_ROWS[:2]
    found[slow] = row(oneDNN=1.0, flax=0.5, torch_nchw=1.0, torch_channels_last=1.0)
    found[fast] = row(oneDNN=1.0, flax=8.0, torch_nchw=1.0, torch_channels_last=1.0)
    (mean,) = verdicts(found)["convolution by oneDNN, geometric mean"]["cases"]
    assert mean == {"label": "", "value": 2.0, "low": 0.5, "high": 8.0, "met": True}
    (slowest,) = verdicts(found)["convolution by oneDNN, slowest row"]["cases"]
    assert (slowest["value"], slowest["met"]) == (0.5, False)
    del found[fast]
    assert verdicts(found)["convolution by oneDNN, geometric mean"]["cases"][0]["value"] is None


def test_a_limit_may_depend_on_jax_and_temporaries_must_be_few():
    step = row(flax=1.2)
    step["contestants"]["jaxcnn"]["temporaries_bytes"] = 50
    step["contestants"]["flax"]["temporaries_bytes"] = 100
    found = {"step/resnet20": step}
    newer = {**ABOUT, "versions": {"jax": "0.12.0.1"}}
    assert verdicts(found)["training step of ResNet-20, batch 128"]["cases"][0]["met"]
    assert not verdicts(found, newer)["training step of ResNet-20, batch 128"]["cases"][0]["met"]
    (last,) = [verdict for verdict in bars.judge({"about": ABOUT, "rows": found}) if verdict.get("at_most") == 0.8]
    assert (last["cases"][0]["value"], last["cases"][0]["met"]) == (0.5, True)


def test_the_readme_s_table_says_where_a_bar_is_missed():
    document = {"about": ABOUT, "rows": {"step/lenet5": row(flax=1.5), "step/alexnet": row(flax=2.5)}}
    text = tables.section([document])
    assert "| training step of LeNet-5, batch 128 | >= 1.7 | **1.5 (1.35 to 1.65), missed** | not run |" in text
    assert "| training step of AlexNet, batch 32 | >= 2 | 2.5 (2.25 to 2.75) | not run |" in text
    gpu = {"about": {**ABOUT, "device": "NVIDIA H200"}, "rows": {"step/resnet50-gpu": row(flax=1.5)}}
    gpu["rows"]["step/resnet50-gpu"]["contestants"]["jaxcnn"] |= {"images_per_s": 3000.0, "utilization": 0.41}
    assert "On a GPU (ResNet-50, batch 256, bfloat16): not measured yet" in text
    last = tables.section([document, gpu])
    assert "Flax 1.5 (1.35 to 1.65)" in last and "3000 images/s, 41% of its peak" in last


def test_pages_hold_what_the_results_say(tmp_path):
    documents = results.all_documents()
    few, every = tables.section(documents, tables.IN_README), tables.section(documents)
    assert few in (ROOT / "README.md").read_text(), "run `jaxcnn bench --readme`"
    assert every in (ROOT / "docs" / "speed.md").read_text(), "run `jaxcnn bench --readme`"
    readme, page = tmp_path / "README.md", tmp_path / "speed.md"
    for copied in (readme, page):
        copied.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    tables.write_tables(documents, readme, page)
    assert readme.read_text() == f"before\n{few}\nafter\n"
    assert page.read_text() == f"before\n{every}\nafter\n"
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="must hold the marks"):
        tables.write_tables([], readme, page)


def test_the_readme_has_a_few_bars():
    rows = [line for line in tables.section([], tables.IN_README).splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == list(tables.IN_README)


def test_verdicts_in_the_results_are_those_of_the_bars():
    for path in results.RESULTS.glob("benchmarks-*.json"):
        document = results.read(path)
        assert document["bars"] == bars.judge(document), path
        assert path == results.path_for(document["about"])


def test_a_file_keeps_its_other_rows_and_takes_none_of_another_machine(tmp_path):
    path, about = tmp_path / "a.json", {**ABOUT, "platform": "here", "python": "3"}
    document = results.opened(path, about)
    document["rows"]["step/lenet5"] = row(flax=2.0)
    results.write(path, document)
    assert results.opened(path, about)["rows"] == document["rows"]
    other = copy.deepcopy(about)
    other["versions"]["jax"] = "0.12.0"
    with pytest.raises(ValueError, match=r"differs in \['versions'\]"):
        results.opened(path, other)
    path.write_text("[]")
    with pytest.raises(ValueError, match="wrote; it is not"):
        results.read(path)
    assert results.path_for({**ABOUT, "device": "NVIDIA H200"}).name == "benchmarks-nvidia-h200-jax0.10.2.json"


def test_a_report_prints_and_draws(tmp_path):
    path = tmp_path / "figures.json"
    everyone = {"oneDNN": 0.5, "flax": 2.0, "keras": 2.5, "equinox": 3.0, "torch_nchw": 0.7, "torch_channels_last": 0.9}
    found = {name: row(**everyone) for name in ("step/lenet5", "growth/lenet5/batch8", "max-pool/k2s2")}
    results.write(path, {"about": ABOUT, "rows": found, "bars": []})
    with contextlib.redirect_stdout(io.StringIO()) as out:
        command.run(report=[path])
    assert "2x (1.8 to 2.2)" in out.getvalue() and tables.BEGIN in out.getvalue()
    drawn = [tmp_path / "figures-ratios.png", tmp_path / "figures-growth.png"]
    assert all(figure.stat().st_size > 10_000 for figure in drawn)
    assert plots.write_plots({"about": ABOUT, "rows": {}}, tmp_path / "none") == []


def test_both_doors_have_the_same_options(monkeypatch):
    parameters = inspect.signature(command.run).parameters
    assert {f.name: f.default for f in dataclasses.fields(Bench)} == {k: p.default for k, p in parameters.items()}
    given = {}
    monkeypatch.setattr(__main__, "run", lambda **options: given.update(options))
    monkeypatch.setattr(sys, "argv", ["bench"])
    assert __main__.main() == 0
    assert given == {name: parameter.default for name, parameter in parameters.items()}


def test_the_command_lists_and_refuses(capsys):
    assert main(["bench", "--list", "--rows", "stage/*", "--peers", "flax"]) == 0
    assert capsys.readouterr().out.split() == [
        *("stage/lenet", "jaxcnn", "jaxcnn-onednn", "flax"),
        *("stage/cifar", "jaxcnn", "jaxcnn-onednn", "flax"),
    ]
    assert main(["bench", "--rows", "nothing"]) == 2
    assert "jaxcnn: `rows` must" in capsys.readouterr().err
    assert main(["bench", "--rounds", "0"]) == 2
    assert "must be positive; got 0" in capsys.readouterr().err


def test_outside_a_checkout_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxcnn, "__file__", str(tmp_path / "site-packages" / "jaxcnn" / "__init__.py"))
    assert main(["bench", "--list"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "must run in a checkout of the repository" in error


def test_the_table_of_methods_is_that_of_the_results():
    from experiments.benchmarks import choices
    from jaxcnn.ops import choices as chosen

    assert choices.table(results.all_documents()) == chosen.table(), "run `jaxcnn bench --choices`"
