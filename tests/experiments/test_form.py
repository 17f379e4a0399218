"""What experiments share; each one's words are those of its values, and its short form runs."""

import argparse
import json

import pytest

from experiments import index
from experiments.form import HEADINGS, Claim, Experiment, result_lines, spread, summarised

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


def fake(tmp_path, **changes):
    from matplotlib.figure import Figure

    def one_seed(seed, options):
        return {"height, m": {"tree": {"old": 2000.0 + seed, "young": 1 / 3}, "bush": {"old": 1.0}}}

    def claims(document):
        return [Claim("trees are higher than bushes", True, "2,000 to 1", "all", "0")]

    return Experiment("experiments.fake", DOC, one_seed, claims, lambda document: Figure(), **changes)


def options(**changes):
    return argparse.Namespace(**{"seeds": [0, 2], "quick": True, "out": None, "add": False} | changes)


def test_values_of_every_seed_become_means_and_spreads():
    runs = {seed: {"error, %": {"a": {"x": 90.0 + seed, "y": 99.0}}} for seed in (2, 0)}
    found = summarised(runs)["error, %"]["a"]
    assert found["x"] == {"values": [90.0, 92.0], "mean": 91.0, "standard_deviation": 1.414}
    assert spread(found["x"]) == "91 ± 1.4" and spread(found["y"]) == "99"


def test_counts_keep_all_digits():
    runs = {seed: {"parameters": {"a": {"x": 60_965_224, "y": 1_234_567.8}}} for seed in (0, 1)}
    cells = summarised(runs)["parameters"]["a"]
    assert cells["x"]["mean"] == 60_965_224 and spread(cells["x"]) == "60,965,224"
    assert spread(cells["y"]) == "1,234,570"


def test_words_are_made_from_values(tmp_path):
    document = fake(tmp_path).run(options())
    head, claim, _, *table = result_lines(fake(tmp_path), document)
    assert head.startswith("2 seeds, jax ")
    assert claim == "- Holds: trees are higher than bushes (2,000 to 1; published: all; gap: 0)."
    assert table[0] == "| height, m | old | young |" and table[2] == "| tree | 2,001 ± 1.4 | 0.3333 |"
    assert table[3] == "| bush | 1 |  |"
    written = index.with_section(f'"""{DOC}"""', "Result", ["New", "", "words"])
    assert "Result:\n  New\n\n  words\n\nCommand:" in written and "Old" not in written
    assert fake(tmp_path).section("Hypothesis") == "Two is more." and fake(tmp_path).section("Cost") == "Nothing."


def test_seeds_are_added_to_those_of_the_same_versions(tmp_path, capsys):
    out = tmp_path / "found.json"
    first = fake(tmp_path).run(options(out=out))
    again = fake(tmp_path).run(options(out=out, add=True, seeds=[2, 5]))
    assert first["seeds"] == [0, 2] and again["seeds"] == [0, 2, 5]
    assert again["tables"]["height, m"]["tree"]["old"]["values"] == [2000.0, 2002.0, 2005.0]
    assert out.with_suffix(".png").exists()
    out.write_text(json.dumps(first | {"python": "2.7"}))
    assert fake(tmp_path).main(["--add", "--out", str(out)]) == 2
    assert "differs in ['python']." in capsys.readouterr().err


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


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_its_short_form_runs(experiment, tmp_path, capsys, monkeypatch):
    out = tmp_path / "found.json"
    code = experiment.main(["--quick", "--seeds", "0", "--out", str(out)])
    if code == 2 and "JAXCNN_DATA_DIR" in (said := capsys.readouterr().err):
        pytest.skip(said.strip())
    assert code == 0
    document = json.loads(out.read_text())
    assert document["quick"] and document["tables"] and out.with_suffix(".png").stat().st_size > 10_000
