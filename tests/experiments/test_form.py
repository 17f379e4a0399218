"""What experiments share; each one's words are those of its values, and its short form runs."""

import argparse
import json

import numpy as np
import pytest

from experiments import complaints, index
from experiments.form import HEADINGS, Claim, Experiment, outliers, result_lines, spread, summarized, wrap
from experiments.marked import README, RESULTS, SPEED

ALL = list(index.experiments())
DOC = """A question.

Hypothesis:
  Two is
  more.

Result:
  Old words.

Command:
  python -m experiments.fake

Cost:
  Nothing.
"""


def fake(**changes):
    from matplotlib.figure import Figure

    def one_seed(seed, options):
        return {"height, m": {"tree": {"old": 2000.0 + seed, "young": 1 / 3}, "bush": {"old": 1.0}}}

    def claims(document):
        return [Claim("trees are higher than bushes", True, "2,000 to 1", "all", "0")]

    return Experiment("experiments.fake", DOC, one_seed, claims, lambda document: Figure(), **changes)


def options(**changes):
    return argparse.Namespace(**{"seeds": [0, 2], "quick": True, "out": None, "add": False} | changes)


def test_values_of_every_seed_become_means_and_spreads():
    runs = {seed: {"error, %": {"a": {"x": 90.0 + seed, "y": 99.1}}} for seed in (2, 0, 1)}
    found = summarized(runs)["error, %"]["a"]
    assert found["x"] == {"values": [90.0, 91.0, 92.0], "mean": 91.0, "standard_deviation": 1.0}
    assert spread(found["x"]) == "91 ± 1" and spread(found["y"]) == "99.1"


def test_a_seed_that_stands_out_is_named_and_kept():
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 9.0]
    runs = {seed: {"error, %": {"a": {"x": value, "y": 1.0}}} for seed, value in enumerate(values, start=3)}
    document = {"tables": summarized(runs), "seeds": sorted(runs)}
    assert outliers(document) == ["seed 9 in error, % of a, x: 9, median 1.02"]
    assert document["tables"]["error, %"]["a"]["x"]["mean"] == pytest.approx(15.02 / 7, abs=1e-4)


def test_chance_and_few_seeds_give_no_outlier():
    random = np.random.default_rng(0)
    for count in (2, 3, 5, 10):
        cells = random.normal(size=(count, 50))
        rows = [{str(place): value for place, value in enumerate(row)} for row in cells]
        runs = {seed: {"error, %": {"a": row}} for seed, row in enumerate(rows)}
        assert outliers({"tables": summarized(runs), "seeds": sorted(runs)}) == []


def test_counts_keep_all_digits():
    runs = {seed: {"parameters": {"a": {"x": 60_965_224, "y": 1_234_567.8}}} for seed in (0, 1)}
    cells = summarized(runs)["parameters"]["a"]
    assert cells["x"]["mean"] == 60_965_224 and spread(cells["x"]) == "60,965,224"
    assert spread(cells["y"]) == "1,234,570"


def test_words_are_made_from_values():
    document = fake().run(options())
    head, claim, _, *table = result_lines(fake(), document)
    assert head.startswith("2 seeds, jax ")
    assert claim == "- Holds: trees are higher than bushes (2,000 to 1; published: all; gap: 0)."
    assert table[0] == "| height, m | old | young |" and table[2] == "| tree | 2,001 ± 1.4 | 0.3333 |"
    assert table[3] == "| bush | 1 |  |"
    written = index.with_section(f'"""{DOC}"""', "Result", ["New", "", "words"])
    assert "Result:\n  New\n\n  words\n\nCommand:" in written and "Old" not in written
    assert fake().section("Hypothesis") == "Two is more." and fake().section("Cost") == "Nothing."


def test_seeds_are_added_to_those_of_the_same_versions(tmp_path, capsys):
    out = tmp_path / "found.json"
    first = fake().run(options(out=out))
    again = fake().run(options(out=out, add=True, seeds=[2, 5]))
    assert first["seeds"] == [0, 2] and again["seeds"] == [0, 2, 5]
    assert again["tables"]["height, m"]["tree"]["old"]["values"] == [2000.0, 2002.0, 2005.0]
    assert out.with_suffix(".png").exists()
    assert fake().run(options(out=out, add=True, seeds=[2, 5])) == again  # nothing new
    out.write_text(json.dumps(first | {"python": "2.7"}))
    assert fake().main(["--add", "--quick", "--out", str(out)]) == 2
    assert "differs in ['python']." in capsys.readouterr().err


def test_seeds_are_added_to_those_of_the_same_options(tmp_path, capsys):
    def add_arguments(parser):
        parser.add_argument("--data", default="cifar10")
        parser.add_argument("--rate", type=float, default=0.1)

    def main(*words):
        return fake(add_arguments=add_arguments, over="folds").main([*words, "--add", "--out", str(out)])

    out = tmp_path / "found.json"
    assert main("--folds", "3", "--data", f"folder:{tmp_path}/pictures") == 0
    assert json.loads(out.read_text())["options"] == {"data": "folder:pictures", "rate": 0.1}  # no folder of ours
    assert capsys.readouterr().out.startswith("1 fold, jax ")
    assert main("--folds", "4", "--data", "folder:pictures", "--rate", "0.2") == 2
    assert "differs in ['options']." in capsys.readouterr().err
    assert main("--seeds", "4", "--data", "folder:pictures", "--quick") == 2
    assert "differs in ['quick']." in capsys.readouterr().err
    assert main("--folds", "4", "--data", "folder:pictures") == 0
    assert capsys.readouterr().out.startswith("2 folds, jax ")


def test_a_folder_is_no_file_of_values(tmp_path, capsys):
    def never(seed, options):
        raise AssertionError("it was run")

    assert fake()._replace(one_seed=never).main(["--out", str(tmp_path)]) == 2
    assert "`--out` must be a file, as in" in capsys.readouterr().err


def test_lines_keep_a_number_and_its_unit():
    text = "x" * 107 + " max-blur 96.7 % and more"
    assert wrap(text, "  ") == ["x" * 107 + " max-blur", "  96.7 % and more"]


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_its_words_are_those_of_its_values(experiment):
    assert all(experiment.section(heading) for heading in HEADINGS)
    assert experiment.section("Command").startswith(f"python -m {experiment.module}")
    source = (index.HERE / f"{experiment.name}.py").read_text()
    for heading in ("Result", "Cost"):
        assert index.with_section(source, heading, index.generated(experiment, heading)) == source
    if experiment.path.exists():
        document = json.loads(experiment.path.read_text())
        assert not document["quick"] and experiment.path.with_suffix(".png").stat().st_size > 10_000


def test_the_index_is_made_from_the_values():
    assert (index.HERE / "README.md").read_text() == index.readme()
    assert index.readme_results() in README.read_text()
    assert index.results() in RESULTS.read_text()
    document = json.loads(complaints.EXPERIMENT.path.read_text())
    assert complaints.readme(document) in README.read_text()
    assert complaints.table(document) in SPEED.read_text()


def test_the_readme_s_rows_are_experiments_and_complaints():
    assert set(index.IN_README) <= {experiment.name for experiment in ALL}
    assert set(complaints.IN_README) <= set(complaints.COMPLAINTS)


# take ten seconds and more; the others go through the same form
LONG = {"depth_degradation", "lecun1989", "pooling_kinds", "regularization", "resnet_cifar", "scaling"}
LONG |= {"allcnn", "capacity", "complaints", "gray_or_color", "padding_edges", "shift_invariance", "tdnn_speech"}
LONG |= {"face_detection", "masks_against_pytorch", "tasks_against_pytorch", "transfer_digits", "vanishing_gradients"}
LONG |= {"zip_codes"}


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in LONG else []) for one in ALL],
)
def test_its_short_form_runs(experiment, tmp_path, capsys):
    if experiment.name in ("exported_models", "masks_against_pytorch", "tasks_against_pytorch"):
        pytest.importorskip("torch")
    out = tmp_path / "found.json"
    code = experiment.main(["--quick", "--seeds", "0", "--out", str(out)])
    said = capsys.readouterr().err.strip()
    if code == 2 and "JAXCNN_DATA_DIR" in said:
        pytest.skip(said)
    assert code == 0, said
    document = json.loads(out.read_text())
    assert document["quick"] and document["tables"] and out.with_suffix(".png").stat().st_size > 10_000
