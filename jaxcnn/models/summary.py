"""A table of a network's layers.

It shows output shapes, parameters, multiply-adds, receptive fields.
"""

import functools
import html
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxcnn import geometry, layers
from jaxcnn.layers.with_options import unfused

_RECORD = "_jaxcnn_record"  # the attribute of an observed module
_UNKNOWN = {False: "all", True: "-"}  # what the table has in the place of a receptive field
_MARK = "jaxcnn layer "  # and its number, on a layer's output


class LayerRow(NamedTuple):
    """One call of a layer.

    Args:
      name: path of the layer.
      kind: name of its class.
      output_shape: shape of its output.
      parameters: number of its parameters; 0 in its second call.
      multiply_adds: number for the whole batch.
      receptive_field: input cells that one unit reads, per spatial axis; None if it reads all.
      input_shape: shape of its first argument.
      field: the receptive field with its position.
      spread: whether it comes after a transposed convolution, whose units have no common receptive field.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    field: geometry.ReceptiveField | None = None
    spread: bool = False


class Summary(NamedTuple):
    """The layers in the order of their calls.

    It prints as a table, also in a notebook.

    Args:
      rows: one for each call of a layer.
      parameters: number of parameters of the network.
      multiply_adds: number for the whole batch.
    """

    rows: tuple[LayerRow, ...]
    parameters: int
    multiply_adds: int

    def _cells(self) -> list[tuple[str, ...]]:
        body = [
            (
                r.name,
                r.kind,
                str(r.output_shape),
                f"{r.parameters:,}",
                f"{r.multiply_adds:,}",
                "x".join(map(str, r.receptive_field)) if r.receptive_field else _UNKNOWN[r.spread],
            )
            for r in self.rows
        ]
        header = ("layer", "kind", "output shape", "parameters", "multiply-adds", "sees")
        return [header, *body, ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", "")]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row in cells:
            left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _repr_html_(self) -> str:
        def line(row: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

        header, *body = self._cells()
        return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in body)}</table>"


def summary(model: nnx.Module, input_shape: Sequence[int]) -> Summary:
    """Traces one call of a network, without computing anything.

    Args:
      model: any NNX module that takes one array.
      input_shape: shape of that array, with the batch.

    Returns:
      A row for every layer that calls no other layer, without activations. Multiply-adds are those of kernels. A layer
      that is called twice has two rows, and its parameters are counted once. In the printed table, the column `sees`
      is the receptive field; it is `all` after spatial axes are removed, and `-` after a transposed convolution.

    Raises:
      ValueError: if the network refuses the shape.
    """
    graph, state = nnx.split(model)
    rows: list[LayerRow] = []
    windows: list[geometry.Window | None] = []

    def call(state: Any, inputs: jax.Array) -> Any:
        copy = unfused(nnx.merge(graph, state))
        copy.eval()
        names = {id(module): "/".join(map(str, path)) for path, module in nnx.iter_modules(copy)}
        seen: set[str] = set()

        def record(module: nnx.Module, inputs: Any, output: Any) -> Any:
            bare = isinstance(module, layers.Activation) or len(list(nnx.iter_modules(module))) > 1
            if id(module) not in names or not hasattr(output, "shape") or bare:
                return output
            name = names[id(module)] or "(itself)"
            kernel = getattr(module, "kernel", None)
            spreads = isinstance(module, layers.ConvTranspose)  # each input cell meets every tap once
            cells = math.prod((inputs if spreads else output).shape[:-1])
            work = cells * kernel[...].size if isinstance(kernel, nnx.Param) else 0
            own = 0 if name in seen else _parameter_count(module)
            seen.add(name)
            read = tuple(inputs.shape) if hasattr(inputs, "shape") else None
            rows.append(LayerRow(name, type(module).__name__, tuple(output.shape), own, work, input_shape=read))
            slide: Any = getattr(module, "window", None)
            windows.append(slide(inputs.shape[1:-1]) if slide and inputs.ndim > 2 else None)
            return checkpoint_name(output, f"{_MARK}{len(rows) - 1}")  # found again in the jaxpr

        observe(copy, record)
        return copy(inputs)

    dtype = getattr(model, "input_dtype", jnp.float32)
    jaxpr = jax.make_jaxpr(call)(state, jax.ShapeDtypeStruct(tuple(input_shape), dtype))
    fields = _receptive_fields(jaxpr.jaxpr, windows)
    told = [
        row._replace(receptive_field=field.size if field else None, field=field, spread=spread)
        for row, (field, spread) in zip(rows, fields, strict=True)
    ]
    return Summary(tuple(told), _parameter_count(model), sum(row.multiply_adds for row in rows))


def _receptive_fields(
    jaxpr: Any, windows: list[geometry.Window | None]
) -> list[tuple[geometry.ReceptiveField | None, bool]]:
    """The receptive field of a unit of each marked layer.

    It is that in the input, the last argument of the jaxpr. Equations outside the layers are assumed to work cell by
    cell, as sums, activations and concatenations do. So are the equations inside a layer, until the layer's mark adds
    its window. After a window over spread cells, whose units have no single distance, nothing is told, which the second
    values say.
    """
    by_layer: list[tuple[geometry.ReceptiveField | None, bool]] = [(None, False)] * len(windows)
    rank = next((len(window.shape) for window in windows if window), 0)
    fields: dict[Any, geometry.ReceptiveField | None] = {jaxpr.invars[-1]: geometry.receptive_field([], rank)}
    for equation in jaxpr.eqns:
        seen = [fields[v] for v in equation.invars if not hasattr(v, "val") and v in fields]
        if not seen:
            continue
        known = [field for field in seen if field is not None]
        field = functools.reduce(geometry.ReceptiveField.union, known) if len(known) == len(seen) else None
        mark = equation.params.get("name")
        if isinstance(mark, str) and mark.startswith(_MARK):
            number = int(mark.removeprefix(_MARK))
            window, spatial = windows[number], rank > 0 and equation.outvars[0].aval.ndim == rank + 2
            if window and field:
                field = field.through(window) if all(b == 1 for b in window.input_dilation) else None
            by_layer[number] = (field if spatial else None), spatial and field is None
        fields |= dict.fromkeys(equation.outvars, field)
    return by_layer


def _parameter_count(module: nnx.Module) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


Record = Callable[[nnx.Module, Any, Any], Any]


def observe(model: nnx.Module, record: Record) -> None:
    """Replaces the result of every call of a network's modules.

    A call's result becomes `record(module, first argument, result)`.

    Args:
      model: a copy that nobody else uses: its modules become instances of subclasses.
      record: returns the result that the caller gets.
    """
    for _, module in list(nnx.iter_modules(model)):
        if "__call__" in {name for kind in type(module).__mro__ for name in kind.__dict__}:
            object.__setattr__(module, "__class__", _observed(type(module)))
            object.__setattr__(module, _RECORD, record)


@functools.cache
def _observed(kind: type[nnx.Module]) -> type[nnx.Module]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()), None)
        return getattr(self, _RECORD)(self, first, kind.__call__(self, *args, **kwargs))

    return type(kind.__name__, (kind,), {"__call__": call})
