"""Weights into a network: all of them or, unless asked otherwise, none."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jaxcnn.weights.files import Stored, check_real
from jaxcnn.weights.layouts import Entry
from jaxcnn.weights.runs import read_any
from jaxcnn.weights.schemes import SCHEMES, entries, leaves, objection, shape_of

_NAMED = 3  # of each kind, in an error
# what checkpoints hold beside weights
_IGNORED = ("num_batches_tracked", "step")
_IGNORED_GROUPS = ("opt_state", "optimizer")


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of every weight of a file and of a network; prints as a table."""

    file: Path
    scheme: str  # whose names the file has
    matched: tuple[tuple[str, str], ...]  # name in the file, and path in the network
    missing: tuple[str, ...] = ()  # names that the network asks for and the file has not
    unexpected: tuple[str, ...] = ()  # names that the file has and the network does not know
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()  # name, shape in the file, shape wanted

    @property
    def complete(self) -> bool:
        """Whether every weight of the file found its place, and every place its weight."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def problems(self) -> dict[str, tuple[str, ...]]:
        """What keeps it from being complete, in words, by kind."""
        wrong = tuple(f"{name} {found} for {wanted}" for name, found, wanted in self.wrong_shape)
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of wrong shape": wrong}
        return {kind: names for kind, names in kinds.items() if names}

    def __str__(self) -> str:
        rows = [("matched", name, path) for name, path in self.matched]
        rows += [("missing", name, "") for name in self.missing]
        rows += [("unexpected", name, "") for name in self.unexpected]
        rows += [("wrong shape", name, f"{found}, wanted {wanted}") for name, found, wanted in self.wrong_shape]
        wide = max(len(name) for _, name, _ in rows)
        lines = [f"{kind:11s}  {name:{wide}s}  {path}".rstrip() for kind, name, path in rows]
        return "\n".join([f"{self.file}, {self.scheme} names: {self.counts()}", *lines])

    def counts(self) -> str:
        """How many of each kind, in words."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of wrong shape": self.wrong_shape}
        return ", ".join([f"{len(self.matched)} matched", *(f"{len(n)} {kind}" for kind, n in kinds.items() if n)])


def load(model: nnx.Module, file: str | Path, *, strict: bool = True) -> Report:
    """Gives a network the weights of a file, whose naming scheme is found out.

    Args:
      model: the network; it is left as it was if anything is wrong.
      file: `.safetensors`, `.npz`, a run folder; or with PyTorch installed `.pt`, `.pth`, `.th`, of which only tensors
        are read. Nothing that a file says is ever run.
      strict: whether to refuse a file that does not match the network in every weight. Without it, weights that match
        are loaded and the others stay, as for another head.

    Returns:
      What was matched, missing, unexpected, and of wrong shape.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, holds no weights of such a network, or does not match it.
      ImportError: if it needs PyTorch, which is not installed.
    """
    return put(model, read_any(file), strict=strict)


def put(model: nnx.Module, stored: Stored, *, strict: bool = True) -> Report:
    """As `load`, of a file that has been read."""
    scheme, wanted = _recognise(model, stored)
    names = {_canonical(name): name for name in stored.arrays}
    ours, ready = leaves(model), {}
    matched, missing, wrong, used = [], [], [], set()
    for entry in wanted:
        name = names.get(_canonical(entry.name))
        less = None if entry.less is None else names.get(_canonical(entry.less))
        used |= {name, less}
        if name is None:
            missing.append(entry.name)
            continue
        array, expected = stored.arrays[name], shape_of(entry, ours[entry.path])
        bias = None if less is None else stored.arrays[less]
        if array.shape != expected:
            wrong.append((name, array.shape, expected))
        elif less is not None and bias is not None and bias.shape != expected:
            wrong.append((less, bias.shape, expected))
        else:
            check_real(stored.path, name, array)
            if less is not None and bias is not None:
                check_real(stored.path, less, bias)
                array = array.astype(np.float32) - bias.astype(np.float32)
            ready[entry.path] = entry.layout.read(array)
            matched.append((name, entry.path))
    unexpected = [name for name in stored.arrays if name not in used and not _ignored(_canonical(name))]
    report = Report(stored.path, scheme, tuple(matched), tuple(missing), tuple(unexpected), tuple(wrong))
    if strict:
        _check_complete(model, report)
    _update(model, {path: _like(array, ours[path]) for path, array in ready.items()})
    return report


def _recognise(model: nnx.Module, stored: Stored) -> tuple[str, list[Entry]]:
    """The scheme that shares most names with the file."""
    there = {_canonical(name) for name in stored.arrays}
    known = {scheme: found for scheme in SCHEMES if (found := entries(model, scheme)) is not None}
    shared = {scheme: sum(_canonical(e.name) in there for e in found) for scheme, found in known.items()}
    best = max(shared, key=lambda scheme: shared[scheme])  # of equals the first
    if not shared[best]:
        first = next(iter(stored.arrays))
        raise ValueError(
            f"{stored.path} must hold weights of a {type(model).__name__}; "
            f"none of its {len(there)} names is one of that network's, the first is {first}."
        )
    return best, known[best]


def _check_complete(model: nnx.Module, report: Report) -> None:
    found = objection(model, report.scheme)
    if found is not None and report.complete:
        raise ValueError(f"{report.file} has {report.scheme} weights, for which {found}.")
    if not report.complete:
        parts = "; ".join(f"{kind}: {_few(names)}" for kind, names in report.problems().items())
        raise ValueError(
            f"{report.file} must match the {type(model).__name__} in every weight, unless strict=False; {parts}."
        )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _canonical(name: str) -> str:
    return name.replace("/", ".")


def _ignored(name: str) -> bool:
    first, _, last = name.partition(".")[0], None, name.rpartition(".")[2]
    return last in _IGNORED or first in _IGNORED_GROUPS


def _like(array: np.ndarray, leaf: jax.Array) -> jax.Array:
    """An array in dtype and place of the one that it replaces."""
    return jax.device_put(array.astype(leaf.dtype), leaf.sharding)


def _update(model: nnx.Module, arrays: dict[str, jax.Array]) -> None:
    state = nnx.to_flat_state(nnx.state(model))
    flat = {"/".join(map(str, path)): (path, leaf) for path, leaf in state}
    changed = [(flat[path][0], flat[path][1].replace(array)) for path, array in arrays.items()]
    nnx.update(model, nnx.from_flat_state(changed))
