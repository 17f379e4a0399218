"""A trace holds the steps that were asked for, however the run ends."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.training.profiler import Profile


@jax.jit
def work(x):
    return x @ x / 100


def run(folder, first, steps, last, fail_at=None):
    x = jnp.ones((64, 64))
    with Profile(folder, first, steps) as profile:
        for step in range(1, last + 1):
            profile.before(step)
            if step == fail_at:
                raise RuntimeError("stop")
            x = work(x)
            profile.after(step, x)


def recorded(folder):
    """The steps that the folder's one trace marks."""
    (trace,) = folder.rglob("*.trace.json.gz")
    (planes,) = folder.rglob("*.xplane.pb")
    assert planes.stat().st_size
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return [int(event["args"]["step_num"]) for event in events if event.get("name") == "train"]


def test_the_steps_asked_for_are_recorded(tmp_path):
    run(tmp_path / "profile", 3, 2, last=6)
    assert recorded(tmp_path / "profile") == [3, 4]


def test_a_run_that_ends_early_leaves_a_whole_trace(tmp_path):
    run(tmp_path, 2, 100, last=3)
    assert recorded(tmp_path) == [2, 3]


def test_a_run_that_fails_leaves_a_whole_trace(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        run(tmp_path, 2, 100, last=5, fail_at=3)
    assert 2 in recorded(tmp_path)


def test_steps_that_are_never_reached_leave_nothing(tmp_path):
    run(tmp_path / "profile", 7, 2, last=3)
    assert not (tmp_path / "profile").exists()


def test_another_trace_can_follow(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name, 1, 1, last=2)
        assert recorded(tmp_path / name) == [1]


def test_no_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`steps` must be positive; got 0."):
        Profile(tmp_path, 1, 0)
