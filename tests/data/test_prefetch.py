"""Batches made ahead are those of `train_batch`, from memory or a stream, by threads or processes that clean up."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from jaxcnn import data


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    """40 pictures that carry their number."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        path = root / "train" / str(number % 2) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (number, 2 * number, 255 - number)).save(path)
    return f"folder:{root}"


@pytest.fixture(scope="module")
def both(pictures) -> tuple[data.Dataset, data.Dataset]:
    """In memory, and as a stream."""
    memory, stream = (data.load(pictures, "train", stream=stream) for stream in (False, True))
    return memory, stream


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y, strict=True)


def ahead(dataset, *arguments, **options) -> list[data.Batch]:
    with data.batches_ahead(dataset, 7, 5, *arguments, **options) as batches:
        return list(batches)


@pytest.mark.parametrize(("start", "stop"), [(0, 12), (4, 7), (33, 35), (3, 3)])
def test_the_order_is_that_of_train_batch_from_any_start(both, start, stop):
    """5 steps an epoch: several epochs, the end of one, a late one, nothing."""
    expected = [data.train_batch(both[0], 7, 5, step) for step in range(start, stop)]
    for dataset in both:
        assert_equal(ahead(dataset, start, stop, workers=0), expected)
    assert all((batch.images[:, 0, 0, 0] == both[0].images[batch.ids, 0, 0, 0]).all() for batch in expected)


def test_processes_read_what_threads_read(both):
    expected = [data.train_batch(both[0], 7, 5, step) for step in range(2, 11)]
    for workers in (1, 2):
        assert_equal(ahead(both[1], 2, 11, workers=workers, rows=slice(1, 6)), cut(expected, slice(1, 6)))


def cut(batches, rows):
    return [data.Batch(*(field[rows] for field in batch)) for batch in batches]


@pytest.mark.parametrize("size", [8, 80])
def test_two_halves_of_the_rows_are_the_whole(both, size):
    for dataset in both:
        dataset = dataset.pick(np.resize(np.arange(40), 90))
        whole = [data.train_batch(dataset, size, 0, step) for step in range(1, 4)]
        parts = []
        for rows in (slice(0, size // 2), slice(size // 2, size)):
            with data.batches_ahead(dataset, size, 0, 1, 4, rows=rows, workers=0) as batches:
                parts.append(list(batches))
        joined = [data.Batch(*map(np.concatenate, zip(a, b, strict=True))) for a, b in zip(*parts, strict=True)]
        assert_equal(joined, whole)


@pytest.mark.parametrize("rows", [slice(None), slice(0, 8), slice(8, 16)])
def test_evaluation_of_a_stream_and_of_rows(both, rows):
    expected = [*data.eval_batches(both[0], 16)]
    assert expected[-1].ids.tolist() == [*range(32, 40)] + [-1] * 8
    for dataset in both:
        assert_equal(list(data.eval_batches(dataset, 16, rows=rows)), cut(expected, rows))


def test_leaving_early_ends_the_threads(both):
    before = set(threading.enumerate())
    for dataset in both:
        with data.batches_ahead(dataset, 4, 0, 0, 10_000, workers=0) as batches:
            next(batches)
        next(iter(data.eval_batches(dataset, 4)))
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before


def test_batches_are_made_before_they_are_asked_for(both):
    seen = []

    class Watched(np.ndarray):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    watched = both[0]._replace(images=both[0].images.view(Watched))
    with data.batches_ahead(watched, 4, 0, 0, 100, ahead=3):
        deadline = time.monotonic() + 10
        while len(seen) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(seen) == 4, "three wait, the fourth is in hand"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_goes_or_breaks_meanwhile_is_named(tmp_path, workers):
    path = tmp_path / "train" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    Image.effect_noise((6, 4), 50).save(path)
    dataset = data.load(f"folder:{tmp_path}", "train", stream=True)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(FileNotFoundError) as gone, data.batches_ahead(dataset, 1, 0, 0, 9, workers=workers) as batches:
        next(batches)
    assert str(gone.value) == f"{path} must not be moved or deleted while it is in use; it no longer exists."
    path.write_bytes(content[:60])
    with pytest.raises(ValueError) as broken, data.batches_ahead(dataset, 1, 0, 0, 9, workers=0) as batches:
        next(batches)
    assert str(broken.value).startswith(f"{path} must be a whole picture; reading it failed: ")


def test_a_worker_that_is_ended_is_one_sentence(both):
    with pytest.raises(RuntimeError) as caught, data.batches_ahead(both[1], 4, 0, 0, 10_000, workers=1) as batches:
        next(batches)
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        for _ in batches:
            pass
    assert str(caught.value) == "a worker process that decodes pictures was killed, perhaps because memory ran out."


def test_numbers_below_zero_are_refused(both):
    for options in ({"workers": -1}, {"start": -1}):
        arguments = {"start": 0, "stop": 3} | options
        name, value = next(iter(options.items()))
        with pytest.raises(ValueError, match=f"`{name}` must not be negative; got {value}."):
            with data.batches_ahead(both[0], 4, 0, **arguments):
                pass


def test_without_grain_a_stream_says_what_to_install(both, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        list(data.eval_batches(both[1], 4))
    assert str(caught.value) == "`grain` is needed to stream; install it with: pip install 'jaxcnn[stream]'."
    assert len(ahead(both[0], 0, 3)) == 3


SCRIPT = """
    import sys
    from jaxcnn import data

    print("started", flush=True)
    dataset = data.load(sys.argv[1], "train", stream=True)
    with data.batches_ahead(dataset, 8, 0, 0, 10**6, workers=2) as batches:
        for number, batch in enumerate(batches):
            if number == 20:
                print("running", flush=True)
                if sys.argv[2] == "end":
                    break
"""


@pytest.fixture
def script(tmp_path):
    """A script without `if __name__ == "__main__"`, as students write it."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_a_script_ends_quietly_with_its_workers(script, pictures):
    found = subprocess.run([sys.executable, script, pictures, "end"], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (0, "started\nrunning\n", "")


def test_a_killed_trainer_leaves_no_worker(script, pictures):
    with subprocess.Popen([sys.executable, script, pictures, "go"], stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        assert [trainer.stdout.readline() for _ in range(2)] == ["started\n", "running\n"]
        children = psutil.Process(trainer.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
        mapped = [{part.path for part in worker.memory_maps()} for worker in workers]
        assert not any("tensorflow" in path for paths in mapped for path in paths)
        os.kill(trainer.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        for child in alive:
            child.kill()
        assert not alive


def test_what_threads_compute_comes_in_order_and_not_far_ahead():
    asked = []

    def items():
        for item in range(40):
            asked.append(item)
            yield item

    def slow(item):
        time.sleep(0.002 * (item % 3))
        return 2 * item

    found = data.mapped_ahead(slow, items(), ahead=4)
    assert [next(found) for _ in range(3)] == [0, 2, 4]
    assert len(asked) <= 3 + 4
    assert list(found) == [2 * item for item in range(3, 40)]


def test_an_error_in_a_thread_is_raised_where_its_result_is_missed():
    found = data.mapped_ahead(lambda item: 1 // item, [2, 1, 0, 1], ahead=2)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_nobody_waits_for_what_is_left_behind():
    found = data.mapped_ahead(lambda item: item, range(10**9), ahead=3)
    assert next(found) == 0
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
