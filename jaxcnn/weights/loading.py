"""Loads weights into a network, by default all or none."""

import dataclasses
import warnings
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jaxcnn.weights.files import Stored, check_real
from jaxcnn.weights.parts import Choice, canonical, choices, comes_last, few, part_of, summary, under
from jaxcnn.weights.runs import read_any
from jaxcnn.weights.schemes import SCHEMES, entries, leaves, objection, shape_of

# what checkpoints hold beside weights: PyTorch's count of batches, which is not told of, and what is
_COUNTED = ("num_batches_tracked",)
_BESIDE = ("step", "n_averaged", "initted")
_BESIDE_GROUPS = ("opt_state", "optimizer")


@dataclasses.dataclass(frozen=True)
class Report:
    """The fate of every weight of a file and a network.

    It prints as a table.

    Args:
      file: the file.
      scheme: the naming scheme of the file.
      matched: pairs of the name in the file and the path in the network.
      missing: names that the network needs and the file does not have.
      unexpected: names in the file that the network does not have.
      wrong_shape: triples of the name, the shape in the file and the shape in the network.
      part: key in the file under which the weights are, as `"state_dict"`; the names are those below it.
      other_parts: other keys with weights of such a network; `load(..., part=...)` loads them.
      passed_over: other entries of the file.
      alike: other parts that fit equally well, if their names do not show which one was trained.
    """

    file: Path
    scheme: str
    matched: tuple[tuple[str, str], ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    part: str = ""
    other_parts: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether file and network have the same weights and shapes."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def problems(self) -> dict[str, tuple[str, ...]]:
        """Describes in words, by kind, why it is not complete."""
        wrong = tuple(f"{name} {shape} for {wanted}" for name, shape, wanted in self.wrong_shape)
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of wrong shape": wrong}
        return {kind: names for kind, names in kinds.items() if names}

    def __str__(self) -> str:
        rows = [("matched", name, path) for name, path in self.matched]
        rows += [("missing", name, "") for name in self.missing]
        rows += [("unexpected", name, "") for name in self.unexpected]
        rows += [("wrong shape", name, f"{shape}, wanted {wanted}") for name, shape, wanted in self.wrong_shape]
        rows += [("passed over", name, "") for name in self.passed_over]
        wide = max(len(name) for _, name, _ in rows)
        lines = [f"{kind:11s}  {name:{wide}s}  {path}".rstrip() for kind, name, path in rows]
        return "\n".join([f"{self.file}, {self.scheme} names: {self.counts()}", *self.source(), *lines])

    def source(self) -> list[str]:
        """Describes the loaded part of the file, and the alternatives.

        These are lines; there are none if there was no choice.
        """
        lines = [f"taken: {self.part}"] if self.part else []
        return lines + [f"there too, for part={part!r}: weights of such a network" for part in self.other_parts]

    def counts(self) -> str:
        """Describes in words the number of weights of each kind."""
        problems = [f"{len(names)} {kind}" for kind, names in self.problems().items()]
        return ", ".join([f"{len(self.matched)} matched", *problems])


def load(model: nnx.Module, file: str | Path, *, strict: bool = True, part: str | None = None) -> Report:
    """Loads the weights of a file into a network.

    The naming scheme of the file is detected.

    Args:
      model: the network; if an error is raised, it stays unchanged.
      file: `.safetensors`, `.npz` or a run folder; with PyTorch installed also `.pt`, `.pth` and `.th`, of which only
        tensors are read. The format of `.pth.tar`, `.ckpt` and `.bin` is found by their content. Code in a file is
        never run.
      strict: whether to refuse a file that does not match the network in every weight. If False, the weights that match
        are loaded and the others stay, for instance for another head.
      part: key in the file under which the weights are, as `"model_ema"`. By default the usual keys of training
        programs are tried. If several parts fit equally well, moving averages, copies that follow a network, and
        initial weights come last; if the names do not tell them apart, the first is loaded, with a warning.

    Returns:
      The weights that matched, are missing, unexpected, or have a wrong shape; the part that was loaded, and the
      entries that were ignored.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, has no weights of such a network, or none in that part, or does not match it.
      ImportError: if it needs PyTorch, which is not installed.
    """
    report = put(model, read_any(file), strict=strict, part=part)
    warn_of_others(report, part, stacklevel=3)
    return report


def warn_of_others(report: Report, part: str | None, stacklevel: int) -> None:
    """Warns if another part of the file fits equally well."""
    others = [repr(label) for label in report.alike if under(label, part)]
    if others:
        warnings.warn(
            f"{report.file} holds weights that fit as well in {few([repr(report.part), *others])}, and "
            f"{report.part!r}, the first, was taken; `part=` names another.",
            stacklevel=stacklevel,
        )


def put(model: nnx.Module, stored: Stored, *, strict: bool = True, part: str | None = None) -> Report:
    """The same as `load`, for a file that is already read."""
    taken, others, alike = _choose(model, stored, part)
    scheme, wanted = taken.scheme, entries(model, taken.scheme) or []
    here = part_of(stored.arrays, taken.label)
    names = {canonical(name): name for name in reversed(here.arrays)}  # of two that mean the same the first
    ours, ready = leaves(model), {}
    matched, missing, wrong, used = [], [], [], set()
    for entry in wanted:
        name = names.get(canonical(entry.name))
        less = None if entry.less is None else names.get(canonical(entry.less))
        used |= {name, less}
        if name is None:
            missing.append(entry.name)
            continue
        array, expected = here.arrays[name], shape_of(entry, ours[entry.path])
        bias = None if less is None else here.arrays[less]
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
    left = [name for name in here.arrays if name not in used and not canonical(name).endswith(_COUNTED)]
    unexpected = [name for name in left if not _is_beside(canonical(name))]
    beside = [*summary([name for name in left if name not in unexpected], ""), *summary(here.beside, taken.label)]
    report = Report(
        *(stored.path, scheme, tuple(matched), tuple(missing), tuple(unexpected), tuple(wrong)),
        part=canonical(taken.label),
        other_parts=others,
        passed_over=(*beside, *stored.others),
        alike=alike,
    )
    if strict:
        _check_complete(model, report)
    _update(model, {path: _like(array, ours[path]) for path, array in ready.items()})
    return report


def _choose(model: nnx.Module, stored: Stored, part: str | None) -> tuple[Choice, tuple[str, ...], tuple[str, ...]]:
    """Finds the part and scheme with most of the network's weights.

    Returns:
      Part and scheme, other parts with weights, and equally good parts.
    """
    known = {scheme: listed for scheme in SCHEMES if (listed := entries(model, scheme)) is not None}
    ours = leaves(model)
    wanted = {
        scheme: {canonical(e.name): shape_of(e, ours[e.path]) for e in listed} for scheme, listed in known.items()
    }
    candidates = choices(stored.arrays, wanted)
    if not candidates:
        first = next(iter(stored.arrays))
        raise ValueError(
            f"{stored.path} must hold weights of a {type(model).__name__}; "
            f"none of its {len(stored.arrays)} names is a name of that network; the first is {first}."
        )
    labels = dict.fromkeys(canonical(choice.label) for choice in candidates if choice.most or choice is candidates[0])
    taken = next((choice for choice in candidates if under(choice.label, part)), None)
    if taken is None:
        if list(labels) == [""]:
            raise ValueError(f"`part` must not be given for {stored.path}, whose weights are not nested; got {part!r}.")
        there = few(repr(label) if label else "'' (the top of the file)" for label in labels)
        raise ValueError(f"`part` must be one in which {stored.path} has such weights, {there}; got {part!r}.")
    others = tuple(label for label in labels if label != canonical(taken.label))
    good = {canonical(choice.label) for choice in candidates if _goodness(choice) == _goodness(taken)}
    return taken, others, tuple(label for label in others if label in good)


def _goodness(choice: Choice) -> tuple[int, int, bool]:
    return choice.fitting, choice.named, comes_last(choice.label)


def _check_complete(model: nnx.Module, report: Report) -> None:
    reason = objection(model, report.scheme)
    if reason is not None and report.complete:
        raise ValueError(f"{report.file} has {report.scheme} weights, for which {reason}.")
    if not report.complete:
        parts = "; ".join(f"{kind}: {few(names)}" for kind, names in report.problems().items())
        raise ValueError(
            f"{report.file} must match the {type(model).__name__} in every weight, unless strict=False; {parts}."
        )


def _is_beside(name: str) -> bool:
    return name.rpartition(".")[2] in _BESIDE or name.partition(".")[0] in _BESIDE_GROUPS


def _like(array: np.ndarray, leaf: jax.Array) -> jax.Array:
    """An array as the one that it replaces.

    It has its dtype, and is on its devices.
    """
    return jax.device_put(array.astype(leaf.dtype), leaf.sharding)


def _update(model: nnx.Module, arrays: dict[str, jax.Array]) -> None:
    state = nnx.to_flat_state(nnx.state(model))
    flat = {"/".join(map(str, path)): (path, leaf) for path, leaf in state}
    changed = [(flat[path][0], flat[path][1].replace(array)) for path, array in arrays.items()]
    nnx.update(model, nnx.from_flat_state(changed))
