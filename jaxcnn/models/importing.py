"""Imports and calls the function that makes a user's own network.

The function is given by its name.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from flax import nnx

GIVEN = ("num_classes", "in_features", "rngs")  # what data and seed determine


def is_own(name: Any) -> bool:
    """Whether a name has the form of `my_module:make_network`.

    Such a name is that of a function or class in a module.
    """
    return isinstance(name, str) and ":" in name


def imported(name: str) -> Callable[..., Any]:
    """Imports the function or class that makes a network.

    Args:
      name: `module:function`; the module is found as `import` finds it.

    Raises:
      ValueError: if there is no such module, or no such function in it, or the module cannot be imported.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise ValueError(f"`name` of a network of your own must be MODULE:FUNCTION; got {name!r}.")
    if module_name.split(".")[0] in sys.stdlib_module_names:  # a run folder of a stranger may name them
        raise ValueError(f"`name` must be of a module with a network; got {name!r}, which is Python's own.")
    try:
        item = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        lacking = error.name or ""
        if module_name != lacking and not module_name.startswith(f"{lacking}."):
            raise  # something that the module itself needs
        where = "run in the folder that holds it, or put that folder into PYTHONPATH"
        raise ValueError(
            f"`name` must be of a module that can be imported; no {lacking!r} for {name!r}: {where}."
        ) from None
    except Exception as error:  # whatever the code of others raises
        told = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
        raise ValueError(f"{module_name!r} must be a module that can be imported; {told}.") from error
    for part in path.split("."):
        if not hasattr(item, part):
            there = [key for key, value in vars(item).items() if callable(value) and not key.startswith("_")]
            has = f"it has {', '.join(there[:8])}" if there else "it has none"
            raise ValueError(f"{module_name!r} must have the function {path!r}; {has} ({item.__file__}).")
        item = getattr(item, part)
    if not callable(item):
        raise ValueError(f"{name!r} must be a function or class that makes a network; got {type(item).__name__}.")
    return item


def options_taken(constructor: Callable[..., Any]) -> tuple[str, ...]:
    """Names a constructor's parameters that neither data nor seed determine."""
    return tuple(sorted(set(_parameters(constructor)) - set(GIVEN)))


def made(name: str, constructor: Callable[..., Any], given: dict[str, Any], options: dict[str, Any]) -> nnx.Module:
    """Calls a constructor with the given values that it takes.

    Raises:
      TypeError: if it does not return a Flax NNX module.
    """
    taken = _parameters(constructor)
    model = constructor(**{key: value for key, value in given.items() if key in taken}, **options)
    if not isinstance(model, nnx.Module):
        raise TypeError(f"{name!r} must return a flax.nnx.Module; got {type(model).__name__}.")
    return model


def _parameters(constructor: Callable[..., Any]) -> tuple[str, ...]:
    function = constructor.__init__ if inspect.isclass(constructor) else constructor  # NNX hides a class's signature
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(key for key, p in inspect.signature(function).parameters.items() if p.kind in kinds and key != "self")
