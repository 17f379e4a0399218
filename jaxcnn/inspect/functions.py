"""Splits a function of images into a static function and arrays.

The function may be any; it reads the arrays.
"""

import inspect
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import jax
from flax import nnx
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxcnn.by_hand import by_hand
from jaxcnn.by_hand.arguments import Taken, taken_apart
from jaxcnn.by_hand.rewriting import Rewriter
from jaxcnn.by_hand.stages import Stage, run, stages
from jaxcnn.by_hand.transform import known_of

Model = nnx.Module | Callable[..., Any]
"""A network: a Flax NNX module, or any function of images that gives logits."""


def names_stages(model: Any) -> bool:
    """Whether a network names its stages by `model(images, capture=True)`.

    Other networks need not.
    """
    return isinstance(model, nnx.Module) and "capture" in inspect.signature(type(model).__call__).parameters


def evaluating(model: nnx.Module) -> Any:
    """Returns a copy of a network in evaluation mode."""
    copy = nnx.clone(model)
    copy.eval()
    return copy


# A function is traced anew whenever it is asked about, for what it closes over may have been trained since. What is
# compiled for it is found again by its trace: the arrays that it closes over are arguments.


class Program:
    """A traced function of images.

    Equal to another that computes the same.

    Args:
      key: identifies the function, since a trace does not show its custom derivative rules.
      traced: its jaxpr, a function of the arrays in the callable and the images.
      replaced: the operations that `by_hand` found in it.
    """

    def __init__(self, key: Hashable, traced: ClosedJaxpr, replaced: frozenset[str] = frozenset()):
        self.stages: dict[str, Stage] = stages(traced)  # the values inside, by name
        self.replaced = replaced
        self._jaxpr = traced.jaxpr
        self._key = key, str(traced.jaxpr), tuple(self.stages.items())
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self._hash == other._hash and self._key == other._key

    def __call__(self, state: Any, images: Any) -> Any:
        """Calls the function with images."""
        return jaxpr_as_fun(self._closed(state))(*state[1], images)[0]

    def stages_of(self, state: Any, images: Any, at: Iterable[str]) -> list[jax.Array]:
        """Computes the values of some stages."""
        return run(self._closed(state), [*state[1], images], [self.stages[name] for name in at])[1]

    def from_stage(self, state: Any, images: Any, at: str, value: Any) -> Any:
        """Computes the function's result from this value of a stage."""
        return run(self._closed(state), [*state[1], images], given={self.stages[at]: value})[0][0]

    def _closed(self, state: Any) -> ClosedJaxpr:
        return ClosedJaxpr(self._jaxpr, state[0])


def program_of(fun: Callable[..., Any], images: Any) -> tuple[Program, Any]:
    """Traces a function.

    Returns the trace, and the arrays that it reads.

    Raises:
      TypeError: if it cannot be called.
      ValueError: if it does not return logits, one row per image.
    """
    if not callable(fun):
        raise TypeError(f"`model` must be a network, or a function of images; got {fun!r}.")
    known = known_of(fun)
    inner = fun if known is None else known.fun
    inner = evaluating(inner) if isinstance(inner, nnx.Module) else inner
    taken = taken_apart((inner,), {})

    def called(arrays: Any, images: Any) -> Any:
        (function,), _ = taken.put_together(arrays)
        return function(images)

    kind = jax.ShapeDtypeStruct(images.shape, images.dtype)
    traced, given = jax.make_jaxpr(called, return_shape=True)(taken.arrays, kind)
    shape = getattr(given, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != kind.shape[0]:
        raise ValueError(
            f"`model` must return logits, ({kind.shape[0]}, classes) for {kind.shape[0]} images; "
            f"got {type(given).__name__ if shape is None else shape}."
        )
    if known is None:
        return Program(_identity(inner, taken), traced), (list(traced.consts), taken.arrays)
    rewriter = Rewriter(known.rules)
    program = Program(
        (_identity(inner, taken), *known.rules.items()),
        rewriter.rewrite(traced),
        frozenset(seen.operation.op for seen in rewriter.seen),
    )
    return program, (list(traced.consts), taken.arrays)


def with_names(model: Model) -> Model:
    """Returns a network with named stages.

    A module that does not name them becomes a function.
    """
    return by_hand(model, rule="autodiff") if isinstance(model, nnx.Module) and not names_stages(model) else model


def _identity(fun: Callable[..., Any], taken: Taken) -> Hashable:
    """Identifies a function, without keeping its weights alive."""
    if taken.arrays:  # a network that is a tree of arrays, as those of Equinox
        key = taken.key()
        return object() if key is None else key
    try:
        reference: Any = weakref.WeakMethod(fun) if inspect.ismethod(fun) else weakref.ref(fun)
        hash(reference)
    except TypeError:
        return object()
    return reference


def name_of(model: Any) -> str:
    """Returns the name of a network for error messages."""
    return type(model).__name__ if isinstance(model, nnx.Module) else getattr(model, "__name__", type(model).__name__)
