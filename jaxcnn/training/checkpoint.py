"""Checkpoints of everything that a run needs to resume, by Orbax.

They are written atomically, and verified when read.
"""

import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcnn.training.files import CheckpointError, brief, unreadable, writing
from jaxcnn.training.integrity import broken, sealed, sums, sums_of_read
from jaxcnn.training.parallel import any_process, is_first, is_key, process_barrier
from jaxcnn.training.state import TrainState


class Restored(NamedTuple):
    """The content of a checkpoint."""

    state: TrainState
    position: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints in a folder, numbered by step.

    They are written in the background, and get their name when they are complete. Each contains a checksum of every
    array, and a digest of these checksums and of its other values. If they do not match when it is read, the checkpoint
    is damaged, and the one before it is used.

    Args:
      folder: the folder of the checkpoints; created if missing.
      keep: number of newest checkpoints to keep; the best one is kept in addition.
    """

    def __init__(self, folder: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        managers = ocp.checkpoint_managers
        self._ocp = ocp
        # the best by its step: `BestN` needs scores in the checkpoints, which those of older runs do not have
        self._kept = [managers.LatestN(keep), managers.CustomSteps(())]
        self._abandoned = False  # whether reading failed, and Orbax has left other arrays half read
        self.folder = folder.absolute()
        policy = managers.AnyPreservationPolicy(self._kept)
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, create=True)
        with contextlib.ExitStack() as opening:
            opening.enter_context(_ORBAX_IS_QUIET.silenced())
            self._manager = ocp.CheckpointManager(self.folder, options=options)
            self._open = opening.pop_all()

    def latest(self) -> int | None:
        """The step of the newest checkpoint."""
        return self._manager.latest_step()

    def last_good(self) -> str:
        """Describes the checkpoint from which a failing run can resume."""
        return _good(self.latest(), self.folder.parent)

    def last_written(self) -> str:
        """Describes the same after a failed write.

        The write before it may also have failed.
        """
        with contextlib.suppress(Exception):
            if jax.process_count() == 1:  # others would have to wait as well
                self._manager.wait_until_finished()
        return written_in(self.folder.parent)

    def save(self, state: TrainState, position: dict[str, Any], best: int | None = None) -> None:
        """Starts to write a checkpoint.

        The arrays are copied before this returns.

        Args:
          state: all arrays.
          position: all other values, which must be plain.
          best: the step of the best checkpoint, which is kept.

        Raises:
          CheckpointError: if this checkpoint or the one before it could not be written.
        """
        self._kept[1] = self._ocp.checkpoint_managers.CustomSteps(() if best is None else (best,))
        told = {"position": position, "shapes": _shapes(state), "sums": sums(_by_path(_without_keys(state)))}
        items = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(_without_keys(state)), position=self._ocp.args.JsonSave(sealed(told))
        )
        with self._writing():
            self._manager.save(int(state.step), args=items)

    def restore(self, like: TrainState, step: int | None = None, *, aside: bool = False) -> Restored:
        """Reads a checkpoint, by default the newest that is not damaged.

        Args:
          like: a state of the same structure; the result has its shapes, dtypes and devices.
          step: the step of the checkpoint to read.
          aside: whether to move damaged checkpoints that are newer than the result into `damaged/` beside the folder.

        Returns:
          The content of the checkpoint.

        Raises:
          CheckpointError: if the system cannot read a file, perhaps only for now; nothing is moved.
          ValueError: if there is no checkpoint, all are damaged, or it does not fit the network; nothing is moved.
        """
        damaged: list[int] = []
        gone: list[int] = []
        while True:
            there = self._manager.all_steps() if step is None else [step]
            left = [number for number in there if number not in damaged + gone]
            if not left:
                break
            number = max(left)
            restored, damage = self._read(number, like)
            if not any_process(damage is not None) and restored is not None:
                if aside:
                    self._set_aside(damaged)
                return restored
            if step is None and self._replaced(number, damaged):
                gone.append(number)
                continue
            told = f"checkpoint {number} in {self.folder} is damaged ({damage or 'another process says so'})."
            warnings.warn(told, RuntimeWarning, stacklevel=3)
            damaged.append(number)
        if not damaged:
            raise ValueError(f"{self.folder} must hold a checkpoint; it holds none.")
        raise ValueError(f"{self.folder} must hold an undamaged checkpoint; all of {damaged} are damaged.")

    def wait(self) -> None:
        """Waits until the checkpoint that was started is written.

        Raises:
          CheckpointError: if it could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is written, and closes the folder.

        Raises:
          CheckpointError: if something could not be written.
        """
        with self._open, self._writing(), contextlib.ExitStack() as last:
            last.callback(self._manager.close)
            self._manager.wait_until_finished()
            if self._abandoned:
                gc.collect()  # they complain when they are collected: now, while nobody listens

    def _read(self, step: int, like: TrainState) -> tuple[Restored | None, str | None]:
        """The content of a checkpoint, or a description of its damage."""
        args, wanted = self._ocp.args, _shapes(like)
        told, failure = self._try(step, position=args.JsonRestore())
        if failure is None:
            failure = broken(told)
        if any_process(failure is not None):
            return None, failure
        shapes = told["shapes"]
        wrong = sorted(k for k in shapes.keys() | wanted.keys() if shapes.get(k) != wanted.get(k))
        if wrong:
            raise ValueError(
                f"checkpoint {step} in {self.folder} does not fit the network; "
                f"{wrong[0]} is {shapes.get(wrong[0])} in the checkpoint, {wanted.get(wrong[0])} in the network."
            )
        abstract = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, _without_keys(like))
        restored, failure = self._try(step, state=args.StandardRestore(abstract))
        if any_process(failure is not None):
            return None, failure
        state = _with_keys(restored, like)
        read_sums = sums_of_read(_by_path(_without_keys(state)))
        changed = [path for path in read_sums if told["sums"][path] != read_sums[path]]
        if changed:
            return None, f"the bits of {changed[0]} do not add up"
        if int(state.step) != step:
            return None, f"its state is that of step {int(state.step)}"
        return Restored(state, told["position"], step), None

    def _try(self, step: int, **item: Any) -> tuple[Any, str | None]:
        """One item of a checkpoint, or why it cannot be read.

        Raises:
          CheckpointError: if the system cannot read it, in this process or in another.
        """
        content, failure, refused = None, None, None
        try:
            content = self._manager.restore(step, args=self._ocp.args.Composite(**item))[next(iter(item))]
        except Exception as error:  # whatever Orbax and the readers below it make of broken bytes
            failure, refused = brief(error), unreadable(self.folder / str(step), error)
            self._abandoned = True
        if any_process(refused is not None):
            why = refused or "another process could not"
            raise CheckpointError(f"checkpoint {step} in {self.folder} must be readable; {why}.")
        return content, failure

    def _replaced(self, step: int, damaged: list[int]) -> bool:
        """Whether a trainer has replaced a checkpoint while it was read."""
        self._manager.reload()
        newer = any(other > step and other not in damaged for other in self._manager.all_steps())
        return any_process(newer or not (self.folder / str(step)).exists())

    def _set_aside(self, steps: Sequence[int]) -> None:
        if is_first():
            place = self.folder.parent / "damaged"
            for step in steps:
                place.mkdir(exist_ok=True)
                number = sum(path.name.split("-")[0] == str(step) for path in place.iterdir())
                os.rename(self.folder / str(step), place / (f"{step}-{number}" if number else str(step)))
        if steps:
            process_barrier("set aside")
            self._manager.reload()

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.folder, "a checkpoint", self.last_written)


def written_in(run: Path) -> str:
    """Describes the checkpoint from which a failed run can resume.

    It is found by the content of the run's folder.
    """
    return _good(newest_step(run) or None, run)


def newest_step(run: Path) -> int:
    """Finds the newest checkpoint in a run's folder.

    Returns its step, or 0 if there is none.
    """
    return max((int(place.name) for place in (run / "checkpoints").glob("*") if place.name.isdigit()), default=0)


def _good(step: int | None, run: Path) -> str:
    return "no checkpoint was written before" if step is None else f"the last good checkpoint is step {step} in {run}"


class _Quiet:
    """Silences Orbax while a folder of checkpoints is open.

    It reports on every file, and on abandoned arrays. Failures come as exceptions. What others log, and other errors
    that cannot be raised, are printed as before.
    """

    def __init__(self):
        self._lock, self._open = threading.Lock(), 0

    @contextlib.contextmanager
    def silenced(self) -> Iterator[None]:
        """Silences Orbax until the last of these contexts ends."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                absl = logging.getLogger("absl")
                self._level, self._hook = absl.level, sys.unraisablehook
                absl.setLevel(logging.CRITICAL)
                sys.unraisablehook = self._unraisable
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:  # what somebody else has set in the meantime stays
                    if logging.getLogger("absl").level == logging.CRITICAL:
                        logging.getLogger("absl").setLevel(self._level)
                    if sys.unraisablehook == self._unraisable:
                        sys.unraisablehook = self._hook

    def _unraisable(self, report: Any) -> None:
        if not str(report.exc_value).startswith(("Encountered error while reading", "Event loop is closed")):
            self._hook(report)


_ORBAX_IS_QUIET = _Quiet()


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _shapes(state: TrainState) -> dict[str, list]:
    """The shape and dtype of every array, by its path."""
    return {path: [*leaf.shape, str(leaf.dtype)] for path, leaf in _by_path(_without_keys(state)).items()}


def _without_keys(state: TrainState) -> TrainState:
    """Converts random keys to integers, which every reader understands."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, state)


def _with_keys(state: TrainState, like: TrainState) -> TrainState:
    def wrap(leaf: jax.Array, model: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(model)) if is_key(model) else leaf

    return jax.tree.map(wrap, state, like)
