"""Finds a network's weights in a file.

Checkpoints nest them under keys, and contain other entries besides.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]

# what wrappers of modules put into names, at whatever depth: DataParallel, torch.compile, FSDP, Fabric
_INERT = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
# the words of which training programs make the keys under which weights are, as in `model_state_dict`
_KEYS = {"model", "net", "network", "online", "params", "state", "dict", "weights"}
# the words for weights that are not those that were trained last: averages and copies that follow, and beginnings
_AVERAGED = {"average", "averaged", "averages", "averaging", "avg", "ema", "moving", "polyak", "shadow", "swa"}
_LAST = _AVERAGED | {"target", "teacher", "init", "initial"}
_DEEPEST = 8  # words before a name
_FEW = 3


class Part(NamedTuple):
    """The weights of one network in a file."""

    label: str  # the prefix of their names in the file, with dots; "" if they are not nested
    arrays: dict[str, np.ndarray]  # by their names after the prefix
    beside: tuple[str, ...] = ()  # the names of all other arrays


class Choice(NamedTuple):
    """A part of a file with a network's names.

    The names are in one of the schemes.
    """

    label: str
    scheme: str
    fitting: int  # number of names that the network also has, with the same shape
    named: int  # number of names that the network also has
    most: bool  # whether these are most of the network's names


def canonical(name: str) -> str:
    """Returns a name with dots, and without wrappers' prefixes.

    Wrappers of modules add these.
    """
    return _joined(word for word, _ in _words(name))


def choices(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Mapping[str, Shape]]) -> list[Choice]:
    """Finds a file's parts that may be weights, best first.

    Among equally good parts, those that were trained come before averages and initial weights.

    Args:
      arrays: all arrays of the file.
      wanted: for each scheme, the canonical names of the network, with their shapes.

    Returns:
      The parts that are not nested, or nested under a usual key of training programs, if they share a name with the
      network; other parts only if they share most of its names.
    """
    known: dict[str, list[tuple[str, Shape]]] = {}
    for scheme, shapes in wanted.items():
        for name, shape in shapes.items():
            known.setdefault(name, []).append((scheme, shape))
    fitting, named = Counter[tuple[str, str]](), Counter[tuple[str, str]]()  # in the order of the file
    for name, array in arrays.items():
        words = [word for word, _ in _words(name)]
        for cut in range(min(len(words), _DEEPEST + 1)):
            for scheme, shape in known.get(_joined(words[cut:]), ()):
                key = ".".join(words[:cut]), scheme
                named[key] += 1
                fitting[key] += array.shape == shape
    order = list(wanted)
    places = {canonical(label): place for place, (label, _) in reversed(list(enumerate(named)))}
    candidates = [
        Choice(label, scheme, fitting[label, scheme], count, 2 * count > len(wanted[scheme]))
        for (label, scheme), count in named.items()
    ]

    def rank(x: Choice) -> tuple[int, ...]:
        place = (
            places[canonical(x.label)],
            -len(x.label),
        )  # of "model" and "model.module" the one that holds less beside
        return -x.fitting, -x.named, comes_last(x.label), *place, order.index(x.scheme)

    return sorted((x for x in candidates if x.most or _is_key(canonical(x.label))), key=rank)


def part_of(arrays: Mapping[str, np.ndarray], label: str) -> Part:
    """Returns the arrays under a label."""
    depth = len(label.split(".")) if label else 0
    inside, beside = {}, []
    for name, array in arrays.items():
        words = _words(name)
        if len(words) > depth and ".".join(word for word, _ in words[:depth]) == label:
            inside[name[words[depth][1] :]] = array
        else:
            beside.append(name)
    return Part(label, inside, tuple(beside))


def holders(arrays: Mapping[str, np.ndarray], has: Callable[[str], bool]) -> list[str]:
    """Returns the labels under which a name fulfills `has`, in order."""
    labels: dict[str, None] = {}
    for name in arrays:
        words = [word for word, _ in _words(name)]
        labels |= {".".join(words[:cut]): None for cut in range(len(words)) if has(_joined(words[cut:]))}
    return sorted(labels, key=comes_last)


def under(label: str, part: str | None) -> bool:
    """Whether a label is the requested part, or inside it."""
    if part is None:
        return True
    label, asked = canonical(label), canonical(part)
    return label == asked or (asked != "" and label.startswith(f"{asked}."))


def comes_last(label: str) -> bool:
    """Whether a label is one to try last.

    It is that of averages, of copies that follow a network, or of initial weights.
    """
    return not _LAST.isdisjoint(_split(label))


def summary(names: Sequence[str], label: str) -> list[str]:
    """Lists the names of arrays that are not under a label.

    Those under a common key share one line.
    """
    groups: dict[str, list[str]] = {}
    taken = label.split(".") if label else []
    for name in names:
        words = [word for word, _ in _words(name)]
        shared = next((i for i, (a, b) in enumerate(zip(words, taken, strict=False)) if a != b), 0)
        groups.setdefault(".".join(words[: shared + 1]), []).append(name)
    return [members[0] if len(members) == 1 else f"{key}.* ({len(members)} arrays)" for key, members in groups.items()]


def few(names: Iterable[str]) -> str:
    """Formats the first few names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _words(name: str) -> list[tuple[str, int]]:
    """The words of a name, and the position of each."""
    return [(match[0], match.start()) for match in re.finditer(r"[^./]+", name)]


def _joined(words: Iterable[str]) -> str:
    return ".".join(word for word in words if word not in _INERT)


def _is_key(label: str) -> bool:
    return not label or _split(label) <= _KEYS | _AVERAGED


def _split(label: str) -> set[str]:
    """The words in a key.

    They are "ema" and "model" in `ema_model`, `modelEMA` and `EmaModel`.
    """
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", label)}
