"""Naming schemes: parameters' names and layouts in another library."""

from typing import Any

import jax
from flax import nnx

from jaxcnn import layers, models
from jaxcnn.weights import layouts
from jaxcnn.weights.layouts import Entry, Layout
from jaxcnn.weights.names import MODULES, is_residual

SCHEMES = ("jaxcnn", *MODULES)
_SAME = layouts.SAME
# by the kind of module: our parameter, PyTorch's, and the layout
_LEAVES: dict[type, dict[str, tuple[str, Layout]]] = {
    layers.Conv: {"kernel": ("weight", layouts.CONV), "bias": ("bias", _SAME)},
    layers.ConvTranspose: {"kernel": ("weight", layouts.CONV_TRANSPOSE), "bias": ("bias", _SAME)},
    nnx.Linear: {"kernel": ("weight", layouts.DENSE), "bias": ("bias", _SAME)},
    layers.BatchNorm: {
        "scale": ("weight", _SAME),
        "bias": ("bias", _SAME),
        "mean": ("running_mean", _SAME),
        "var": ("running_var", _SAME),
    },
    layers.PReLU: {"slope": ("weight", _SAME)},
}


def leaves(model: nnx.Module) -> dict[str, Any]:
    """Returns the weights of a network by path.

    They are parameters, statistics, fixed vectors; no random streams.
    """
    state = nnx.state(model, nnx.Not(nnx.Any(nnx.RngState, nnx.OfType(nnx.Intermediate))))
    variables = [(path, leaf) for path, leaf in nnx.to_flat_state(state) if isinstance(leaf, nnx.Variable)]
    return {
        "/".join(map(str, path)): leaf.get_value() for path, leaf in variables
    }  # arrays alone are the constructor's


def entries(model: nnx.Module, scheme: str) -> list[Entry] | None:
    """Returns a network's parameters in a scheme.

    The result is None if the scheme has no names for such a network.

    Raises:
      ValueError: if the scheme is unknown.
    """
    paths = leaves(model)
    if scheme == "jaxcnn":
        return [Entry(path, path, _SAME) for path in paths]
    if scheme not in MODULES:
        raise ValueError(f"`scheme` must be one of {', '.join(SCHEMES)}; got {scheme!r}.")
    names = MODULES[scheme](model)
    if names is None:
        return None
    modules = {"/".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
    flat = _flattened(model)
    rows = []
    for path in paths:
        owner, _, leaf = path.rpartition("/")
        name = names.get(owner)
        kind = next((names for kind, names in _LEAVES.items() if isinstance(modules[owner], kind)), {})
        if name is None or leaf not in kind:
            if scheme != "pytorch":
                return None
            rows.append(Entry(path, path.replace("/", "."), _SAME))
        elif scheme == "flax":
            rows.append(Entry(path, f"{'batch_stats' if leaf in ('mean', 'var') else 'params'}/{name}/{leaf}", _SAME))
        else:
            theirs, layout = kind[leaf]
            if leaf == "kernel" and scheme == "timm" and owner in ("dense1", "dense2"):
                layout = layouts.as_convolution(flat.get(owner, (1, 1)))
            elif leaf == "kernel" and owner in flat:
                layout = layouts.flattened(flat[owner])
            # VGG of torchvision and timm keeps the biases that its normalizations undo
            biased = isinstance(model, models.VGG) and leaf == "mean" and scheme != "pytorch"
            less = f"{names[owner.removesuffix('norm') + 'conv']}.bias" if biased else None
            rows.append(Entry(path, f"{name}.{theirs}", layout, less))
    return rows


def objection(model: nnx.Module, scheme: str) -> str | None:
    """Returns why a scheme's weights would compute something else, or None.

    This can happen even if the shapes fit.
    """
    if isinstance(model, models.ResNet) and is_residual(model) and scheme not in ("jaxcnn", "pytorch"):
        first, second, *rest = model.blocks[1][0].units
        same = second.conv.padding == "SAME"
        if same != (scheme == "flax"):
            return f"the model must be built with padding={'same' if scheme == 'flax' else 'symmetric'!r}"
        if rest and max(first.conv.strides) > 1:
            return "the model must be built with stride_on='middle'"
    if isinstance(model, models.VGG) and scheme in ("torchvision", "timm"):
        if not isinstance(model.pool, layers.MaxPool):
            return "the model must be built with pool='max'"
    if scheme == "torchvision":
        if isinstance(model, models.AlexNet) and (model.norm is not None or model.convs[0].padding[0] != (2, 2)):
            return "the model must be built without local_response and with border=(2, 2), as alexnet_torchvision"
        if isinstance(model, models.GoogLeNet):
            norm = model.conv1.norm
            if norm is None or norm.epsilon != 1e-3:
                return "the model must be built with variant='torchvision', as googlenet_torchvision"
    return None


def _flattened(model: nnx.Module) -> dict[str, tuple[int, ...]]:
    """The dense layers that read flattened maps, with maps' spatial shape."""
    if isinstance(model, models.LeNet5):
        return {"dense1": (5, 5)}
    if isinstance(model, models.LeNet5Of1998):
        return {"c5": (5, 5)}
    if isinstance(model, models.LeCun1989):
        return {"h3": (4, 4)}
    if isinstance(model, models.AlexNet | models.VGG | models.C3D):
        return {"dense1": model.last_shape}
    if isinstance(model, models.GoogLeNet):
        return {f"auxiliary_heads/{aid}/dense": (4, 4) for aid in model.auxiliary_heads}
    if isinstance(model, models.MLP):
        return {"dense/0" if len(model.dense) else "head": model.image_size}
    return {}


def shape_of(entry: Entry, leaf: jax.Array) -> tuple[int, ...]:
    """Returns the shape of our parameter in the other library."""
    return entry.layout.shape(leaf.shape)
