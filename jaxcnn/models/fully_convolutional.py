"""Networks that slide over pictures of any size.

Sermanet et al. 2014, "OverFeat"; Long, Shelhamer & Darrell 2015, "Fully convolutional networks".
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcnn import geometry, layers
from jaxcnn.models.lecun1989 import LeCun1989
from jaxcnn.models.network import Network
from jaxcnn.models.prelu_net import PReLUNet
from jaxcnn.models.sliding import Sliding
from jaxcnn.models.summary import observe, summary
from jaxcnn.models.textcnn import TextCNN

Model = TypeVar("Model", bound=Network)

_RULE = "`model` must end in dense layers or in a mean over space"
_REFUSED: dict[type[Network], str] = {
    LeCun1989: "in which each unit has its own bias",
    PReLUNet: "in which a pyramid has the same cells for every size of the maps",
    TextCNN: "which takes the maximum over the whole sentence",
}

# A dense layer that reads maps of h x w x C cells, flattened row by row, is a convolution with a window of h x w: its
# kernel (h w C, O) is the kernel (h, w, C, O) of the convolution, number by number. A dense layer after it reads the
# units of one place only, which is a window of 1 x 1. A mean over maps of h x w is an average pool of h x w with
# stride 1. On a picture of the trained size all of them have one place, and give the same logits. On a larger picture
# they have more, and the network computes what neighboring windows share only once.


def fully_convolutional(model: Model, image_size: int | Sequence[int] | None = None) -> Model:
    """Turns a classifier into a network that slides over larger pictures.

    Dense layers become convolutions with the same numbers, and a mean over space becomes an average pool that slides.
    A picture of the trained size gives the logits of the original, as a map of one cell. A larger picture gives a map
    `(N, H', W', K)`: the logits of the windows of the trained size, at steps of the network's total stride.

    Each value equals the original's logit for its window up to rounding, if no convolution and no pool inside the
    network is padded (`mlp`, `tdnn`, and `lenet5` with `border=0`). Then `sliding.exact` is True. If layers are padded,
    the original reads zeros at the border of its picture, where the sliding network reads the surroundings of the
    window. The values then differ; only a picture of the trained size gives the same logits.

    Args:
      model: a network of `MODELS`, or a `Network` of your own that calls `flatten_maps` or `average_maps`; it stays
        unchanged.
      image_size: spatial sizes of the pictures on which it was trained; required if the network takes any size.

    Returns:
      A copy with its own parameters, in evaluation mode. Its attribute `sliding` tells the windows and their strides.
      Auxiliary classifiers are left out.

    Raises:
      TypeError: if `model` is not a network of this library.
      ValueError: if it cannot slide, or `image_size` is missing, too small or not that of the network.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxcnn import models
      >>> lenet = models.create("lenet5", border=0, rngs=nnx.Rngs(0))  # 32x32
      >>> network = models.fully_convolutional(lenet)
      >>> network(jnp.ones((1, 48, 64, 1))).shape
      (1, 5, 9, 10)
      >>> network.sliding.window, network.sliding.strides, network.sliding.exact
      ((32, 32), (4, 4), True)
    """
    if not isinstance(model, Network):
        raise TypeError(f"`model` must be a network of `jaxcnn.models`; got {type(model).__name__}.")
    kind = type(model).__name__
    for refused, why in _REFUSED.items():
        if isinstance(model, refused):
            raise ValueError(f"{_RULE}; got {kind}, {why}.")
    if model.sliding is not None:
        raise ValueError(f"`model` must not be fully convolutional already; got {kind} with {model.sliding.window}.")
    size = _trained_size(model, image_size)
    twin = nnx.clone(model)
    twin.eval()
    if model.auxiliaries:
        cast(Any, twin).auxiliary_heads = nnx.Dict({})
    found = _Found(twin, size)
    if found.maps is None:
        raise ValueError(f"{_RULE}, and call `flatten_maps` or `average_maps`; got {kind}, which does not.")
    pixels = (*size, model.input_shape[-1])
    if found.averaged:
        options = {"divisor": 1.0 if found.total else None, "options": layers.Options(rule=model.rule)}
        twin.sliding_pool = layers.AvgPool(found.maps[:-1], 1, **options)
    for path, module in list(nnx.iter_modules(twin)):
        if isinstance(module, nnx.Linear):
            _replace(twin, path, _as_convolution(module, found.windows.get(path, (1,) * len(size)), model.rule))
    twin.input_shape = (*(None,) * len(size), pixels[-1])
    cell = geometry.receptive_field([], len(size))
    twin.sliding = Sliding(size, (1,) * len(size), False, cell)  # so that the maps stay maps while it is traced
    twin.sliding = _measured(twin, size, kind)
    return twin


def _trained_size(model: Network, image_size: int | Sequence[int] | None) -> tuple[int, ...]:
    """The spatial sizes on which the network was trained."""
    known, kind = model.input_shape[:-1], type(model).__name__
    if image_size is None:
        if None in known:
            raise ValueError(f"`image_size` must be given for a network that takes any size; got none for {kind}.")
        return cast(tuple[int, ...], known)
    size = geometry.per_axis(image_size, len(known), "image_size")
    if any(own not in (None, given) for own, given in zip(known, size, strict=True)):
        raise ValueError(f"`image_size` must be that of {kind}, {known}; got {size}.")
    return size


class _Found:
    """What one trace of a network shows.

    It tells which maps are flattened or averaged, and which dense layer reads them.
    """

    def __init__(self, model: Network, size: tuple[int, ...]):
        self.maps: tuple[int, ...] | None = None
        self.averaged = self.total = False
        self.windows: dict[Any, tuple[int, ...]] = {}  # of the dense layer that reads the flattened maps, by its path
        copy: Any = nnx.clone(model)
        paths = {id(module): path for path, module in nnx.iter_modules(copy)}
        observe(copy, lambda module, inputs, output: self._record(paths.get(id(module)), module, inputs, output))
        for name in ("flatten_maps", "average_maps", "average_to_grid"):
            object.__setattr__(copy, name, self._noted(name, getattr(copy, name)))
        jax.eval_shape(copy, jax.ShapeDtypeStruct((1, *size, model.input_shape[-1]), model.input_dtype))

    def _noted(self, name: str, call: Any) -> Any:
        def noting(maps: jax.Array, *grid: tuple[int, ...], total: bool = False) -> jax.Array:
            shape = tuple(maps.shape[1:])
            if name == "average_to_grid":
                if shape[:-1] != grid[0]:
                    raise ValueError(
                        f"`image_size` must give maps of the size of the network's grid, {grid[0]}; got {shape[:-1]}."
                    )
                return call(maps, *grid)
            if self.maps is not None:
                raise ValueError(f"{_RULE} that it computes once; got a second of shape {shape}.")
            self.maps, self.averaged, self.total = shape, name == "average_maps", total
            return call(maps, total=total) if total else call(maps)

        return noting

    def _record(self, path: Any, module: nnx.Module, inputs: Any, output: Any) -> Any:
        flat = self.maps is not None and not self.averaged and not self.windows
        if flat and isinstance(module, nnx.Linear):
            if module.in_features != math.prod(self.maps or ()):
                raise ValueError(
                    f"the first dense layer must read the flattened maps, {self.maps}; got {module.in_features} inputs."
                )
            self.windows[path] = (self.maps or ())[:-1]
        return output


def _as_convolution(linear: nnx.Linear, window: tuple[int, ...], rule: Any) -> layers.Conv:
    """The convolution with the numbers of a dense layer."""
    kernel, bias = linear.kernel[...], None if linear.bias is None else linear.bias[...]
    features = linear.in_features // math.prod(window)
    options = layers.Options(rule=rule, dtype=linear.dtype, param_dtype=kernel.dtype, precision=linear.precision)
    return layers.Conv(
        features,
        linear.out_features,
        window,
        padding="VALID",
        use_bias=bias is not None,
        kernel_init=lambda *_: jnp.reshape(kernel, (*window, features, linear.out_features)),
        bias_init=lambda *_: cast(jax.Array, bias),
        rngs=nnx.Rngs(0),  # of which nothing is drawn
        options=options,
    )


def _replace(model: nnx.Module, path: Sequence[Any], module: nnx.Module) -> None:
    """Puts a module at a path."""
    owner: Any = model
    for key in path[:-1]:
        owner = owner[int(key)] if isinstance(owner, nnx.List) else getattr(owner, key)
    if isinstance(owner, nnx.List):
        owner[int(path[-1])] = module
    else:
        setattr(owner, path[-1], module)


def _measured(model: Network, size: tuple[int, ...], kind: str) -> Sliding:
    """Measures the windows of a sliding network.

    A picture of twice the size is traced.

    Raises:
      ValueError: if it cannot read such a picture.
    """
    try:
        rows = summary(model, (1, *(2 * n for n in size), cast(int, model.input_shape[-1]))).rows
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_RULE}, and have no other part of a fixed size; got {kind}: {error}") from None
    field = rows[-1].field
    if field is None:
        raise ValueError(f"{_RULE}, and keep the axes of its maps; got {kind}, which does not.")
    inside = [
        start - (extent - 1) / 2 >= 0 and start + (extent - 1) / 2 <= n - 1
        for start, extent, n in zip(field.start, field.size, size, strict=True)
    ]
    return Sliding(size, field.jump, all(inside), field)
