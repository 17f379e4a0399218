"""Arrays that are differentiated backward alone, and say so wherever they are pushed forward."""

from collections.abc import Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

SENTENCE = (
    "the hand-written rule is for reverse mode; for jvp, jacfwd or hessian pass rule='autodiff', "
    "or use lax's own function where an op has no `rule`."
)

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
    """The same tree; its floating arrays refuse forward mode, in one sentence."""
    leaves, structure = jax.tree.flatten(tree)
    places = [at for at, leaf in enumerate(leaves) if isinstance(leaf, Tracer) and _is_floating(leaf)]
    if places:  # what is no tracer is not differentiated
        for at, leaf in zip(places, _same([leaves[at] for at in places]), strict=True):
            leaves[at] = leaf
    return jax.tree.unflatten(structure, leaves)


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)
