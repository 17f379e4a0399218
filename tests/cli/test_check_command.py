"""`jaxcnn check`: the table, the file, the exit status."""

import json
import re

import jax
import pytest

from jaxcnn import ops
from jaxcnn.ops import cases

OP = "mean_squared_error"  # one case, quick


@pytest.fixture(autouse=True)
def as_a_user_has_it():
    """The command configures JAX for itself; strict promotion is this suite's."""
    with jax.numpy_dtype_promotion("standard"):
        yield
    cases.cases.cache_clear()


def test_every_op_is_proven():
    """No op can be forgotten: all of them, but the reference's and those that give no gradient, have a case."""
    public = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert public - set(cases.WITHOUT_GRADIENT) == {case.op for case in cases.cases()}


def test_one_op_is_proven_and_told(jaxcnn, tmp_path):
    outcome = jaxcnn("check", "--op", OP, "--json", tmp_path / "found.json")
    assert outcome.status == 0, outcome
    line = next(line for line in outcome.out.splitlines() if OP in line)
    assert line.split()[1] == "1" and line.split()[-1] == "proven"
    (report,) = json.loads((tmp_path / "found.json").read_text())
    kinds = {finding["kind"] for finding in report["findings"]}
    assert {"Jacobian, differences", "Jacobian, reference", "second order", "jit", "pmap"} <= kinds
    assert all(finding["passed"] and not finding["skipped"] for finding in report["findings"])


def test_a_wrong_rule_ends_with_status_1(jaxcnn, monkeypatch):
    right = ops.mean_squared_error

    @jax.custom_vjp
    def wrong(x, y):
        return right(x, y)

    wrong.defvjp(lambda x, y: (right(x, y), (x, y)), lambda kept, e: ((kept[0] - kept[1]) * e.mean(), kept[1] * 0))
    monkeypatch.setattr(
        ops, "mean_squared_error", lambda x, y, rule="hand": wrong(x, y) if rule == "hand" else right(x, y, rule=rule)
    )
    outcome = jaxcnn("check", "--op", OP)
    assert outcome.status == 1
    assert "1 FAILED" in outcome.out and "d/d(argument 0)" in outcome.out and "expected" in outcome.out


@pytest.mark.slow
def test_the_work_is_shared_among_processes(spawn, tmp_path):
    process = spawn("check", "--op", "softmax_cross_entropy", "--jobs", "2", cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "proven" in out and not err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--op", "convolve"), "`op` must be one of adaptive_avg_pool, .*; got 'convolve'."),
        (("--op", OP, "--jobs", "0"), "`jobs` must be positive; got 0."),
        (
            ("--op", OP, "--json", "/no/such/folder/x.json"),
            "`json` must lie in a folder that exists; got '/no/such/folder/x.json'.",
        ),
    ],
)
def test_bad_arguments_give_one_line(jaxcnn, arguments, message):
    outcome = jaxcnn("check", *arguments)
    assert outcome.status == 2
    assert re.search(message, outcome.err) and len(outcome.err.splitlines()) == 1
