"""Where in a file a network's weights are: checkpoints wrap them, put words before names, and keep more beside."""

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

    label: str  # the words before their names, as in the file, with dots; "" for those at the top
    arrays: dict[str, np.ndarray]  # by their names after the label
    beside: tuple[str, ...] = ()  # the names of all other arrays


class Choice(NamedTuple):
    """A part of a file whose names are of a network, in one of the schemes."""

    label: str
    scheme: str
    fitting: int  # names that the network has, of the same shape
    named: int  # names that it has
    most: bool  # of the network's names


def canonical(name: str) -> str:
    """A name with dots, and without what wrappers of modules put into it."""
    return _joined(word for word, _ in _words(name))


def choices(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Mapping[str, Shape]]) -> list[Choice]:
    """The parts that may hold a network's weights, the best first; of equals those trained last come first.

    Args:
      arrays: all of a file.
      wanted: by scheme, the network's names, canonical, and their shapes.

    Returns:
      Parts at the top or under a key that training programs use, if they share a name with the network; others if they
      share most.
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
    found = [
        Choice(label, scheme, fitting[label, scheme], count, 2 * count > len(wanted[scheme]))
        for (label, scheme), count in named.items()
    ]

    def rank(x: Choice) -> tuple[int, ...]:
        place = (
            places[canonical(x.label)],
            -len(x.label),
        )  # of "model" and "model.module" the one that holds less beside
        return -x.fitting, -x.named, comes_last(x.label), *place, order.index(x.scheme)

    return sorted((x for x in found if x.most or _is_key(canonical(x.label))), key=rank)


def part_of(arrays: Mapping[str, np.ndarray], label: str) -> Part:
    """The arrays under a label."""
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
    """The labels under which there is a name of a kind, in the order in which they are to be tried."""
    found: dict[str, None] = {}
    for name in arrays:
        words = [word for word, _ in _words(name)]
        found |= {".".join(words[:cut]): None for cut in range(len(words)) if has(_joined(words[cut:]))}
    return sorted(found, key=comes_last)


def under(label: str, part: str | None) -> bool:
    """Whether a label is the part that was asked for, or within it."""
    if part is None:
        return True
    label, asked = canonical(label), canonical(part)
    return label == asked or (asked != "" and label.startswith(f"{asked}."))


def comes_last(label: str) -> bool:
    """Whether a label is of averages, of copies that follow a network, or of what it began with."""
    return not _LAST.isdisjoint(_split(label))


def summary(names: Sequence[str], label: str) -> list[str]:
    """Names of arrays that are not under a label, those under a common key in one line."""
    groups: dict[str, list[str]] = {}
    taken = label.split(".") if label else []
    for name in names:
        words = [word for word, _ in _words(name)]
        shared = next((i for i, (a, b) in enumerate(zip(words, taken, strict=False)) if a != b), 0)
        groups.setdefault(".".join(words[: shared + 1]), []).append(name)
    return [found[0] if len(found) == 1 else f"{key}.* ({len(found)} arrays)" for key, found in groups.items()]


def few(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _words(name: str) -> list[tuple[str, int]]:
    """The words of a name, and where each begins."""
    return [(match[0], match.start()) for match in re.finditer(r"[^./]+", name)]


def _joined(words: Iterable[str]) -> str:
    return ".".join(word for word in words if word not in _INERT)


def _is_key(label: str) -> bool:
    return not label or _split(label) <= _KEYS | _AVERAGED


def _split(label: str) -> set[str]:
    """The words of which keys are made, as "ema" and "model" of `ema_model`, `modelEMA` and `EmaModel`."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", label)}
