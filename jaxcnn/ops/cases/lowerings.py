"""Cases that compare every lowering of a convolution with XLA's own.

They compare values, derivatives and linearity.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn import geometry
from jaxcnn.ops.cases.case import AT_A_PLACE, Case, case, normal
from jaxcnn.ops.conv import select
from jaxcnn.ops.conv.lowerings import xla
from jaxcnn.ops.conv.problem import Part, Problem, Spec, channels_last, problem_of
from jaxcnn.ops.conv.rule import kernel_gradient_spec


class Place(NamedTuple):
    """Sizes that a lowering supports, channels last."""

    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    options: dict[str, Any] = {}
    groups: int = 1
    wanted: Part = "outputs"

    @property
    def spec(self) -> Spec:
        """Returns the convolution."""
        window = geometry.resolve_window(self.inputs[1:-1], self.kernel[:-2], **self.options)
        return Spec(window, channels_last(len(self.inputs)), self.groups)


PLACES = {
    "pointwise": Place((2, 5, 4, 3), (1, 1, 3, 2), {"strides": (2, 1)}),
    "whole_product": Place((2, 3, 4, 3), (2, 2, 3, 2), {"strides": 3, "window_dilation": 2}),
    "row_by_row": Place((32, 5, 4, 2), (4, 3, 2, 3), {"padding": ((0, 0), (1, 1))}),
    "side_by_side": Place((2, 4, 17, 3), (3, 2, 3, 4), {"padding": "SAME"}),
    "tap_by_tap": Place((2, 5, 4, 3), (2, 3, 1, 6), {"strides": (1, 2), "padding": "LECTURE"}, 3),
    "cell_by_cell": Place((2, 5, 4, 3), (2, 3, 1, 6), {"strides": (1, 2), "padding": "LECTURE"}, 3, "kernel"),
    "group_by_group": Place((2, 5, 4, 4), (2, 2, 2, 6), {"padding": "SAME"}, 2),
    "one_axis": Place((2, 9, 3), (3, 3, 4), {"strides": 2, "padding": ((1, 2),)}, 1, "kernel"),
    "xla": Place((2, 5, 4, 3), (2, 3, 3, 2), {"input_dilation": 2, "padding": ((-1, 2), (0, 1))}),
}
WAYS = {way.__name__.rpartition(".")[2]: way for ways in select.LOWERINGS.values() for way in ways}


def problem_at(name: str, first: jax.Array, second: jax.Array) -> Problem:
    """Returns the problem that a lowering solves at its place.

    The lowering has this name.
    """
    place = PLACES[name]
    spec = place.spec
    if name == "cell_by_cell":  # it takes a kernel gradient that is expressed as a convolution
        return problem_of("outputs", first, second, kernel_gradient_spec(spec, place.inputs[1:-1]), first, second)
    kernel = jax.ShapeDtypeStruct(place.kernel, first.dtype)
    return problem_of(place.wanted, first, second, spec, first, kernel)


def lowering_cases() -> Iterator[Case]:
    """Yields the cases of the lowerings."""
    for name, place in PLACES.items():
        outputs = place.spec.window.output_shape(place.inputs[1:-1])
        seconds = {"outputs": place.kernel, "kernel": (place.inputs[0], *outputs, place.kernel[-1])}
        yield case(
            "conv",
            {"lowering": name},
            (normal(*place.inputs), normal(*seconds[place.wanted])),
            function=partial(_run, name),
            reference=partial(_stock, place),
            kinds=AT_A_PLACE,
            multilinear=(0, 1),
        )


def _run(name: str, first: jax.Array, second: jax.Array) -> jax.Array:
    return WAYS[name].run(first, second, problem_at(name, first, second))


def _stock(place: Place, first: jax.Array, second: jax.Array) -> jax.Array:
    if place.wanted == "outputs":
        return xla.correlate(first, second, place.spec)
    zeros = jnp.zeros(place.kernel, first.dtype)
    return jax.vjp(lambda kernel: xla.correlate(first, kernel, place.spec), zeros)[1](second)[0]
