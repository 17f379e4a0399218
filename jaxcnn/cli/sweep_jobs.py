"""The processes of a sweep.

Each trains one trial after the other.

A trial that exhausts the memory ends its process only.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.cli.stopping import StopRequested
from jaxcnn.cli.sweep_plan import Plan
from jaxcnn.cli.sweep_search import decide
from jaxcnn.cli.sweep_trials import Work, claimed, note_death, progress, train
from jaxcnn.training import keep_memory
from jaxcnn.training.lock import is_held

_PAUSE = 0.3  # seconds between two looks at what others do


class Said(NamedTuple):
    """A message of a process of the sweep.

    Args:
      what: `begun`, `row` or how a trial's training ended.
      folder: that of the trial.
      row: a row of its log.
    """

    what: str
    folder: Path
    row: dict[str, Any]


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection
    slot: int


def work(out: Path, stop: StopRequested, say: Callable[[Said], None]) -> None:
    """Trains what is open until nothing is left, or a stop.

    Args:
      out: folder of the sweep.
      stop: asked after every step, and between trials.
      say: called with every message.
    """
    while not stop():
        plan, where = progress(out)
        if where.over:
            return
        if not any(_try(plan, some, stop, say) for some in where.open):
            chosen = where.undecided and decide(out)
            if not chosen:
                time.sleep(_PAUSE)  # others have claimed what is open


def _try(plan: Plan, some: Work, stop: StopRequested, say: Callable[[Said], None]) -> bool:
    """Trains a trial if it is free. Returns whether it was."""
    folder = some.trial.folder
    with claimed(folder) as free:
        if not free or is_held(folder):  # by `jaxcnn train --resume`
            return False
        say(Said("begun", folder, {}))
        how = train(plan, some, stop, lambda row: say(Said("row", folder, row)))
        say(Said(how, folder, {}))
        return how != "busy"


def _in_process(out: Path, pipe: Connection) -> None:
    """What a process of the sweep does."""
    keep_memory()
    with StopRequested() as stop:
        threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()

        def say(message: Said) -> None:
            with contextlib.suppress(OSError):  # the parent is gone, and the other thread stops this process
                pipe.send(message)

        work(out, stop, say)


def _end_with_parent(pipe: Connection) -> None:
    """Stops this process when that which started it is gone."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()  # nothing is ever sent
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(out: Path, jobs: int, stop: StopRequested, hear: Callable[[Said], None]) -> None:
    """Runs the processes of a sweep.

    Args:
      out: folder of the sweep.
      jobs: number of processes.
      stop: what tells of signals.
      hear: called with every message; `died` and `given up` tell of a process that ended.

    Raises:
      RuntimeError: if a process ends before it begins a trial.
    """
    workers = [_started(out, slot, jobs) for slot in range(jobs)]
    at: dict[int, Path] = {}  # the trial of each slot
    asked = False
    try:
        while workers:
            ready = wait([some for worker in workers for some in (worker.pipe, worker.process.sentinel)], _PAUSE)
            if stop() and not asked:
                asked = True
                for worker in workers:
                    worker.process.terminate()  # with a checkpoint
            for worker in list(workers):
                if worker.pipe in ready:
                    _hear_all(worker, at, hear)
                if worker.process.sentinel in ready and not worker.process.is_alive():
                    _hear_all(worker, at, hear)
                    workers.remove(worker)
                    worker.pipe.close()
                    if worker.process.exitcode and not asked:
                        _mourn(worker, at.pop(worker.slot, None), hear)
                        workers.append(_started(out, worker.slot, jobs))
    finally:
        for worker in workers:
            worker.process.kill()  # which no trial minds
            worker.process.join()


def _hear_all(worker: _Worker, at: dict[int, Path], hear: Callable[[Said], None]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while worker.pipe.poll():
            message = worker.pipe.recv()
            if message.what == "begun":
                at[worker.slot] = message.folder
            elif message.what != "row":
                at.pop(worker.slot, None)
            hear(message)


def _mourn(worker: _Worker, folder: Path | None, hear: Callable[[Said], None]) -> None:
    """Notes that a process died in a trial."""
    code = worker.process.exitcode or 0
    why = f"ended with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
    if folder is None:
        raise RuntimeError(f"a process of the sweep {why}, before it began a trial.")
    hear(Said("given up" if note_death(folder, why) else "died", folder, {}))


def _started(out: Path, slot: int, jobs: int) -> _Worker:
    """Starts a process, with its share of the machine."""
    context = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would not have
    ours, theirs = context.Pipe()
    process = context.Process(target=_in_process, args=(out, theirs), name=f"sweep-{slot}")
    with _share(slot, jobs), _without_ctrl_c():
        process.start()
    theirs.close()
    return _Worker(process, ours, slot)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Starts a process that Ctrl-C does not reach.

    A terminal sends it to all processes; this one tells the others.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _share(slot: int, jobs: int) -> Iterator[None]:
    """Gives a new process its share of cores and GPUs."""
    if jobs == 1:
        yield
        return
    before = dict(os.environ)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    try:
        os.environ |= environment(slot, jobs, os.cpu_count() if not cores else len(cores), _gpus())
        if cores:
            os.sched_setaffinity(0, part(cores, slot, jobs))
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        os.environ.clear()
        os.environ |= before


def part(cores: list[int], slot: int, jobs: int) -> list[int]:
    """Returns the cores of one process.

    If there are fewer cores than processes, some share one.
    """
    own = cores[slot * len(cores) // jobs : (slot + 1) * len(cores) // jobs]
    return own or [cores[slot % len(cores)]]


def environment(slot: int, jobs: int, cores: int | None, gpus: list[str]) -> dict[str, str]:
    """Returns the environment of one process: its threads and its GPU.

    Args:
      slot: number of the process.
      jobs: number of the processes.
      cores: number of cores of all.
      gpus: names of the GPUs of all.
    """
    values = {"OMP_NUM_THREADS": str(max(1, (cores or 1) // jobs))}
    if gpus:
        values["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        sharing = -(-jobs // len(gpus))
        if sharing > 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            values["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / sharing:.3f}"
    return values


def _gpus() -> list[str]:
    """The names of NVIDIA's GPUs that this process may use."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    found = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number, _ in enumerate(found.iterdir())] if found.is_dir() else []
