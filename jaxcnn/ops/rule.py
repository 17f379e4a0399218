"""Gives an op its hand-written rule.

Where only JAX's own rule works, the error is clear.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxcnn.ops.arrays import choice

Rule = Literal["hand", "autodiff"]

SENTENCE = (
    "the hand-written rule is for reverse mode; for jvp, jacfwd or hessian pass rule='autodiff', "
    "to the op or to `jaxcnn.by_hand`, or use lax's own function where an op has no `rule`."
)


def select_rule(rule: str, *, hand: Callable[..., Any], autodiff: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function with the hand-written rule, or without.

    JAX differentiates the plain one.

    Raises:
      ValueError: if `rule` is neither `"hand"` nor `"autodiff"`.
    """
    return hand if choice("rule", rule, ("hand", "autodiff")) == "hand" else autodiff


def custom_vjp(*static: int) -> Callable[[Callable[..., Any]], Any]:
    """`jax.custom_vjp` as a decorator.

    The positions of arguments that are configuration, not arrays, are `static`. Under forward-mode differentiation the
    function raises an error that names the argument to pass instead.
    """
    return lambda function: _Ruled(jax.custom_vjp(function, nondiff_argnums=static), static)


class _Ruled:
    def __init__(self, function: Any, static: tuple[int, ...]):
        self._function = function
        self._static = static
        self.defvjp = function.defvjp

    def __call__(self, *args: Any) -> Any:
        operands = iter(backward_only([arg for at, arg in enumerate(args) if at not in self._static]))
        return self._function(*[arg if at in self._static else next(operands) for at, arg in enumerate(args)])


def def_sparing_vjp(function: Any, gradients: Callable[..., Any], *static: int) -> None:
    """Defines the rule of a function that `custom_vjp` returned.

    The rule is skipped where there is no cotangent. Without this, JAX passes zeros to the rule, and XLA computes with
    them.

    Args:
      function: a function that `custom_vjp` returned.
      gradients: a function of the static arguments, the tuple of the other arguments, and the cotangents; it returns
        the gradients of the other arguments.
      *static: the positions of the static arguments.
    """

    def forward(*args: Any) -> Any:
        values = [arg if at in static else jax.tree.map(lambda leaf: leaf.value, arg) for at, arg in enumerate(args)]
        return function(*values), tuple(value for at, value in enumerate(values) if at not in static)

    def backward(*args: Any) -> Any:
        *options, operands, errors = args
        leaves, tree = jax.tree.flatten(errors, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
        if all(isinstance(leaf, SymbolicZero) for leaf in leaves):
            return (None,) * len(operands)
        return gradients(*options, operands, jax.tree.unflatten(tree, map(_instantiated, leaves)))

    function.defvjp(forward, backward, symbolic_zeros=True)


def _instantiated(error: Any) -> jax.Array:
    if not isinstance(error, SymbolicZero):
        return error
    kind: Any = error.aval
    zeros, axes = jnp.zeros(kind.shape, kind.dtype), kind.manual_axis_type.varying
    return lax.pcast(zeros, tuple(sorted(axes)), to="varying") if axes else zeros


# While a rule is traced nobody knows whether a tangent will be transposed or computed: `jax.grad` of a `scan` pushes
# tangents forward too, as symbols, and then transposes what it has got. So the tangents that go into a rule pass an
# identity first. Its transpose is the identity, and mapped it is itself. Whatever would compute it, an operation alone
# or a compilation, comes to the sentence, before it comes to that of `jax.custom_vjp`, which names no way out; but for
# what is mapped in a compilation, where JAX's comes first.

_backward_only = Primitive("backward_only")
_backward_only.def_abstract_eval(lambda tangent: tangent)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(SENTENCE) from None


def _over_examples(tangents: Sequence[Any], axes: Sequence[Any]) -> tuple[Any, Any]:
    return _backward_only.bind(*tangents), axes[0]


_backward_only.def_impl(_refuse)
ad.primitive_jvps[_backward_only] = _refuse
ad.primitive_transposes[_backward_only] = lambda error, tangent: (error,)
batching.primitive_batchers[_backward_only] = _over_examples
mlir.register_lowering(_backward_only, _refuse)


@jax.custom_jvp
def _same(values: list[jax.Array]) -> list[jax.Array]:
    return values


def _same_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return primals[0], [t if isinstance(t, SymbolicZero) else _backward_only.bind(t) for t in tangents[0]]


_same.defjvp(_same_jvp, symbolic_zeros=True)


def backward_only(tree: Any) -> Any:
    """Returns a pytree that raises an error under forward-mode differentiation.

    Its floating arrays do so; it is otherwise the same.
    """
    leaves, structure = jax.tree.flatten(tree)
    places = [at for at, leaf in enumerate(leaves) if isinstance(leaf, Tracer) and _is_floating(leaf)]
    if places:  # what is no tracer is not differentiated
        for at, leaf in zip(places, _same([leaves[at] for at in places]), strict=True):
            leaves[at] = leaf
    return jax.tree.unflatten(structure, leaves)


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def rule_by_output(function: Callable[[jax.Array], jax.Array], pull: Callable[[jax.Array, jax.Array], jax.Array]):
    """Gives an op a rule that keeps only the output.

    For `y = f(x)` it is `dx = pull(y, cotangent)`.
    """
    wrapped = custom_vjp()(function)
    wrapped.defvjp(lambda x: (wrapped(x),) * 2, lambda y, cotangent: (pull(y, cotangent),))
    return wrapped
