"""PyTorch's files: tensors by name, from any saved structure.

Reading does not run code from the file.
"""

import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocol 2 has the names of Python 2
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

# what checkpoints hold of Python's own; whatever else of it a file names could only be there to be called
_HARMLESS = {"argparse", "collections", "copyreg", "datetime", "decimal", "enum", "pathlib", "types", "uuid"}
_HARMLESS_BUILTINS = {"builtins." + name for name in ("complex", "frozenset", "object", "range", "set", "slice")}
_USUAL = ("torch.", "collections.", "builtins.", "_codecs.")  # named in every file
_DEEPEST = 6  # wrappers round wrappers
_HOW_TO_SAVE = "where that code is, torch.save(model.state_dict(), 'weights.pth') writes what can be read"


def import_torch(path: Path) -> Any:
    """Imports PyTorch, if it is installed and its reader is safe.

    Raises:
      ImportError: if it is not installed, or older than 2.6, whose restricted reader is not safe (CVE-2025-32434).
    """
    try:
        import torch
    except ImportError:
        raise ModuleNotFoundError(
            f"{path} needs PyTorch: pip install 'jaxcnn[torch]', or convert it where PyTorch is installed."
        ) from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise ImportError(f"{path} needs PyTorch 2.6, whose reader runs no code; got {torch.__version__}.")
    return torch


def unpickled(path: Path) -> Any:
    """Reads a file by PyTorch's restricted reader.

    Inert objects replace those that are neither tensors nor plain.

    Raises:
      ValueError: if it is damaged, or names a function that can only be there to attack.
    """
    torch = import_torch(path)
    names = _named(path)
    traps = sorted(name for name in names if _is_trap(name))
    if traps:
        raise ValueError(f"it names {traps[0]}, which cannot be part of weights")
    standing_in = [(_stand_in(name), name) for name in sorted(names)]  # those that the reader knows itself go before
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(standing_in):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # the reader's own reason stands behind a page of advice
        told = re.search(r"WeightsUnpickler error: (.*)", str(error))
        reason = (told[1].strip() if told else "") or "it is damaged"
        if reason.startswith("Unsupported operand"):
            reason = "its pickle is none of torch.save with the protocol that is its default"
        elif foreign := sorted(name for name in names if not name.startswith(_USUAL)):
            reason = f"it holds a {foreign[0]}, which only its code could restore; {_HOW_TO_SAVE}"
        raise ValueError(reason) from None


def tensors(content: Any) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns all tensors in nested dictionaries, and other entries' names.

    Raises:
      ValueError: if there is no tensor, or one that is not plain.
    """
    import torch

    if what := _stands_for(content):
        raise ValueError(f"it is a pickled {what}, which only its code could restore; {_HOW_TO_SAVE}")
    arrays: dict[str, np.ndarray] = {}
    others: dict[str, Any] = {}
    for name, value in _walk(content, torch.Tensor):
        if isinstance(value, torch.Tensor):
            arrays[name] = _from_torch(torch, value)
        else:
            others[name] = value
    if not arrays:
        for name, value in others.items():
            if what := _stands_for(value):
                raise ValueError(f"{name} is a pickled {what}, which only its code could restore; {_HOW_TO_SAVE}")
        raise ValueError(f"it holds {_told(content, others)}")
    return arrays, tuple(others)


def _told(content: Any, others: Mapping[str, Any]) -> str:
    """Describes in words what there is instead of tensors by name."""
    kind = type(content).__name__
    if names := ", ".join(filter(None, others))[:60]:
        return f"a {kind} of {names}"
    if not isinstance(content, Mapping):
        return f"a {kind}, which gives tensors no names"
    strange = next((key for key in content if not isinstance(key, str)), None)
    return f"an empty {kind}" if strange is None else f"a {kind} with the key {strange!r}, which is no name"


def _walk(content: Any, kind: type, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The tensors in nested dictionaries; other values as single entries.

    Each value that is no such dictionary is one entry. The keys in the state of an optimizer are numbers, so it is one
    entry.
    """
    if isinstance(content, Mapping) and all(isinstance(key, str) for key in content) and depth < _DEEPEST:
        inner = [
            leaf
            for key, value in content.items()
            for leaf in _walk(value, kind, f"{name}.{key}" if name else key, depth + 1)
        ]
        if not depth or any(isinstance(value, kind) for _, value in inner):
            yield from inner
            return
    yield name, content


def _from_torch(torch: Any, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class _Swallowed(dict[str, Any]):
    """An inert object's attributes, which ignores any state it gets."""

    def update(self, *state: Any, **more: Any) -> None:
        """Ignores its arguments."""


def _stand_in(name: str) -> type:
    """Makes inert objects in place of a class or function.

    It is one that is not imported.
    """

    def make(*arguments: Any, **more: Any) -> OrderedDict[Any, Any]:
        del arguments, more
        inert: OrderedDict[Any, Any] = OrderedDict()  # exactly this type, or the reader sets no items in it
        inert.__dict__ = _Swallowed(stands_for=name)
        return inert

    return type(name, (), {"__new__": make})


def _stands_for(value: Any) -> str | None:
    """The name of what an inert object replaces.

    It is a class or function; the result is None for any other object.
    """
    if isinstance(value, OrderedDict) and isinstance(vars(value), _Swallowed):
        return vars(value)["stands_for"]
    return value.__name__ if isinstance(value, type) and "." in value.__name__ else None


def _is_trap(name: str) -> bool:
    top = name.partition(".")[0]
    harmless = top in _HARMLESS or name in _HARMLESS_BUILTINS or name in ("_codecs.encode", "builtins.bytearray")
    return top in sys.stdlib_module_names and not harmless


def _named(path: Path) -> set[str]:
    """The classes and functions that a file names, without importing."""
    names: set[str] = set()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith("data.pkl"):
                        with archive.open(member) as file:
                            names |= set(_globals(file))
        else:
            with path.open("rb") as file:  # as before 1.6: magic number, version, system, content, keys of the storages
                for _ in range(5):
                    names |= set(_globals(file))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        pass  # the reader itself tells what is wrong
    return names


def _globals(file: IO[bytes]) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            yield f"{module}.{name}"
