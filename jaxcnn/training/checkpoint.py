"""Checkpoints of everything a run needs to go on, by Orbax: whole or not at all, and proven when they are read."""

import contextlib
import errno
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.training.parallel import any_process, is_first, is_key, process_barrier
from jaxcnn.training.step import TrainState


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message says why and which one is still good."""


class Restored(NamedTuple):
    """What a checkpoint held."""

    state: TrainState
    position: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints in a folder, numbered by step.

    They are written in the background, and put under their name when they are whole. With each goes a sum over the
    bits of every array; what does not add up when it is read was damaged on the way, and the one before it is used.

    Args:
      folder: where they are; made if missing.
      keep: how many stay, the newest ones, and the best one beside them.
    """

    def __init__(self, folder: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax reports every file; failures come as exceptions
        _hush_what_was_given_up()
        self._ocp = ocp
        self._kept = _NewestAndBest(keep)
        self.folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(preservation_policy=self._kept, create=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest(self) -> int | None:
        """The step of the newest checkpoint."""
        return self._manager.latest_step()

    def last_good(self) -> str:
        """Where a run that fails now can be taken up, in words."""
        step = self.latest()
        if step is None:
            return "no checkpoint was written before"
        return f"the last good checkpoint is step {step} in {self.folder.parent}"

    def save(self, state: TrainState, position: dict[str, Any], best: int | None = None) -> None:
        """Begins to write a checkpoint; the arrays are copied before this returns.

        Args:
          state: all arrays.
          position: all else, plain values.
          best: the step of the best checkpoint, which stays.

        Raises:
          CheckpointError: if this one or the one before it could not be written.
        """
        self._kept.best = best
        told = {"position": position, "shapes": _shapes(state), "sums": _sums_by_path(state)}
        items = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(_without_keys(state)), position=self._ocp.args.JsonSave(told)
        )
        with self._writing():
            self._manager.save(int(state.step), args=items)

    def restore(self, like: TrainState, step: int | None = None, *, aside: bool = False) -> Restored:
        """Reads a checkpoint, by default the newest that is whole.

        Args:
          like: a state of the same structure; its shapes, dtypes and devices are those of the result.
          step: which checkpoint.
          aside: moves damaged ones out of the way, into `damaged/` beside the folder.

        Raises:
          ValueError: if there is none, none is whole, or it does not fit.
        """
        there = sorted(self._manager.all_steps(), reverse=True) if step is None else [step]
        if not there:
            raise ValueError(f"{self.folder} must hold a checkpoint; it holds none.")
        for number in there:
            found, damage = self._read(number, like)
            if not any_process(damage is not None) and found is not None:
                return found
            warnings.warn(f"checkpoint {number} in {self.folder} is damaged ({damage}).", RuntimeWarning, stacklevel=3)
            if aside:
                self._set_aside(number)
        raise ValueError(f"{self.folder} must hold a checkpoint that is whole; all of {there} are damaged.")

    def wait(self) -> None:
        """Waits until what was begun is written.

        Raises:
          CheckpointError: if it could not be.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
          CheckpointError: if it could not be.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def _read(self, step: int, like: TrainState) -> tuple[Restored | None, str | None]:
        """What a checkpoint holds, or in what way it is damaged."""
        args, wanted = self._ocp.args, _shapes(like)
        try:
            told = self._manager.restore(step, args=args.Composite(position=args.JsonRestore()))["position"]
            position, shapes, sums = told["position"], told["shapes"], told["sums"]
        except Exception as error:  # whatever Orbax and the readers below it make of broken bytes
            return None, _brief(error)
        wrong = sorted(k for k in shapes.keys() | wanted.keys() if shapes.get(k) != wanted.get(k))
        if wrong:
            raise ValueError(
                f"checkpoint {step} in {self.folder} does not fit the network; "
                f"{wrong[0]} is {shapes.get(wrong[0])} in the one, {wanted.get(wrong[0])} in the other."
            )
        abstract = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, _without_keys(like))
        try:
            restored = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(abstract)))["state"]
        except Exception as error:
            return None, _brief(error)
        state = _with_keys(restored, like)
        found = _sums_of_read(state)
        changed = [path for path in sums if sums[path] != found[path]]
        if changed:
            return None, f"the bits of {changed[0]} do not add up"
        return Restored(state, position, step), None

    def _set_aside(self, step: int) -> None:
        if is_first():
            place = self.folder.parent / "damaged"
            place.mkdir(exist_ok=True)
            number = sum(path.name.split("-")[0] == str(step) for path in place.iterdir())
            os.rename(self.folder / str(step), place / (f"{step}-{number}" if number else str(step)))
        process_barrier("set aside")
        self._manager.reload()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            text = _brief(error)
            full = [code for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)]
            if not full and not isinstance(error, OSError):
                raise
            reason = os.strerror(full[0]) if full else text
            raise CheckpointError(f"{self.folder} must take a checkpoint; {reason}, {self.last_good()}.") from None


class _NewestAndBest:
    """Which checkpoints stay; Orbax asks after each that it has written."""

    def __init__(self, newest: int):
        self.newest = newest
        self.best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer for each checkpoint, oldest first."""
        del context
        old = len(checkpoints) - self.newest
        return [place >= old or info.step == self.best for place, info in enumerate(checkpoints)]


@functools.cache
def _hush_what_was_given_up() -> None:
    """When an array fails, Orbax gives up the others, which end later; each would print a page."""
    before = sys.unraisablehook

    def hook(report: Any) -> None:
        if not str(report.exc_value).startswith(("Encountered error while reading", "Event loop is closed")):
            before(report)

    sys.unraisablehook = hook


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).partition(". ")[0].rstrip(".")[:200]


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _shapes(state: TrainState) -> dict[str, list]:
    """Shape and dtype of every array, by its path."""
    return {path: [*leaf.shape, str(leaf.dtype)] for path, leaf in _by_path(_without_keys(state)).items()}


def _sums_by_path(state: TrainState) -> dict[str, int]:
    leaves = _by_path(_without_keys(state))
    sums = np.asarray(sums_on_device(list(leaves.values())))
    return dict(zip(leaves, sums.tolist(), strict=True))


@jax.jit
def sums_on_device(leaves: list[jax.Array]) -> jax.Array:
    """A sum over the bits of each array, modulo 2**32.

    Every word counts an odd number of times, so that no change of a single one is lost; and a sum of integers is the
    same in any order, so that it does not depend on the devices that hold the array.
    """
    return jnp.stack([_sum(leaf) for leaf in leaves])


def _sum(leaf: jax.Array) -> jax.Array:
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    width = min(leaf.dtype.itemsize, 4)
    words = jax.lax.bitcast_convert_type(leaf, {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[width]).astype(jnp.uint32)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * place + 1), dtype=jnp.uint32)


def _sums_of_read(state: TrainState) -> dict[str, int]:
    """The same, without compiling where this process holds all of the state, so that reading does not take long."""
    leaves = _by_path(_without_keys(state))
    if all(leaf.is_fully_addressable for leaf in leaves.values()):
        return {path: sum_on_host(np.asarray(leaf)) for path, leaf in leaves.items()}
    return _sums_by_path(state)


def sum_on_host(array: np.ndarray) -> int:
    """What `sums_on_device` gives for an array, by NumPy."""
    flat = np.ascontiguousarray(array).reshape(-1)
    words = flat.view(f"u{min(flat.dtype.itemsize, 4)}").astype(np.uint32)
    return int((words * (2 * np.arange(len(words), dtype=np.uint32) + 1)).sum(dtype=np.uint32))


def _without_keys(state: TrainState) -> TrainState:
    """Random keys as the integers behind them, which any reader of the file understands."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, state)


def _with_keys(state: TrainState, like: TrainState) -> TrainState:
    def wrap(leaf: jax.Array, model: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(model)) if is_key(model) else leaf

    return jax.tree.map(wrap, state, like)
