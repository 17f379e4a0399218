"""Makes batches in advance.

A thread makes them, and for streams threads or worker processes of Grain.
"""

import contextlib
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from jaxcnn.data.streams import Stream, cores

Item = TypeVar("Item")
Made = TypeVar("Made")
_PIECE = 32  # pictures that a thread decodes at a time
_END = object()


@contextlib.contextmanager
def in_background(items: Generator[Item, None, None], ahead: int) -> Iterator[Iterator[Item]]:
    """Makes up to `ahead` items in advance in a thread.

    An error there is raised by the iterator.
    """
    ready: queue.Queue = queue.Queue(max(1, ahead))
    left = threading.Event()

    def put(item: object) -> None:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=0.1)

    def make() -> None:
        try:
            with contextlib.closing(items):
                for item in items:
                    put((item, None))
                    if left.is_set():
                        return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    def take() -> Iterator[Item]:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread = threading.Thread(target=make, name="jaxcnn-batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        left.set()
        thread.join()


def mapped_ahead(function: Callable[[Item], Made], items: Iterable[Item], *, ahead: int) -> Generator[Made, None, None]:
    """Applies a function to every item, in threads, in order.

    Args:
      function: the function.
      items: its arguments.
      ahead: number of results that are computed in advance.

    Yields:
      The results, in the order of the items.
    """
    with ThreadPoolExecutor(min(cores(), 16)) as pool:
        coming: deque[Future[Made]] = deque()
        try:
            for item in items:
                coming.append(pool.submit(function, item))
                if len(coming) > ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


def decoded_ahead(
    images: Stream, numbers: Callable[[int], np.ndarray], start: int, stop: int, workers: int, ahead: int
) -> Generator[np.ndarray, None, None]:
    """Decodes batches of pictures in advance.

    They are `numbers(start)` to `numbers(stop - 1)`.

    Args:
      images: the stream of pictures.
      numbers: a function from a position to the numbers of the pictures of that batch; workers get a copy.
      start: the first position.
      stop: the position after the last.
      workers: number of processes that decode; 0 decodes in threads of this process.
      ahead: number of batches that each worker decodes in advance.

    Yields:
      `(B, H, W, C)` for each position.

    Raises:
      ModuleNotFoundError: if Grain is not installed.
      RuntimeError: if a worker process was killed.
    """
    try:
        import grain
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "`grain` is needed to stream; install it with: pip install 'jaxcnn[stream]'."
        ) from None
    size = len(numbers(start)) if start < stop else 0
    pieces = 1 if workers else max(1, -(-size // _PIECE))
    places = grain.MapDataset.source(_Pieces(images, numbers, start, stop, pieces))
    if workers:
        _settle_flags()
        held = size * images[0].nbytes * (workers * (ahead + 2) + 2)
        loaded = places.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
        loaded = grain.experimental.WithOptionsIterDataset(
            loaded, grain.experimental.DatasetOptions(min_shm_size=0 if held < _shared_memory() else sys.maxsize)
        )
        loaded = loaded.mp_prefetch(grain.MultiprocessingOptions(workers, max(1, ahead)), _start_worker)
    else:
        threads = min(cores(), 16)
        loaded = places.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + pieces))
    iterator = iter(loaded)
    try:
        with _no_main_module() if workers else contextlib.nullcontext():
            parts = [next(iterator)] if size else []
        for _ in range(start, stop):
            parts += [next(iterator) for _ in range(pieces - len(parts))]
            yield np.concatenate(parts)  # a copy, also out of memory that is shared with a worker
            parts = []
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise RuntimeError(
            "a worker process that decodes pictures was killed, perhaps because memory ran out."
        ) from None
    finally:
        with contextlib.suppress(AttributeError):
            iterator.close()


class _Pieces:
    """Decoded pieces of batches by number, as Grain expects.

    Grain's own `batch` knows no empty batches, which a process may have at the end of an evaluation.
    """

    def __init__(self, images: Stream, numbers: Callable[[int], np.ndarray], start: int, stop: int, pieces: int):
        self._images, self._numbers, self._start, self._stop, self._pieces = images, numbers, start, stop, pieces

    def __len__(self) -> int:
        return (self._stop - self._start) * self._pieces

    def __getitem__(self, index: int) -> np.ndarray:
        batch, piece = divmod(int(index), self._pieces)
        return self._images[np.array_split(self._numbers(self._start + batch), self._pieces)[piece]]


def _settle_flags() -> None:
    """Marks absl flags as parsed, which Grain needs.

    A program that has parsed them itself keeps its own.
    """
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _start_worker(index: int, count: int) -> None:
    """Starts a worker without output and without devices.

    It ends whenever the trainer ends.
    """
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer gets it too, and decides
    os.environ["JAX_PLATFORMS"] = "cpu"
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    trainer = multiprocessing.parent_process()

    def watch() -> None:
        if trainer is not None:
            trainer.join()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps processes started inside from running the trainer's script.

    They also print no warnings.
    """
    main, warned = sys.modules["__main__"], os.environ.get("PYTHONWARNINGS")
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if warned is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = warned


def _shared_memory() -> int:
    """The free bytes of shared memory, often few in containers."""
    return shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0
